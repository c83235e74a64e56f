"""The one place where predictions are written into an AnnData."""

from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from scbig._constants import CONFIDENCE_SUFFIX, STD_SUFFIX
from scbig.data._predict import Prediction


def write_prediction(
    adata: AnnData,
    key: str,
    prediction: Prediction,
    *,
    confidence: pd.Series | np.ndarray | None,
    description: dict[str, Any],
) -> AnnData:
    """Write predicted expression into ``layers[key]`` and what belongs to it.

    Parameters
    ----------
    adata
        The object to write into.
    key
        Name of the layer; also of the entry in ``uns`` and the stem of ``obs`` columns.
    prediction
        Predicted expression of all rows and genes.
    confidence
        Confidence of each row in [0, 1], or ``None`` when the predictor has none.
    description
        How the prediction was made; stored in ``uns[key]``.

    Returns
    -------
    ``adata``.
    """
    adata.layers[key] = prediction.mean
    if prediction.std is not None:
        adata.layers[key + STD_SUFFIX] = prediction.std
    elif key + STD_SUFFIX in adata.layers:
        # Left over from an earlier call, it would describe another layer.
        del adata.layers[key + STD_SUFFIX]
    if confidence is not None:
        adata.obs[key + CONFIDENCE_SUFFIX] = np.asarray(confidence, dtype=np.float32)
    elif key + CONFIDENCE_SUFFIX in adata.obs:
        del adata.obs[key + CONFIDENCE_SUFFIX]
    adata.uns[key] = description
    return adata
