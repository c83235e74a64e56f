import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.spatial import distance
from scipy.stats import energy_distance as scipy_energy_distance

from scbig.metrics import energy_distance, mmd_rbf, prepare_cells


def _make_clouds(seed, n=9, m=7, d=3):
    rng = np.random.default_rng(seed)
    return rng.normal(0, 1, (n, d)), rng.normal(0.5, 1.5, (m, d))


def _sum_by_hand(x, y, is_unbiased):
    def mean(a, b, skip):
        return np.mean(
            [
                np.sqrt(((p - q) ** 2).sum())
                for i, p in enumerate(a)
                for j, q in enumerate(b)
                if not (skip and i == j)
            ]
        )

    return 2 * mean(x, y, False) - mean(x, x, is_unbiased) - mean(y, y, is_unbiased)


@pytest.mark.parametrize("is_unbiased", [True, False])
def test_it_is_the_brute_force_sum(is_unbiased):
    x, y = _make_clouds(0)
    value = energy_distance(x, y, is_unbiased=is_unbiased)
    assert isinstance(value, float)
    assert value == pytest.approx(_sum_by_hand(x, y, is_unbiased))


def test_the_v_form_in_one_dimension_is_scipys_squared():
    x, y = _make_clouds(1, d=1)
    expected = scipy_energy_distance(x[:, 0], y[:, 0]) ** 2
    assert energy_distance(x, y, is_unbiased=False) == pytest.approx(expected)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), is_unbiased=st.booleans())
def test_order_of_cells_and_features_does_not_matter(seed, is_unbiased):
    x, y = _make_clouds(seed)
    rng = np.random.default_rng(seed)
    columns = rng.permutation(3)
    shuffled = rng.permutation(x)[:, columns], rng.permutation(y)[:, columns]
    value = energy_distance(x, y, is_unbiased=is_unbiased)
    assert energy_distance(*shuffled, is_unbiased=is_unbiased) == pytest.approx(value, abs=1e-12)
    assert energy_distance(y, x, is_unbiased=is_unbiased) == pytest.approx(value, abs=1e-12)


def test_only_the_unbiased_form_is_zero_on_average_for_small_samples():
    rng = np.random.default_rng(0)
    pairs = [rng.normal(size=(2, 20, 4)) for _ in range(300)]
    unbiased = [energy_distance(x, y) for x, y in pairs]
    v_form = [energy_distance(x, y, is_unbiased=False) for x, y in pairs]
    assert abs(np.mean(unbiased)) < 4 * np.std(unbiased) / np.sqrt(300)
    assert min(v_form) > 0
    assert np.mean(v_form) > 0.2


def test_the_v_form_of_equal_samples_is_zero():
    x, _ = _make_clouds(0)
    assert energy_distance(x, x, is_unbiased=False) == pytest.approx(0, abs=1e-12)


def test_the_v_form_is_pertpys():
    pertpy = pytest.importorskip("pertpy", reason="the extra 'pertpy' is not installed")
    x, y = _make_clouds(2, n=30, m=20, d=5)
    expected = pertpy.tl.Distance("edistance")(x, y)
    assert energy_distance(x, y, is_unbiased=False) == pytest.approx(expected, rel=1e-5)


def test_samples_that_do_not_fit_are_refused():
    x, y = _make_clouds(0)
    with pytest.raises(ValueError, match="real has 3 features and predicted 2"):
        energy_distance(x, y[:, :2])
    with pytest.raises(ValueError, match="predicted has 1 cells; at least 2 are needed"):
        energy_distance(x, y[:1])
    assert energy_distance(x, y[:1], is_unbiased=False) > 0
    with pytest.raises(ValueError, match=r"real has shape \(3,\); expected cells x features"):
        energy_distance(x[0], y)
    with pytest.raises(ValueError, match="predicted holds values that are not finite"):
        energy_distance(x, y * np.inf)


@pytest.mark.parametrize("seed", [0, 1])
def test_mmd_is_the_brute_force_sum(seed):
    x, y = _make_clouds(seed)
    pairs = [(p, q) for i, p in enumerate(x) for q in x[:i]]
    median = np.median([((p - q) ** 2).sum() for p, q in pairs])

    def kernel(p, q):
        widths = [0.5 * median, median, 2 * median, 4 * median]
        return np.mean([np.exp(-((p - q) ** 2).sum() / (2 * s2)) for s2 in widths])

    def within(z):
        return np.mean([kernel(p, q) for i, p in enumerate(z) for j, q in enumerate(z) if i != j])

    expected = within(x) + within(y) - 2 * np.mean([kernel(p, q) for p in x for q in y])
    value = mmd_rbf(x, y)
    assert isinstance(value, float)
    assert value == pytest.approx(expected)


def test_mmd_is_zero_on_average_for_one_distribution_and_grows_with_the_shift():
    rng = np.random.default_rng(0)
    values = [mmd_rbf(*rng.normal(size=(2, 20, 4))) for _ in range(300)]
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(300)
    x, y = rng.normal(size=(2, 50, 4))
    assert mmd_rbf(x, y) < mmd_rbf(x, y + 0.5) < mmd_rbf(x, y + 2) < mmd_rbf(x, y + 99) < 2


def test_prepared_cells_give_the_same_numbers_at_one_pass(monkeypatch):
    x, y = _make_clouds(3)
    prepared = prepare_cells(x)
    assert prepare_cells(prepared) is prepared
    assert (prepared.n_cells, prepared.n_pairs) == (9, 36)
    for is_unbiased in (True, False):
        value = energy_distance(x, y, is_unbiased=is_unbiased)
        assert energy_distance(prepared, y, is_unbiased=is_unbiased) == value
    assert mmd_rbf(prepared, y) == mmd_rbf(x, y)
    # What is known is not asked again.
    monkeypatch.setattr("scbig.metrics._distribution.pdist", None)
    with pytest.raises(TypeError):
        energy_distance(prepared, y)
    assert prepared.distance_sum == distance.pdist(x).sum()


def test_equal_predicted_cells_have_no_inner_distances():
    x, y = _make_clouds(4)
    point = np.tile(y[:1], (5, 1))
    outer = distance.cdist(x, y[:1]).mean()
    inner = distance.pdist(x).mean()
    assert energy_distance(x, point) == pytest.approx(2 * outer - inner)
    assert 0 < mmd_rbf(x, point) < 2


def test_real_cells_without_variance_give_mmd_no_bandwidth():
    x, y = _make_clouds(0)
    with pytest.raises(ValueError, match="median distance of the 4 real cells is 0, so mmd_rbf"):
        mmd_rbf(np.tile(x[:1], (4, 1)), y)


def test_clouds_that_do_not_fit_mmd_are_refused():
    x, y = _make_clouds(0)
    with pytest.raises(ValueError, match="real has 1 cells; at least 2 are needed"):
        mmd_rbf(x[:1], y)
    with pytest.raises(ValueError, match="real has 3 features and predicted 2"):
        mmd_rbf(x, y[:, :2])
    with pytest.raises(ValueError, match="real has 0 cells; at least 1 is needed"):
        prepare_cells(x[:0])
    with pytest.raises(ValueError, match=r"predicted has shape \(7, 0\)"):
        mmd_rbf(x, y[:, :0])
