"""Control cells that travel with a predictor, taken apart and put together again."""

import numpy as np
import pandas as pd
from scipy import sparse

from scbig.data import (
    Expression,
    Screen,
    ScreenCells,
    controls_from_plain,
    controls_to_plain,
    make_controls,
    thin,
)

GENES = ("a", "b", "c")


def make_pool(known: tuple[str, ...] = ()) -> tuple[np.ndarray, pd.DataFrame, object]:
    x = np.arange(18, dtype=np.float32).reshape(6, 3)
    condition, context = np.array([0, 1, 0, 0, 1, 0]), np.array([1, 0, 0, 1, 1, 0])
    screen = Screen(((), ("A",)), condition, ("left", "right"), context)
    obs = pd.DataFrame({"label": list("uvwxyz")}, index=[f"cell{i}" for i in range(6)])
    expression = Expression(sparse.csr_matrix(x))
    rng = np.random.default_rng(0)
    return x, obs, make_controls(ScreenCells(expression, screen), obs, GENES, rng, known=known)


def test_all_controls_are_kept_context_by_context() -> None:
    x, _, controls = make_pool()
    np.testing.assert_array_equal(controls.X.toarray(), x[[2, 5, 0, 3]])
    assert controls.obs["label"].tolist() == ["w", "z", "u", "x"]
    assert controls.var_names.tolist() == list(GENES)


def test_known_contexts_are_left_out() -> None:
    x, _, controls = make_pool(known=("left",))
    np.testing.assert_array_equal(controls.X.toarray(), x[[0, 3]])
    assert make_pool(known=("left", "right"))[2].shape == (0, 3)


def test_thinning_keeps_order_and_draws_without_replacement() -> None:
    rows = np.arange(100, 200)
    kept = thin(rows, np.random.default_rng(0), n_kept=30)
    assert len(np.unique(kept)) == 30
    assert (np.diff(kept) > 0).all()
    assert np.isin(kept, rows).all()
    np.testing.assert_array_equal(thin(rows, np.random.default_rng(0)), rows)


def test_controls_survive_being_taken_apart() -> None:
    controls = make_pool()[2]
    values, arrays = controls_to_plain(controls)
    again = controls_from_plain(values, arrays | {"other": np.zeros(1)})
    np.testing.assert_array_equal(again.X.toarray(), controls.X.toarray())
    pd.testing.assert_frame_equal(again.obs, controls.obs, check_dtype=False)
    assert again.var_names.tolist() == controls.var_names.tolist()
