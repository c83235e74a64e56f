"""The GEARS recipe against its published splits, and against the recipe written out."""

import json
from pathlib import Path

import numpy as np
import pytest

from scbig.splits import make_gears


def read_targets(label: str) -> tuple[str, ...]:
    return tuple(part for part in label.split("+") if part != "ctrl")


def flatten(part: dict[str, list[str]] | list[str]) -> list[str]:
    return [label for kind in part.values() for label in kind] if isinstance(part, dict) else part


@pytest.mark.data_kit
@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5])
def test_published_splits_come_out(data_kit: Path, seed: int):
    file = data_kit / "splits" / "norman_gears_simulation_seeds1-5.json"
    published = json.loads(file.read_text())[str(seed)]
    labels = [label for part in ("train", "val", "test") for label in flatten(published[part])]
    split = make_gears([read_targets(label) for label in labels], seed=seed)

    train = {read_targets(label) for label in published["train"]}
    fitted = train | {read_targets(label) for label in flatten(published["val"])}
    for part, learned in (("test", fitted), ("val", train)):
        trained = {target for targets in learned for target in targets}
        found: dict[str, set] = {kind: set() for kind in published[part]}
        for targets in getattr(split, part):
            kind = split.get_kind(targets, trained)
            found[kind if kind == "unseen_single" else f"combo_{kind}"].add(targets)
        assert found == {
            kind: {tuple(sorted(read_targets(label))) for label in members}
            for kind, members in published[part].items()
        }


def choose(labels: list[str], share: float, seed: int) -> list[str]:
    """The recipe with labels as text: genes, then pairs of two of them."""
    genes = np.unique([gene for label in labels for gene in read_targets(label)])
    np.random.seed(seed)  # noqa: NPY002
    kept = set(np.random.choice(genes, int(len(genes) * share), replace=False))  # noqa: NPY002
    inside = [label for label in labels if set(read_targets(label)) <= kept]
    pairs = np.unique([label for label in inside if "ctrl" not in label])
    np.random.seed(seed)  # noqa: NPY002
    drawn = np.random.choice(pairs, int(len(pairs) * share), replace=False)  # noqa: NPY002
    return [label for label in inside if "ctrl" in label] + drawn.tolist()


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_the_recipe_is_followed(conditions: list[tuple[str, ...]], seed: int):
    # Pairs are written against the alphabet, as some of Norman et al.'s are.
    labels = ["+".join(reversed(t)) if len(t) > 1 else f"{t[0]}+ctrl" for t in conditions if t]
    fitted = choose(labels, 0.75, seed)
    train = choose(fitted, 0.9, seed)
    split = make_gears([read_targets(label) for label in labels], seed=seed)
    assert set(split.test) == {tuple(sorted(read_targets(x))) for x in set(labels) - set(fitted)}
    assert set(split.val) == {tuple(sorted(read_targets(x))) for x in set(fitted) - set(train)}
    assert (split.name, split.task, split.seed) == (f"gears_seed{seed}", "gears", seed)


def test_the_order_of_conditions_does_not_matter(conditions: list[tuple[str, ...]]):
    split = make_gears(conditions)
    assert make_gears(conditions[::-1]) == split
    both = [*conditions, *(targets[::-1] for targets in conditions)]
    assert make_gears(both[::-1]) == make_gears(both)
    assert not set(split.test) & set(split.val)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"conditions": [("A", "B", "C"), ("A",)]}, r"\('A', 'B', 'C'\) has 3 targets"),
        ({"conditions": [()]}, "There are no perturbed conditions"),
        ({"conditions": [("A",)]}, "leave none to train on"),
        ({"train_share": 1}, "A share of 1 does not split"),
        ({"inner_share": 0}, "A share of 0 does not split"),
        ({"seed": -3}, "seed=-3.*whole number"),
    ],
)
def test_impossible_gears_splits_are_refused(conditions, options: dict, message: str):
    with pytest.raises(ValueError, match=message):
        make_gears(**({"conditions": conditions} | options))
