"""Records of a predictor as values for JSON and arrays for safetensors, and back."""

import pandas as pd
from anndata import AnnData
from scipy import sparse

from scbig._types import Arrays, Values
from scbig.data._effects import Effects

_SPARSE_PARTS = ("data", "indices", "indptr")
_EFFECT_PARTS = ("context", "delta", "n_cells", "control_mean", "variance")


def controls_to_plain(controls: AnnData) -> tuple[Values, Arrays]:
    """Take control cells apart.

    Parameters
    ----------
    controls
        Control cells, see :func:`make_controls`.

    Returns
    -------
    Their annotation as values, and their expression as arrays.
    """
    x = sparse.csr_matrix(controls.X)
    values = {
        "names": controls.obs_names.tolist(),
        "obs": {key: controls.obs[key].astype(str).tolist() for key in controls.obs},
        "genes": controls.var_names.tolist(),
    }
    return values, {f"controls.{part}": getattr(x, part) for part in _SPARSE_PARTS}


def controls_from_plain(values: Values, arrays: Arrays) -> AnnData:
    """Rebuild what :func:`controls_to_plain` took apart.

    Parameters
    ----------
    values, arrays
        What it returned; further arrays do no harm.

    Returns
    -------
    The control cells.
    """
    x = sparse.csr_matrix(
        tuple(arrays[f"controls.{part}"] for part in _SPARSE_PARTS),
        shape=(len(values["names"]), len(values["genes"])),
    )
    obs = pd.DataFrame(values["obs"], index=values["names"])
    return AnnData(x, obs=obs, var=pd.DataFrame(index=values["genes"]))


def effects_to_plain(effects: Effects) -> tuple[Values, Arrays]:
    """Take effects apart.

    Parameters
    ----------
    effects
        Effects of a screen.

    Returns
    -------
    Their targets as values, and the rest as arrays.
    """
    values = {"targets": [list(group) for group in effects.targets]}
    return values, {f"effects.{part}": getattr(effects, part) for part in _EFFECT_PARTS}


def effects_from_plain(values: Values, arrays: Arrays) -> Effects:
    """Rebuild what :func:`effects_to_plain` took apart.

    Parameters
    ----------
    values, arrays
        What it returned; further arrays do no harm.

    Returns
    -------
    The effects.
    """
    targets = tuple(tuple(group) for group in values["targets"])
    return Effects(targets, **{part: arrays[f"effects.{part}"] for part in _EFFECT_PARTS})
