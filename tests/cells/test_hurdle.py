import numpy as np
import pytest
from scipy import sparse

from scbig.cells import _hurdle, move_cells, move_values


@pytest.fixture
def controls() -> np.ndarray:
    rng = np.random.default_rng(0)
    values = rng.gamma(2.0, 0.5, (400, 6))
    values[rng.random((400, 6)) < [0.0, 0.3, 0.6, 0.9, 1.0, 0.5]] = 0
    return values


def test_means_are_matched(controls):
    target = np.array([1.5, 0.2, 0.8, 0.3, 0.1, 0.0])
    made = move_values(controls, target, np.random.default_rng(0))
    np.testing.assert_allclose(made.values.mean(axis=0), target, atol=1e-5)
    np.testing.assert_allclose(made.missing, 0, atol=1e-5)


def test_falls_scale_and_keep_zeros(controls):
    target = 0.5 * controls.mean(axis=0)
    made = move_values(controls, target, np.random.default_rng(0))
    np.testing.assert_allclose(made.values, 0.5 * controls, rtol=1e-5)


def test_rises_are_expressed_by_more_cells(controls):
    mean = controls.mean(axis=0)
    target = mean.copy()
    target[2] += 0.1
    made = move_values(controls, target, np.random.default_rng(0))
    was, is_now = controls[:, 2] > 0, made.values[:, 2] > 0
    # As many as the mean asks for, of which each has the mean of the expressed values.
    expected = 0.1 * 400 / controls[was, 2].mean()
    assert is_now.sum() - was.sum() == pytest.approx(expected, rel=0.25)
    # Cells that express it keep their values but for the last rounding.
    np.testing.assert_allclose(made.values[was, 2], controls[was, 2], rtol=0.02)
    np.testing.assert_allclose(made.values[:, :2], controls[:, :2], rtol=1e-6)


def test_genes_in_every_cell_are_scaled(controls):
    target = controls.mean(axis=0)
    target[0] *= 1.5
    made = move_values(controls, target, np.random.default_rng(0))
    np.testing.assert_allclose(made.values[:, 0], 1.5 * controls[:, 0], rtol=1e-5)


def test_silent_genes_take_values_of_donors(controls):
    target = controls.mean(axis=0)
    target[4] = 0.05
    donors = controls.copy()
    donors[:3, 4] = 4.0
    made = move_values(controls, target, np.random.default_rng(0), donors)
    values = made.values[:, 4]
    assert np.ptp(values[values > 0]) < 1e-6
    assert values.max() == pytest.approx(4.0, rel=0.3)
    alone = move_values(controls, target, np.random.default_rng(0)).values[:, 4]
    assert 0 < (alone > 0).mean() < 0.2
    assert len(np.unique(alone[alone > 0])) > 5


def test_the_same_seed_gives_the_same_cells(controls):
    target = 1.2 * controls.mean(axis=0) + 0.01
    one, same, other = (move_values(controls, target, np.random.default_rng(s)) for s in (0, 0, 1))
    np.testing.assert_array_equal(one.values, same.values)
    assert (one.values != other.values).any()


def test_bad_input_is_refused(controls):
    with pytest.raises(ValueError, match="negative or not finite"):
        move_values(controls - 1, np.ones(6), np.random.default_rng(0))
    with pytest.raises(ValueError, match="controls have 6 genes"):
        move_values(controls, np.ones(5), np.random.default_rng(0))


def move(controls, n_cells, *, target=None, n_drawn=None, seed=0) -> np.ndarray:
    drawn = np.arange(n_drawn or n_cells) % len(controls)
    target = controls.mean(axis=0) if target is None else target
    rng = np.random.default_rng(seed)
    return move_cells(sparse.csr_matrix(controls), drawn, target, rng, n_cells).toarray()


def test_cells_in_blocks_of_genes_have_their_means(controls, monkeypatch):
    target = controls.mean(axis=0) * [1.5, 0.2, 1.0, 2.0, 1.0, 0.0] + [0, 0, 0, 0, 0.1, 0]
    whole = move(controls, 400, target=target)
    np.testing.assert_allclose(whole.mean(axis=0), target, atol=1e-5)
    # Cells that are not drawn again: what is scaled is scaled alike in blocks.
    monkeypatch.setattr(_hurdle, "_N_AT_ONCE", 400)
    blocks = move(controls, 400, target=target)
    np.testing.assert_allclose(blocks.mean(axis=0), target, atol=1e-5)
    np.testing.assert_allclose(blocks[:, :2], whole[:, :2])
    assert 0 < (blocks[:, 4] > 0).mean() < 0.3


def test_cells_that_are_matched_only_are_not_renewed(controls):
    made = move(controls, 30, n_drawn=1200)
    np.testing.assert_allclose(made, controls[:30], atol=1e-5)


def test_cells_drawn_again_are_like_the_first_and_no_copies():
    rng = np.random.default_rng(1)
    mixing = np.tril(np.ones((5, 5))) * 0.3
    controls = 4 + rng.normal(size=(300, 5)) @ mixing.T  # correlated, without zeros
    sparse_genes = rng.gamma(2.0, 0.5, (300, 12)) * (rng.random((300, 12)) < 0.5)
    pool = np.hstack([controls, sparse_genes])
    made = move(pool, 30_000)
    first, again = made[:300], made[300:]
    np.testing.assert_allclose(first, pool, rtol=0.03)
    assert len(np.unique(made, axis=0)) == len(made)
    # Exact to the error of a sample of so many.
    np.testing.assert_allclose(again.mean(axis=0), pool.mean(axis=0), rtol=0.01)
    np.testing.assert_allclose(np.cov(again[:, :5].T), np.cov(controls.T), atol=0.03)
    np.testing.assert_allclose(
        (again[:, 5:] == 0).mean(axis=0), (pool[:, 5:] == 0).mean(axis=0), atol=0.01
    )
    np.testing.assert_allclose(again[:, 5:].var(axis=0), pool[:, 5:].var(axis=0), rtol=0.05)


def test_one_control_cell_can_be_moved():
    made = move(np.array([[1.0, 0.0, 2.0]]), 3, target=np.array([2.0, 0.5, 1.0]))
    np.testing.assert_allclose(made.mean(axis=0), [2.0, 0.5, 1.0], atol=1e-6)
