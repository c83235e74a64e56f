"""Gene sets from GMT files."""

import logging
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from io import TextIOWrapper
from os import PathLike
from pathlib import Path

from scbig.priors._coverage import log_coverage
from scbig.priors._gene_sets import GeneSets
from scbig.priors._tables import iter_lines

logger = logging.getLogger(__name__)

_SUFFIXES = (".gmt", ".gmt.gz", ".gmt.zip", ".txt", ".txt.gz", ".zip")


def load_gene_sets(
    path: str | PathLike[str], *, var_names: Sequence[str] | None = None
) -> GeneSets:
    """Read gene sets from a GMT file.

    Each line holds the name of a set, a description and its genes, separated by tabs.

    Parameters
    ----------
    path
        GMT text, plain, ``.gz``, or the only file of a ``.zip``.
    var_names
        Gene names of a data set; if given, the log says how many of them are in a set.

    Returns
    -------
    The sets, in the order of the file. Genes listed twice in a set are kept once.

    Raises
    ------
    ValueError
        When the suffix is unknown, the file is empty, a line has no gene (with its number), or
        the name of a set occurs twice.
    """
    path = Path(path)
    if not path.name.lower().endswith(_SUFFIXES):
        raise ValueError(f"{path} has an unknown suffix; known are {', '.join(_SUFFIXES)}")
    is_zip = path.suffix.lower() == ".zip"
    sets = _parse_gmt(path, _iter_zipped_lines(path) if is_zip else iter_lines(path))
    if not sets:
        raise ValueError(f"{path} is empty: expected a line for each gene set")
    gene_sets = GeneSets(sets, source=path.name)
    logger.info("%s: %d gene sets", path.name, len(sets))
    if var_names is not None:
        log_coverage(gene_sets.get_coverage(var_names))
    return gene_sets


def _parse_gmt(path: Path, lines: Iterable[str]) -> dict[str, tuple[str, ...]]:
    sets: dict[str, tuple[str, ...]] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        name, *rest = (field.strip() for field in line.split("\t"))
        genes = tuple(dict.fromkeys(gene for gene in rest[1:] if gene))
        if not name or not genes:
            raise ValueError(
                f"{path}, line {number}: expected name, description and at least one gene, "
                f"separated by tabs; found {line[:60]!r}"
            )
        if name in sets:
            raise ValueError(f"{path}, line {number}: the set {name!r} occurs twice; rename one")
        sets[name] = genes
    return sets


def _iter_zipped_lines(path: Path) -> Iterator[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if not name.startswith("__MACOSX")]
            if len(names) != 1:
                raise ValueError(f"{path} must hold one file; it holds {names}")
            with archive.open(names[0]) as member:
                for line in TextIOWrapper(member, encoding="utf-8"):
                    yield line.rstrip("\n")
    except (zipfile.BadZipFile, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read as zipped text: {error}") from error
