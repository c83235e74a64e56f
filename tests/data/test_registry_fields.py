import pytest
import rich.table

from scbig.data import ExpressionField, PerturbationField, ScreenSchema
from scbig.model import SCBIG

SCHEMA = ScreenSchema("perturbation", "control", "+", ("batch",))


def test_what_is_registered(adata):
    state = PerturbationField(SCHEMA).register_field(adata)
    assert state == {
        "schema": SCHEMA.to_dict(),
        "n_conditions": 3,
        "n_controls": 15,
        "targets": ["G0", "G1"],
        "contexts": ["a", "b"],
    }
    counts = PerturbationField(SCHEMA).get_summary_stats(state)
    assert counts == {"n_conditions": 3, "n_controls": 15, "n_targets": 2, "n_contexts": 2}
    adata.var["symbol"] = [f"S{i}" for i in range(8)]
    state = ExpressionField(None, "symbol", is_log1p=True).register_field(adata)
    assert state == {"genes": [f"S{i}" for i in range(8)], "is_log1p": True}
    assert ExpressionField(None).get_summary_stats(state) == {"n_vars": 8}


def test_registered_data_are_checked(adata):
    adata.X[0, 0] = -1
    with pytest.raises(ValueError, match="Negative values"):
        ExpressionField(None).register_field(adata)
    adata.obs["perturbation"] = adata.obs["perturbation"].cat.add_categories("Z")
    with pytest.raises(ValueError, match="have no cells"):
        PerturbationField(SCHEMA).register_field(adata)


def test_another_screen_may_have_other_labels_and_genes(adata):
    perturbations, expression = PerturbationField(SCHEMA), ExpressionField(None)
    first = perturbations.register_field(adata), expression.register_field(adata)
    other = adata[adata.obs["perturbation"] != "G0", ::-1].copy()
    other.obs["perturbation"] = other.obs["perturbation"].cat.rename_categories({"G1": "new"})
    state = perturbations.transfer_field(first[0], other)
    assert state["targets"] == ["G0", "G1", "new"]
    assert expression.transfer_field(first[1], other)["genes"] == list(other.var_names)


def test_where_fields_are():
    field = ExpressionField("log")
    assert (field.registry_key, field.attr_name, field.attr_key) == ("X", "layers", "log")
    assert ExpressionField(None).attr_name == "X"
    field = PerturbationField(SCHEMA)
    assert (field.attr_name, field.attr_key) == ("obs", "perturbation")
    assert [field.is_empty, ExpressionField(None).is_empty] == [False, False]


def test_conventions_are_shown(adata):
    field = PerturbationField(SCHEMA)
    table = field.view_state_registry(field.register_field(adata))
    assert isinstance(table, rich.table.Table)
    assert list(table.columns[1].cells)[:3] == ["perturbation", "control", "+"]
    assert ExpressionField(None).view_state_registry({}) is None


def test_setup_reports_what_it_took(adata, caplog):
    with caplog.at_level("INFO", "scbig"):
        SCBIG.setup_anndata(adata, context_keys=["batch"])
    assert "Took obs['perturbation'] as perturbations (control 'control', separator '+'" in (
        caplog.text
    )
