"""Falls in new contexts, gene by gene."""

from dataclasses import replace

import numpy as np
import pytest

from scbig.data import Effects
from scbig.regression import DenoisedRegression, KernelSettings, TargetKernel
from scbig.regression._denoised import scale_falls

EFFECTS = Effects(
    targets=(("A",), ("B",), ("A",)),
    context=np.array([0, 0, 1]),
    delta=np.array([[1.0, -1.0, -1.0, -0.5], [0.5, -0.4, -0.7, -0.3], [1.0, -1.0, -1.0, -0.5]]),
    n_cells=np.array([50, 50, 50]),
    # The third context is new: less, half, more and nothing of what the others have on average.
    control_mean=np.array([[3.0, 3.0, 3.0, 0.0], [1.5, 1.5, 1.5, 0.0], [0.5, 1.25, 5.0, 2.0]]),
    variance=np.ones((3, 4)),
)


def test_falls_scale_with_what_there_is_and_rises_do_not():
    """Two groups of the first context and one of the second make a mean of 2.5."""
    predicted = np.array([[1.0, -1.0, -1.0, -0.5], [-1.0, 2.0, 0.5, -0.5]])
    scaled = scale_falls(predicted, np.array([2, 2]), EFFECTS)
    expected = [[1.0, -0.5, -1.0, -0.5], [-0.2, 2.0, 0.5, -0.5]]
    np.testing.assert_allclose(scaled, expected)


def test_contexts_with_training_conditions_are_left_alone():
    predicted = np.full((2, 4), -1.0)
    np.testing.assert_array_equal(scale_falls(predicted, np.array([0, 1]), EFFECTS), predicted)


@pytest.mark.parametrize("context", [-1, 2, 3])
def test_a_context_without_controls_has_those_of_all(context: int):
    """Their mean is 2.25, where the training conditions were measured at 2.5 on average."""
    control_mean = EFFECTS.control_mean.copy()
    control_mean[2] = np.nan
    effects = replace(EFFECTS, control_mean=control_mean)
    scaled = scale_falls(np.full((1, 4), -1.0), np.array([context]), effects)
    np.testing.assert_allclose(scaled, [[-0.9, -0.9, -0.9, -1.0]])


def test_the_regression_scales_falls_in_new_contexts_alone():
    settings = KernelSettings(noise=0.1, context=0.3, mean_context=0.3)
    regression = DenoisedRegression(EFFECTS, TargetKernel((), settings))
    rich = replace(EFFECTS, control_mean=np.full((3, 4), 2.5))
    unscaled = DenoisedRegression(rich, TargetKernel((), settings))
    targets = [("A",), ("A",)]
    context = np.array([1, 2])
    expected = unscaled.predict(targets, context)
    assert (expected[:, 1:] < 0).all()
    expected[1] = np.where(expected[1] < 0, [1, 0.5, 1, 1], 1) * expected[1]
    np.testing.assert_allclose(regression.predict(targets, context), expected, rtol=1e-6)
