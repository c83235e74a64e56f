"""Can a label be read in two ways? Then the user says which."""

from collections.abc import Collection, Mapping
from itertools import chain, product

from scbig.labels._reading import (
    DEFAULT_SEPARATOR,
    is_control_like,
    is_control_token,
    list_readings,
    take_once,
)

Reading = tuple[str, ...]


def find_readings(
    label: str,
    *,
    controls: Collection[str],
    separator: str | None,
    names: Collection[str],
    guides: Mapping[str, str] | None = None,
    alone: Collection[str] = frozenset(),
) -> list[Reading]:
    """List the readings of a label of which all parts are known, where there are several.

    Parameters
    ----------
    label
        Label such as ``A_B_C``, where ``A``, ``B_C``, ``A_B`` and ``C`` are genes.
    controls
        Labels of control cells.
    separator
        What stands between two targets.
    names
        Known names.
    guides
        What the user said how to read, with what it stands for.
    alone
        Targets that are perturbed alone. A known name is only doubted where it splits into these.

    Returns
    -------
    Targets of each reading, sorted; none where there is one reading at most.
    """
    text, guides = label.strip(), guides or {}
    text = take_once(text) if separator == "_" and text not in names else text
    if not separator or separator not in text or text in guides or text in controls:
        return []

    def is_known(part: str) -> bool:
        return part in names or part in controls or part in guides or is_control_like(part)

    def list_options(part: str) -> list[Reading]:
        if part in guides and (guides[part] in controls or is_control_token(guides[part])):
            return [()] if guides[part] != part else [(part,)]
        if part in guides or (part in names and not is_control_token(part)):
            return [(part,)]
        is_both = part in names and part not in controls
        return [(part,), ()] if is_both else [()]

    found: dict[Reading, None] = {}
    for parts in list_readings(text, separator, is_known):
        if text in names and parts != [text] and not all(part in alone for part in parts):
            continue
        for chosen in product(*map(list_options, parts)):
            found[tuple(sorted(set(chain.from_iterable(chosen))))] = None
    return list(found) if len(found) > 1 else []


def describe_readings(
    found: Mapping[str, list[Reading]],
    where: str,
    *,
    controls: Collection[str],
    names: Collection[str],
    separator: str,
) -> str:
    """Say how labels can be read, and what tells which is meant.

    Parameters
    ----------
    found
        Readings of each label.
    where
        What they are labels of.
    controls, names, separator
        See :func:`find_readings`.

    Returns
    -------
    The message.
    """
    first, readings = next(iter(found.items()))
    ways = ", or as ".join(" and ".join(one) or "a control" for one in readings)
    rest = f" and {len(found) - 1} more" if len(found) > 1 else ""
    told = f"{where} can be read in more than one way: {first!r} as {ways}{rest}. "
    parts = {part.strip() for label in found for part in label.split(separator)}
    both = sorted(p for p in parts if p in names and is_control_token(p) and p not in controls)
    if both:
        genes, listed = {part: part for part in both}, [*controls, *both]
        return (
            f"{told}{both[0]!r} is a measured gene, and a usual name of controls. If it is the "
            f"gene: guide_to_gene={genes}; if it stands for controls: control={listed}"
        )
    tables = (
        {k: DEFAULT_SEPARATOR.join(v[min(i, len(v) - 1)]) for k, v in found.items()}
        for i in range(max(map(len, found.values())))
    )
    lines = "; or ".join(f"guide_to_gene={table}" for table in tables)
    return f"{told}Say which it is: {lines}"
