import mudata
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from scbig.data import from_mudata, infer_schema
from scbig.model import SCBIG

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:mudata")


@pytest.fixture
def mdata(adata):
    rna = adata.copy()
    del rna.obs["perturbation"]
    guides = AnnData(
        np.ones((70, 2), np.float32),
        obs=pd.DataFrame({"umis": range(70)}, index=[f"cell{i}" for i in range(70)]),
        var=pd.DataFrame(index=["guide1", "guide2"]),
    )
    mdata = mudata.MuData({"rna": rna, "gdo": guides})
    labels = [*adata.obs["perturbation"].astype(str), *["only guides"] * 10]
    label = pd.Series(pd.Categorical(labels), index=[f"cell{i}" for i in range(70)])
    mdata.obs["perturbation"] = label
    mdata.obs["depth"] = -1
    mdata.obs["gdo:umis"] = range(70)
    return mdata


def test_shared_annotation_is_joined(mdata, adata):
    shuffled = mdata.mod["rna"][::-1].copy()
    shuffled_mdata = mudata.MuData({"rna": shuffled, "gdo": mdata.mod["gdo"]})
    shuffled_mdata.obs["perturbation"] = mdata.obs["perturbation"].loc[shuffled_mdata.obs_names]
    joined = from_mudata(shuffled_mdata)
    assert joined.obs_names.tolist() == adata.obs_names[::-1].tolist()
    assert joined.obs["perturbation"].tolist() == adata.obs["perturbation"].tolist()[::-1]
    np.testing.assert_array_equal(joined.X, adata.X[::-1])


def test_own_columns_are_kept(mdata, adata):
    joined = from_mudata(mdata)
    assert joined.obs["depth"].tolist() == adata.obs["depth"].tolist()
    assert sorted(joined.obs) == ["batch", "depth", "gdo:umis", "perturbation"]
    assert joined.obs["gdo:umis"].tolist() == list(range(60))


def test_labels_of_other_cells_are_no_categories(mdata):
    joined = from_mudata(mdata)
    assert "only guides" not in joined.obs["perturbation"].cat.categories
    SCBIG.setup_anndata(joined, context_keys=["batch"])
    assert infer_schema(joined).separator == "+"


def test_nothing_is_written_into_the_mudata(mdata):
    joined = from_mudata(mdata)
    joined.X[:] = 0
    assert "perturbation" not in mdata.mod["rna"].obs
    assert mdata.mod["rna"].X.max() > 0


def test_other_modalities_and_files(mdata, tmp_path):
    assert from_mudata(mdata, "gdo").n_obs == 70
    mdata.write(tmp_path / "screen.h5mu")
    backed = mudata.read_h5mu(tmp_path / "screen.h5mu", backed="r")
    joined = from_mudata(backed)
    assert not joined.isbacked
    np.testing.assert_array_equal(joined.X, mdata.mod["rna"].X)


def test_absent_modality(mdata):
    message = r"no modality 'protein'. Modalities found: \['rna', 'gdo'\]. Name it: modality='rna'"
    with pytest.raises(ValueError, match=message):
        from_mudata(mdata, "protein")
