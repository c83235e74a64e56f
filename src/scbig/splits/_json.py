"""Splits in files: JSON with the conditions of each split by name."""

import json
import logging
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from scbig.data import ScreenSchema, Targets
from scbig.splits._conditions import JOIN, parse_condition
from scbig.splits._draw import is_whole
from scbig.splits._split import Split, join_labels

logger = logging.getLogger(__name__)

# Written only where they say something.
OPTIONAL = ("context_keys", "test_contexts", "n_cells")
KNOWN = ("test", "val", "train", "task", "seed", *OPTIONAL)
CUSTOM = "custom"


def write_splits(path: str | Path, splits: Iterable[Split] | Mapping[str, Split]) -> None:
    """Write splits as JSON.

    Parameters
    ----------
    path
        File to write.
    splits
        Splits with different names, or what :func:`read_splits` returned.

    Returns
    -------
    Nothing.

    Raises
    ------
    ValueError
        When two splits have one name.
    """
    splits = list(splits.values() if isinstance(splits, Mapping) else splits)
    entries = {split.name: _to_entry(split) for split in splits}
    if len(entries) < len(splits):
        raise ValueError(
            f"{len(splits)} splits have only {len(entries)} different names: {list(entries)}. "
            "Rename one: dataclasses.replace(split, name='...')"
        )
    Path(path).write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")


def read_splits(path: str | Path, schema: ScreenSchema) -> dict[str, Split]:
    """Read splits from JSON.

    Parameters
    ----------
    path
        File with ``{"NAME": {"test": [...], "val": [...]}}``. Conditions may be grouped by kind,
        as those of GEARS are. What is listed nowhere is trained on; a list ``"train"`` is only
        compared with the others.
    schema
        Conventions of the screen, for its labels; see :func:`parse_condition`.

    Returns
    -------
    The splits by name. Task and seed that are not written are taken from names such as
    ``"additive_seed0"``, and are otherwise ``"custom"`` and 0.

    Raises
    ------
    ValueError
        When the file is no JSON, has another form, or trains on what it tests.
    """
    entries = _load(Path(path))
    splits = {name: _to_split(path, name, entry, schema) for name, entry in entries.items()}
    logger.info("Read %d split(s) from %s.", len(splits), path)
    return splits


def _to_entry(split: Split) -> dict[str, Any]:
    """Return plain values; labels are written with ``+``, whatever the screen writes."""
    entry: dict[str, Any] = {"task": split.task, "seed": split.seed}
    entry |= {key: getattr(split, key) for key in OPTIONAL if getattr(split, key)}
    return entry | {
        part: [JOIN.join(targets) for targets in getattr(split, part)] for part in ("test", "val")
    }


def _load(path: Path) -> dict[str, Any]:
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no JSON: {error}") from error
    if not isinstance(entries, dict):
        raise ValueError(f"{path} holds a {type(entries).__name__}; splits by name are expected.")
    return entries


def _to_split(path: str | Path, name: str, entry: object, schema: ScreenSchema) -> Split:
    where = f"{path}, split {name!r}"
    if not isinstance(entry, dict) or not set(entry) <= set(KNOWN):
        found = list(entry) if isinstance(entry, dict) else type(entry).__name__
        raise ValueError(f"{where}: holds {found}; keys among {list(KNOWN)} are expected.")
    test, val, train = (
        _parse_list(where, part, entry.get(part, []), schema) for part in ("test", "val", "train")
    )
    if leaked := sorted((set(test) | set(val)) & set(train)):
        raise ValueError(f"{where}: trains on {join_labels(leaked)}, which it holds out.")
    task, seed = _guess_task(name, is_grouped=isinstance(entry.get("test"), dict))
    return Split(
        name,
        _read_text(where, "task", entry.get("task", task)),
        _read_number(where, "seed", entry.get("seed", seed)),
        tuple(test),
        tuple(val),
        tuple(_read_list(where, "context_keys", entry.get("context_keys", []))),
        tuple(_read_list(where, "test_contexts", entry.get("test_contexts", []))),
        _read_number(where, "n_cells", entry["n_cells"]) if "n_cells" in entry else None,
    )


def _parse_list(where: str, part: str, values: object, schema: ScreenSchema) -> list[Targets]:
    if isinstance(values, dict):
        return [t for kind in values.values() for t in _parse_list(where, part, kind, schema)]
    parsed = [parse_condition(label, schema) for label in _read_list(where, part, values)]
    # Files of GEARS list the control among what is trained on.
    return [targets for targets in parsed if targets or part != "train"]


def _read_list(where: str, key: str, values: object) -> list[str]:
    if isinstance(values, list) and all(isinstance(value, str) for value in values):
        return values
    raise ValueError(f"{where}: {key!r} is {values!r:.80}; a list of strings is expected.")


def _read_text(where: str, key: str, value: object) -> str:
    if isinstance(value, str):
        return value
    raise ValueError(f"{where}: {key!r} is {value!r:.80}; a string is expected.")


def _read_number(where: str, key: str, value: object) -> int:
    if isinstance(value, int) and is_whole(value) and value >= 0:
        return value
    raise ValueError(f"{where}: {key!r} is {value!r:.80}; a whole number is expected.")


def _guess_task(name: str, *, is_grouped: bool) -> tuple[str, int]:
    if is_grouped:
        return "gears", int(name) if name.isdecimal() else 0
    match = re.fullmatch(r"(additive|unseen)_seed(\d+)", name)
    return (match[1], int(match[2])) if match else (CUSTOM, 0)
