"""What a benchmark keeps: its configuration, and the parts that a rerun finds again."""

import json
import platform
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq

from scbig import __version__
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
        (path / PARTS).mkdir(parents=True, exist_ok=True)
        _write_text(path / CONFIG, json.dumps(config.to_dict(), indent=1))

    def read_part(self, part: Part) -> PartResult | None:
        """Return what an earlier run made of a part, or ``None``.

        Parameters
        ----------
        part
            The part.

        Returns
        -------
        The result, if there is one.

        Raises
        ------
        ValueError
            When it is there but was made from another split or predictor of the same name.
        """
        path = self._get_path(part)
        if not path.exists():
            return None
        table = pq.read_table(path)
        note = json.loads(table.schema.metadata[_KEY])
        if note["fingerprint"] != self._config.get_fingerprint(part):
            raise ValueError(
                f"{path} was made with another split {part.split.name!r} or another predictor "
                f"{part.predictor!r} than the present ones. {REMEDY}"
            )
        judged = path.with_suffix(JUDGED)
        return PartResult(
            table.to_pandas(),
            note["seconds"],
            judged=pq.read_table(judged).to_pandas() if judged.exists() else None,
        )

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
        table = pa.Table.from_pandas(result.scores, preserve_index=False)
        metadata = {**table.schema.metadata, _KEY: json.dumps(note)}
        path = self._get_path(part)
        if result.judged is not None:  # first, as a part is done when its own file is there
            judged = pa.Table.from_pandas(result.judged, preserve_index=False)
            _write_table(path.with_suffix(JUDGED), judged)
        _write_table(path, table.replace_schema_metadata(metadata))

    def write_text(self, name: str, text: str) -> None:
        """Write one of the results.

        Parameters
        ----------
        name
            Name of the file.
        text
            Its content.
        """
        _write_text(self.path / name, text)

    def _get_path(self, part: Part) -> Path:
        name = f"{part.split.name}--seed{part.seed}--{part.predictor}"
        return self.path / PARTS / f"{quote(name, safe=' +,')}.parquet"

    def _check_is_ours(self) -> None:
        if self.path.is_file():
            raise FileExistsError(f"{self.path} is a file, where a folder is expected.")
        if self.path.is_dir() and not (self.path / CONFIG).exists() and any(self.path.iterdir()):
            raise FileExistsError(
                f"{self.path} is not empty and holds no benchmark. Choose another folder."
            )

    def _clear(self) -> None:
        shutil.rmtree(self.path / PARTS, ignore_errors=True)
        for name in (CONFIG, *RESULTS):
            (self.path / name).unlink(missing_ok=True)

    def _check_config(self) -> None:
        """Refuse to join parts of another configuration."""
        earlier = json.loads((self.path / CONFIG).read_text("utf-8"))["fixed"]
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


def _write_table(path: Path, table: pa.Table) -> None:
    half = path.with_name(path.name + ".tmp")
    pq.write_table(table, half)
    half.replace(path)  # at once: an interruption leaves no half of a file


def _write_text(path: Path, text: str) -> None:
    half = path.with_name(path.name + ".tmp")
    half.write_text(text, encoding="utf-8")
    half.replace(path)


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
