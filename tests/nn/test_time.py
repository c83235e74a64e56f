import math

import numpy as np
import pytest
import torch

from scbig.nn import FourierTime


def test_features_are_sines_then_cosines() -> None:
    t = np.array([0.0, 0.3, 1.0])
    angle = np.outer(t, math.pi * np.array([1, 2, 3]))
    expected = np.hstack([np.sin(angle), np.cos(angle)])
    features = FourierTime(6)(torch.tensor(t, dtype=torch.float32))
    np.testing.assert_allclose(features.numpy(), expected, atol=1e-6)


def test_shape_follows_the_times_and_the_ends_differ() -> None:
    features = FourierTime(8)
    assert features(torch.tensor(0.5)).shape == (8,)
    assert features(torch.rand(2, 3)).shape == (2, 3, 8)
    start, end = features(torch.tensor([0.0, 1.0]))
    assert (start - end).abs().max() == pytest.approx(2.0, abs=1e-5)


def test_odd_dim_is_refused() -> None:
    with pytest.raises(ValueError, match="dim is 5"):
        FourierTime(5)
