"""What `scbig train` drops, by options and by each kind of split."""

from pathlib import Path

import pytest
from anndata import AnnData

from scbig.cli._files import hold_out
from scbig.cli._options import Holding
from scbig.data import ScreenSchema, infer_schema
from scbig.splits import Split, get_roles, make_split, write_splits


@pytest.fixture
def schema(small_screen: AnnData) -> ScreenSchema:
    return infer_schema(small_screen, context_keys=["batch"])


def write(tmp_path: Path, split: Split) -> Holding:
    write_splits(tmp_path / "splits.json", [split])
    return Holding(split_file=tmp_path / "splits.json", split=split.name)


def test_nothing_held_out_leaves_the_screen_as_it_is(small_screen: AnnData, schema: ScreenSchema):
    kept, validation = hold_out(small_screen, schema, Holding())
    assert kept is small_screen
    assert validation is None


def test_options_and_file_are_joined(small_screen: AnnData, schema: ScreenSchema, tmp_path: Path):
    split = make_split(small_screen, "additive", schema=schema)
    holding = write(tmp_path, split)
    [single] = set(small_screen.obs["perturbation"][small_screen.obs["n_targets"] == 1][:1])
    holding = Holding((single,), (), holding.split_file, holding.split)
    kept, validation = hold_out(small_screen, schema, holding)
    labels = {schema.parse(label) for label in kept.obs["perturbation"].unique()}
    assert not labels & {(single,), *split.test}
    assert len(labels) == small_screen.obs["perturbation"].nunique() - 1 - len(split.test)
    assert validation == list(split.val)


def test_a_context_loses_its_perturbed_cells_only(
    small_screen: AnnData, schema: ScreenSchema, tmp_path: Path
):
    split = make_split(small_screen, "context", schema=schema, seed=1)
    kept, validation = hold_out(small_screen, schema, write(tmp_path, split))
    obs, labels = small_screen.obs, kept.obs["perturbation"]
    assert validation is None
    assert set(labels[kept.obs["batch"] == "batch_2"]) == {"control"}
    assert (kept.obs["batch"] == "batch_1").sum() == (obs["batch"] == "batch_1").sum()


def test_cells_that_are_set_aside_are_dropped(
    small_screen: AnnData, schema: ScreenSchema, tmp_path: Path
):
    split = make_split(small_screen, "low_sample", schema=schema, n_cells=3)
    kept, _ = hold_out(small_screen, schema, write(tmp_path, split))
    counts = kept.obs["perturbation"].value_counts()
    assert counts.drop("control").max() == 3
    assert counts["control"] == (small_screen.obs["perturbation"] == "control").sum()


def test_held_out_cells_and_controls_of_known_conditions_are_dropped(
    small_screen: AnnData, schema: ScreenSchema, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    split = make_split(small_screen, "seen", schema=schema)
    holding = write(tmp_path, split)
    label = "+".join(split.test[0])
    holding = Holding((), (label,), holding.split_file, holding.split)
    with caplog.at_level("INFO", logger="scbig"):
        kept, validation = hold_out(small_screen, schema, holding)
    roles = get_roles(small_screen.obs, split, schema)
    assert kept.obs_names.tolist() == small_screen.obs_names[roles != "test"].tolist()
    assert set(kept.obs["perturbation"]) == set(small_screen.obs["perturbation"])
    assert validation == [split.test[0]]  # its other cells are there to stop on
    assert f"Held out cells of {len(split.test)} conditions" in caplog.text


def test_a_condition_is_held_out_or_stopped_on(
    small_screen: AnnData, schema: ScreenSchema, tmp_path: Path
):
    split = make_split(small_screen, "unseen", schema=schema)
    holding = write(tmp_path, split)
    label = "+".join(split.val[0])
    with pytest.raises(ValueError, match="are to be held out and stopped on"):
        hold_out(small_screen, schema, Holding((label,), (), holding.split_file, holding.split))
    with pytest.raises(ValueError, match="both test and val"):
        hold_out(small_screen, schema, Holding((label,), (label,)))
