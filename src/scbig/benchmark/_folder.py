"""What a benchmark keeps: its configuration, and the parts that a rerun finds again."""

import json
import logging
import platform
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from scbig import __version__
from scbig._writing import list_entries, replacing, write_text
from scbig.benchmark._parts import Part, PartResult
from scbig.benchmark._settings import BenchmarkSettings, PredictorSpec, make_fingerprint
from scbig.splits import Split

CONFIG = "config.json"
PARTS = "parts"
JUDGED = ".judge.parquet"
RESULTS = (
    "scores.csv", "summary.csv", "comparison.csv", "judge.csv", "report.html", "splits.json"
)  # fmt: skip
REMEDY = "Begin anew with use_overwrite=True, or choose another folder: out=..."
_KEY = b"scbig_benchmark"
# What reading a damaged file of a part raises.
_DAMAGED = (pa.ArrowException, OSError, ValueError, KeyError, TypeError, AttributeError)
logger = logging.getLogger(__name__)
LIBRARIES = ("anndata", "numpy", "scikit-learn", "scipy", "scvi-tools", "torch")


@dataclass(frozen=True)
class Config:
    """What a benchmark was run with.

    Attributes
    ----------
    fixed
        What every part depends on: parts of another value cannot be joined with these.
    splits, predictors
        Content of each split, and class of each predictor, by name.
    settings
        What does not change any part.
    versions
        Of Python and the libraries.
    """

    fixed: dict[str, Any]
    splits: dict[str, dict[str, Any]]
    predictors: dict[str, dict[str, Any]]
    settings: dict[str, Any]
    versions: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return asdict(self)

    def get_fingerprint(self, part: Part) -> str:
        """Hash all that the result of a part depends on."""
        predictor = self.predictors.get(part.predictor)
        return make_fingerprint([self.fixed, self.splits[part.split.name], predictor, part.seed])


def make_config(
    screen: dict[str, Any],
    resources: dict[str, Any],
    splits: Sequence[Split],
    specs: Sequence[PredictorSpec],
    settings: BenchmarkSettings,
) -> Config:
    """Put a configuration together.

    Parameters
    ----------
    screen
        See :func:`describe_screen`.
    resources
        See :meth:`Resources.describe`.
    splits, specs, settings
        What is run, and how; the settings are resolved.

    Returns
    -------
    The configuration.
    """
    return Config(
        fixed={
            "scbig": __version__,
            "screen": screen,
            "resources": resources,
            "metrics": list(settings.metrics or ()),
            "n_cells": settings.n_cells,
            "is_log1p": settings.is_log1p,
            **_describe_judge(settings),
        },
        splits={split.name: _describe_split(split) for split in splits},
        predictors={spec.name: spec.describe() for spec in specs},
        settings={
            "seeds": None if settings.seeds is None else list(settings.seeds),
            "n_resamples": settings.n_resamples,
            "command": settings.command,
        },
        versions={
            "Python": platform.python_version(),
            "scbig": __version__,
            **{name: version(name) for name in LIBRARIES},
        },
    )


class BenchmarkFolder:
    """Keeps the parts of a benchmark.

    Parameters
    ----------
    path
        The folder; made if it is not there.
    config
        The configuration, which is written.
    use_overwrite
        Remove what a benchmark with another configuration left there.

    Raises
    ------
    FileExistsError
        When the folder holds something that is no benchmark.
    ValueError
        When it holds a benchmark with another configuration.
    """

    def __init__(self, path: Path, config: Config, *, use_overwrite: bool = False) -> None:
        self.path = path
        self._config = config
        self._check_is_ours()
        if use_overwrite:
            self._clear()
        elif (path / CONFIG).exists():
            self._check_config()
        path.mkdir(parents=True, exist_ok=True)
        # Before anything else: without it the next run would take the folder for somebody else's.
        self.write_text(CONFIG, json.dumps(config.to_dict(), indent=1))
        (path / PARTS).mkdir(exist_ok=True)

    def read_part(self, part: Part) -> PartResult | None:
        """Return what an earlier run made of a part, or ``None``.

        Parameters
        ----------
        part
            The part.

        Returns
        -------
        The result, if there is one that is whole.

        Raises
        ------
        ValueError
            When it is there but was made from another split or predictor of the same name.
        """
        path = self._get_path(part)
        if not path.exists():
            return None
        try:
            note, scores = _read_table(path)
            judged = None
            if "judge" in self._config.fixed:
                _, judged = _read_table(path.with_suffix(JUDGED))
        except _DAMAGED as error:
            logger.warning("%s is damaged and is computed again: %s", path, error)
            return None
        if note["fingerprint"] != self._config.get_fingerprint(part):
            raise ValueError(
                f"{path} was made with another split {part.split.name!r} or another predictor "
                f"{part.predictor!r} than the present ones. {REMEDY}"
            )
        return PartResult(scores, note["seconds"], judged=judged)

    def write_part(self, part: Part, result: PartResult) -> None:
        """Keep a finished part.

        Parameters
        ----------
        part
            The part.
        result
            What it gave.
        """
        note = {"fingerprint": self._config.get_fingerprint(part), "seconds": result.seconds}
        path = self._get_path(part)
        if result.judged is not None:  # first, as a part is done when its own file is there
            _write_table(path.with_suffix(JUDGED), result.judged, note)
        _write_table(path, result.scores, note)

    def write_text(self, name: str, text: str) -> None:
        """Write one of the results.

        Parameters
        ----------
        name
            Name of the file.
        text
            Its content.
        """
        write_text(self.path / name, text)

    def _get_path(self, part: Part) -> Path:
        name = f"{part.split.name}--seed{part.seed}--{part.predictor}"
        return self.path / PARTS / f"{quote(name, safe=' +,')}.parquet"

    def _check_is_ours(self) -> None:
        if self.path.is_file():
            raise FileExistsError(f"{self.path} is a file, where a folder is expected.")
        is_there = self.path.is_dir() and not (self.path / CONFIG).exists()
        if is_there and list_entries(self.path):
            raise FileExistsError(
                f"{self.path} is not empty and holds no benchmark. Choose another folder."
            )

    def _clear(self) -> None:
        # The configuration stays until its successor is there: it says whose folder this is.
        shutil.rmtree(self.path / PARTS, ignore_errors=True)
        for name in RESULTS:
            (self.path / name).unlink(missing_ok=True)

    def _check_config(self) -> None:
        """Refuse to join parts of another configuration."""
        try:
            earlier = json.loads((self.path / CONFIG).read_text("utf-8"))["fixed"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{self.path / CONFIG} cannot be read: {error!r}. {REMEDY}"
            ) from error
        changes = find_changes(earlier, self._config.fixed)
        if changes:
            raise ValueError(
                f"{self.path} holds a benchmark with another configuration: "
                f"{'; '.join(changes)}. {_explain_judge(changes)}{REMEDY}"
            )


def find_changes(earlier: Any, now: Any, name: str = "") -> list[str]:
    """Say where two configurations differ.

    Parameters
    ----------
    earlier, now
        Plain values.
    name
        What they are of.

    Returns
    -------
    One text for each difference, such as ``"n_cells was 500 and is 100"``.
    """
    if isinstance(earlier, dict) and isinstance(now, dict):
        return [
            change
            for key in dict.fromkeys([*earlier, *now])
            for change in find_changes(
                earlier.get(key), now.get(key), f"{name}.{key}" if name else key
            )
        ]
    if earlier == now:
        return []
    if isinstance(earlier, list) and isinstance(now, list):
        gone = [str(one) for one in earlier if one not in now]
        new = [str(one) for one in now if one not in earlier]
        parts = {"are not asked for now": gone, "are new": new}
        return [f"{name}: {', '.join(some)} {what}" for what, some in parts.items() if some]
    return [f"{name} was {earlier!r} and is {now!r}"]


def _write_table(path: Path, frame: pd.DataFrame, note: dict[str, Any]) -> None:
    """Write a table with what it was made from, and a checksum of both."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    noted = json.dumps(note | {"checksum": _hash(table.to_pandas(), note)})
    with replacing(path) as half:
        pq.write_table(table.replace_schema_metadata({**table.schema.metadata, _KEY: noted}), half)


def _read_table(path: Path) -> tuple[dict[str, Any], pd.DataFrame]:
    """Read what :func:`_write_table` wrote, or raise one of `_DAMAGED`."""
    table = pq.read_table(path)
    note, frame = json.loads(table.schema.metadata[_KEY]), table.to_pandas()
    if note.pop("checksum") != _hash(frame, note):
        raise ValueError("its checksum differs")
    return note, frame


def _hash(frame: pd.DataFrame, note: dict[str, Any]) -> str:
    return make_fingerprint([note, frame.to_csv(index=False)])


def _describe_judge(settings: BenchmarkSettings) -> dict[str, str]:
    """Name the judge, whose parts another one's, or none's, cannot be joined with."""
    if settings.judge is None:
        return {}
    from scbig.benchmark._field_judge import describe_judge

    return {"judge": describe_judge(settings.judge)}


def _explain_judge(changes: Sequence[str]) -> str:
    """Say how to go on where the judge alone is another: what was not judged cannot be."""
    if len(changes) > 1 or not changes[0].startswith("judge "):
        return ""
    before = (
        "leave the judge out"
        if "judge was None" in changes[0]
        else "ask the earlier judge, judge=..."
    )
    return f"Parts are judged when they are run: to go on with these, {before}. "


def _describe_split(split: Split) -> dict[str, Any]:
    """Return a split as plain values: tuples are lists in JSON."""
    return {
        name: _to_lists(value) for name, value in asdict(split).items() if value not in (None, ())
    }


def _to_lists(value: Any) -> Any:
    return [_to_lists(part) for part in value] if isinstance(value, tuple) else value
