"""The folder of a benchmark: finished parts are kept there, and found again by a rerun."""

import json
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq

from scbig.benchmark._config import Config
from scbig.benchmark._parts import Part, PartResult

CONFIG = "config.json"
PARTS = "parts"
RESULTS = ("scores.csv", "summary.csv", "comparison.csv", "report.html", "splits.json")
REMEDY = "Begin anew with use_overwrite=True, or choose another folder: out=..."
_KEY = b"scbig_benchmark"


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
        return PartResult(table.to_pandas(), note["seconds"])

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
        half = path.with_suffix(".tmp")
        pq.write_table(table.replace_schema_metadata(metadata), half)
        half.replace(path)  # at once: an interruption leaves no half of a file

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
                f"{'; '.join(changes)}. {REMEDY}"
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
    One text for each difference, such as ``"n_cells was 200 and is 100"``.
    """
    if isinstance(earlier, dict) and isinstance(now, dict):
        return [
            change
            for key in dict.fromkeys([*earlier, *now])
            for change in find_changes(
                earlier.get(key), now.get(key), f"{name}.{key}" if name else key
            )
        ]
    return [] if earlier == now else [f"{name} was {earlier!r} and is {now!r}"]


def _write_text(path: Path, text: str) -> None:
    half = path.with_name(path.name + ".tmp")
    half.write_text(text, encoding="utf-8")
    half.replace(path)
