import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from scbig import pl


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def _make_deltas(n_genes=60):
    rng = np.random.default_rng(0)
    real = rng.normal(0, 0.2, n_genes)
    real[:10] += 1.5
    return real, real + rng.normal(0, 0.1, n_genes), [f"GENE{i}" for i in range(n_genes)]


def _make_scores():
    return pd.DataFrame(
        {
            "predictor": ["low", "low", "high", "high", "mid", "mid"],
            "perturbation": ["A", "B"] * 3,
            "metric": "pearson_delta",
            "value": [0.1, 0.2, 0.8, 0.9, 0.5, np.nan],
        }
    )


def _get_extents(texts):
    texts[0].figure.canvas.draw()
    renderer = texts[0].figure.canvas.get_renderer()
    return [super(type(text), text).get_window_extent(renderer) for text in texts]


def _assert_inside_figure(ax):
    ax.figure.canvas.draw()
    box, whole = ax.get_tightbbox(), ax.figure.bbox
    assert box.x0 >= whole.x0 - 1
    assert box.x1 <= whole.x1 + 1
    assert box.y0 >= whole.y0 - 1
    assert box.y1 <= whole.y1 + 1


def test_effect_scatter_draws_every_gene_and_names_the_strongest():
    real, predicted, names = _make_deltas()
    ax = pl.effect_scatter(real, predicted, gene_names=names, n_labels=5, title="A+B")
    np.testing.assert_allclose(ax.collections[0].get_offsets(), np.c_[real, predicted])
    strongest = np.argsort(-np.abs(real))[:5]
    assert [text.get_text() for text in ax.texts] == [names[i] for i in strongest]
    for text, i in zip(ax.texts, strongest, strict=True):
        assert text.xy == (real[i], predicted[i])
    r = np.corrcoef(real, predicted)[0, 1]
    assert ax.get_title() == f"A+B\nPearson r = {r:.2f}"
    assert ax.get_xlim() == ax.get_ylim()
    assert ax.get_xlabel().startswith("real effect")
    assert ax.get_ylabel().startswith("predicted effect")


def test_labels_do_not_cover_each_other_nor_leave_the_axes():
    real, predicted, names = _make_deltas()
    ax = pl.effect_scatter(real, predicted, gene_names=names, n_labels=8)
    boxes = _get_extents(ax.texts)
    assert [box.count_overlaps(boxes) for box in boxes] == [1] * 8  # each with itself
    for box in boxes:
        assert ax.bbox.x0 <= box.x0
        assert box.x1 <= ax.bbox.x1
    _assert_inside_figure(ax)


def test_effect_scatter_without_names_or_variance():
    ax = pl.effect_scatter([0.5, -0.5, 0.1], [0.0, 0.0, 0.0])
    assert len(ax.texts) == 0
    assert ax.get_title() == "Pearson r undefined (constant effect)"


@pytest.mark.parametrize(
    ("real", "predicted", "names", "message"),
    [
        ([1.0, 2.0], [1.0], None, "real_delta has shape"),
        ([[1.0]], [[1.0]], None, "one value a gene"),
        ([], [], None, "one value a gene"),
        ([1.0, 2.0], [1.0, 2.0], ["A"], "gene_names holds 1 names for 2 genes"),
    ],
)
def test_effect_scatter_refuses_what_does_not_fit(real, predicted, names, message):
    with pytest.raises(ValueError, match=message):
        pl.effect_scatter(real, predicted, gene_names=names)


@pytest.mark.parametrize(
    ("is_lower_better", "order"),
    [(False, ["low", "mid", "high"]), (True, ["high", "mid", "low"])],
)
def test_scores_are_sorted_with_the_best_on_top(is_lower_better, order):
    ax = pl.scores(_make_scores(), is_lower_better=is_lower_better, title="doubles")
    assert [tick.get_text() for tick in ax.get_yticklabels()] == order
    means = {"low": "0.150", "mid": "0.500", "high": "0.850"}
    assert [text.get_text() for text in ax.texts] == [*(means[name] for name in order), "mean"]
    words = "lower is better" if is_lower_better else "higher is better"
    assert ax.get_xlabel() == f"pearson_delta ({words})"
    assert ax.get_title() == "doubles"
    _assert_inside_figure(ax)


def test_scores_draws_a_dot_a_condition_and_skips_missing_values():
    ax = pl.scores(_make_scores())
    dots = [np.sort(c.get_offsets()[:, 0]).tolist() for c in ax.collections]
    assert dots == [[0.1, 0.2], [0.5], [0.8, 0.9]]
    for row, collection in enumerate(ax.collections):
        assert np.abs(collection.get_offsets()[:, 1] - row).max() <= 0.2


def test_scores_chooses_the_metric():
    table = pd.concat([_make_scores(), _make_scores().assign(metric="mse", value=0.3)])
    ax = pl.scores(table, metric="mse")
    assert all((c.get_offsets()[:, 0] == 0.3).all() for c in ax.collections)
    with pytest.raises(ValueError, match=r"metric=None: choose one of \['mse', 'pearson_delta'\]"):
        pl.scores(table)
    with pytest.raises(ValueError, match=r"metric='r2': choose one of"):
        pl.scores(table, metric="r2")


def test_scores_refuses_tables_without_columns_or_values():
    with pytest.raises(ValueError, match=r"scores lacks the columns \['metric'\]"):
        pl.scores(_make_scores().drop(columns="metric"))
    with pytest.raises(ValueError, match="only missing values of 'pearson_delta'"):
        pl.scores(_make_scores().assign(value=np.nan))


def test_programs_draws_the_table_around_white():
    shifts = pd.DataFrame({"A": [0.5, -1.0], "A+B": [0.2, 0.0]}, index=["P1", "P2"])
    ax = pl.programs(shifts, title="shifts")
    image = ax.images[0]
    np.testing.assert_allclose(image.get_array(), shifts.to_numpy())
    assert image.get_clim() == (-1.0, 1.0)
    red, _, blue, _ = image.to_rgba(np.array([-1.0, 0.0, 1.0])).T
    assert red[0] < blue[0]
    assert red[1] == pytest.approx(blue[1], abs=0.01)  # no change has no colour
    assert red[2] > blue[2]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["A", "A+B"]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["P1", "P2"]
    assert ax.get_title() == "shifts"
    assert image.colorbar.ax.get_ylabel() == "mean shift (log1p)"
    _assert_inside_figure(ax)


def test_many_conditions_keep_readable_ticks():
    shifts = pd.DataFrame(np.zeros((3, 150)), columns=[f"GENE{i}" for i in range(150)])
    ax = pl.programs(shifts)
    labels = [tick.get_text() for tick in ax.get_xticklabels()]
    assert labels == [f"GENE{i}" for i in range(0, 150, 3)]
    boxes = [tick.get_window_extent() for tick in ax.get_xticklabels()]
    assert max(box.count_overlaps(boxes) for box in boxes) == 1
    assert ax.images[0].get_clim() == (-1.0, 1.0)  # nothing moves: no division by zero


@pytest.mark.parametrize("shifts", [pd.DataFrame(), pd.DataFrame({"A": [np.nan]})])
def test_programs_refuses_gaps(shifts):
    with pytest.raises(ValueError, match="pass programs x conditions without gaps"):
        pl.programs(shifts)


def test_history_draws_each_curve_without_gaps():
    epochs = pd.RangeIndex(4, name="epoch")
    curves = {
        "train_loss": pd.DataFrame({"train_loss": [4.0, 3.0, 2.0, 1.0]}, index=epochs),
        "validation_loss": pd.DataFrame({"v": [5.0, None, 3.0, None]}, index=epochs, dtype=object),
    }
    ax = pl.history(curves, title="training")
    train, validation = ax.lines
    assert train.get_ydata().tolist() == [4.0, 3.0, 2.0, 1.0]
    assert validation.get_xdata().tolist() == [0, 2]
    assert validation.get_ydata().tolist() == [5.0, 3.0]
    assert train.get_color() != validation.get_color()
    assert [text.get_text() for text in ax.get_legend().get_texts()] == list(curves)
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_title()) == ("epoch", "value", "training")


def test_history_chooses_curves_and_shows_single_values():
    curves = {"a": pd.DataFrame({"a": [1.0]}), "b": pd.DataFrame({"b": [1.0, 2.0]})}
    ax = pl.history(curves, keys=["a"])
    assert [line.get_label() for line in ax.lines] == ["a"]
    assert ax.lines[0].get_marker() == "o"
    assert ax.get_ylabel() == "a"
    with pytest.raises(ValueError, match=r"keys=\['c'\]: choose from \['a', 'b'\]"):
        pl.history(curves, keys=["c"])
    with pytest.raises(ValueError, match=r"keys=\[\]: choose from \[\]"):
        pl.history({})


def _make_tenths(n_last=60):
    return pd.DataFrame(
        {
            "predicted": [0.03, 0.55, 0.91],
            "observed": [0.01, 0.6, 0.85],
            "n": [41234, 1800, n_last],
        }
    )


def test_reliability_draws_tenths_with_their_numbers():
    table = _make_tenths()
    ax = pl.reliability(table, title="held out")
    diagonal, curve = ax.lines
    np.testing.assert_array_equal(diagonal.get_xdata(), diagonal.get_ydata())
    np.testing.assert_allclose(curve.get_xydata(), table[["predicted", "observed"]])
    points = ax.collections[-1]
    np.testing.assert_allclose(points.get_offsets(), table[["predicted", "observed"]])
    # Fewer than 100 genes are hollow.
    assert points.get_facecolors()[:, :3].sum(axis=1).tolist()[2] == 3.0
    assert len(np.unique(points.get_facecolors(), axis=0)) == 2
    assert [text.get_text() for text in ax.texts] == ["41k", "1.8k", "60"]
    assert ax.get_xlabel() == "predicted probability of a change"
    assert ax.get_ylabel() == "share of genes that changed"
    assert ax.get_title() == "held out"
    assert ax.get_legend() is None
    assert ax.get_xlim() == ax.get_ylim()
    boxes = _get_extents(ax.texts)
    assert all(box.y0 >= ax.bbox.y0 and box.x1 <= ax.bbox.x1 for box in boxes)
    _assert_inside_figure(ax)


def test_reliability_draws_a_curve_for_each_group_of_genes():
    levels = [0.9, 0.5, 0.7]
    parts = [
        pd.DataFrame({"genes": name, "predicted": levels, "observed": found, "n": n})
        for name, found, n in (
            ("all", [0.88, 0.5, 0.7], 5000),
            ("top tenth", [0.8, 0.3, 0.6], 500),
        )
    ]
    both = pd.concat([part.assign(kind="coverage") for part in parts])
    ax = pl.reliability(
        pd.concat([_make_tenths().assign(kind="probability"), both]), kind="coverage"
    )
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["all", "top tenth"]
    curves = ax.lines[1:]
    assert curves[0].get_ydata().tolist() == [0.5, 0.7, 0.88]
    assert curves[1].get_ydata().tolist() == [0.3, 0.6, 0.8]
    assert curves[0].get_color() != curves[1].get_color()
    assert len(ax.texts) == 0
    assert ax.get_ylim()[0] < 0.3
    assert ax.get_ylabel() == "share of measured effects inside"
    alone = pl.reliability(parts[0], kind="coverage")
    assert alone.get_legend() is None


def test_reliability_refuses_what_it_cannot_draw():
    with pytest.raises(ValueError, match=r"kind='curve'.*\['probability', 'coverage'\]"):
        pl.reliability(_make_tenths(), kind="curve")
    with pytest.raises(ValueError, match=r"table=None.*DataFrame"):
        pl.reliability(None)
    with pytest.raises(ValueError, match=r"table lacks the columns \['n'\]"):
        pl.reliability(_make_tenths().drop(columns="n"))
    with pytest.raises(ValueError, match="nothing of the kind 'coverage'"):
        pl.reliability(_make_tenths().assign(kind="probability"), kind="coverage")
    with pytest.raises(ValueError, match="no gene could be compared"):
        pl.reliability(_make_tenths().assign(observed=np.nan))


@pytest.mark.parametrize(
    "draw",
    [
        lambda ax: pl.effect_scatter([0.1, 0.2], [0.1, 0.3], ax=ax),
        lambda ax: pl.scores(_make_scores(), ax=ax),
        lambda ax: pl.programs(pd.DataFrame({"A": [1.0]}), ax=ax),
        lambda ax: pl.history({"a": pd.DataFrame({"a": [1.0]})}, ax=ax),
        lambda ax: pl.reliability(_make_tenths(), ax=ax),
    ],
)
def test_figures_draw_on_the_given_axes(draw):
    _, ax = plt.subplots()
    assert draw(ax) is ax
    assert ax.has_data()
    assert len(plt.get_fignums()) == 1
