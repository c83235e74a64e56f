"""The simulated screen of the demo, what of it is held out, and how predictions are scored."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData

from scbig._writing import replacing
from scbig.baselines import Additive, Baseline, TrainMean
from scbig.data import (
    Expression,
    ScreenSchema,
    Targets,
    compute_group_means,
    get_matrix,
    infer_schema,
    make_screen,
    simulate_screen,
)
from scbig.metrics import (
    direction_accuracy_top20,
    get_target_mask,
    mse,
    pds_l1,
    pearson_delta,
    pearson_delta_top20,
)
from scbig.model import SCBIG
from scbig.programs import compute_program_means, get_gene_programs

BASELINES: tuple[type[Baseline], ...] = (TrainMean, Additive)
NO_CHANGE = "no_change"
# Fewer of the cells that are made would not have the mean that they were made with.
N_CELLS = 500
SINGLE = "unseen gene"
PAIR = "pair of seen genes"
MIXED = "pair with an unseen gene"
KINDS = (SINGLE, PAIR, MIXED)
UNSEEN_SHARE = 0.2
PAIR_SHARE = 0.3
METRICS: Mapping[str, Callable[..., np.ndarray]] = {
    "pearson_delta": pearson_delta,
    "pearson_delta_top20": pearson_delta_top20,
    "direction_accuracy_top20": direction_accuracy_top20,
    "mse": mse,
}
LOWER_IS_BETTER = ("mse",)


@dataclass(frozen=True)
class HeldOut:
    """Conditions that are predicted, and what kind of question each asks.

    Attributes
    ----------
    kinds
        Kind of each held-out condition.
    """

    kinds: dict[Targets, str]


@dataclass(frozen=True)
class DemoScreen:
    """A screen in two parts.

    Attributes
    ----------
    whole, train
        All cells, and those that are trained on.
    schema
        How labels are read.
    held_out
        The conditions that only ``whole`` has.
    """

    whole: AnnData
    train: AnnData
    schema: ScreenSchema
    held_out: HeldOut

    @property
    def labels(self) -> list[str]:
        """Labels of the held-out conditions."""
        return [self.schema.join(targets) for targets in self.held_out.kinds]

    @property
    def control(self) -> np.ndarray:
        """Mean expression of the control cells, shape ``(n_genes,)``."""
        return compute_means(self.whole, [self.schema.control], self.schema).to_numpy()[0]


def make_demo_screen(n_cells: int, n_genes: int, seed: int) -> DemoScreen:
    """Simulate a screen and hold conditions out.

    Parameters
    ----------
    n_cells, n_genes
        Size of the screen.
    seed
        Seed of the screen and of the choice.

    Returns
    -------
    The screen.
    """
    whole = simulate_screen(n_cells, n_genes, seed=seed)
    schema = infer_schema(whole)
    screen = make_screen(whole.obs, schema)
    conditions = [targets for targets in screen.conditions if targets]
    held_out = choose_held_out(conditions, np.random.default_rng(seed))
    is_held = np.array([targets in held_out.kinds for targets in screen.conditions])
    return DemoScreen(whole, whole[~is_held[screen.condition]].copy(), schema, held_out)


def compute_means(
    adata: AnnData, labels: Sequence[str], schema: ScreenSchema, layer: str | None = None
) -> pd.DataFrame:
    """Average the cells of each label; returns labels x genes."""
    own = adata.obs[schema.perturbation_key].to_numpy()
    rows = [np.flatnonzero(own == label) for label in labels]
    means = compute_group_means(Expression(get_matrix(adata, layer)), rows)
    return pd.DataFrame(means, index=list(labels), columns=adata.var_names)


def choose_held_out(conditions: Sequence[Targets], rng: np.random.Generator) -> HeldOut:
    """Hold out genes with every condition that contains them, and pairs of the other genes.

    Parameters
    ----------
    conditions
        Target sets of the screen.
    rng
        Source of the choice.

    Returns
    -------
    The held-out conditions by kind.
    """
    genes = sorted({gene for targets in conditions for gene in targets})
    unseen = set(rng.choice(genes, round(UNSEEN_SHARE * len(genes)), replace=False).tolist())
    pairs = [targets for targets in conditions if len(targets) > 1 and not unseen & set(targets)]
    picked = rng.choice(len(pairs), round(PAIR_SHARE * len(pairs)), replace=False)
    kinds = {
        targets: SINGLE if len(targets) == 1 else MIXED
        for targets in conditions
        if unseen & set(targets)
    }
    return HeldOut(kinds | {pairs[i]: PAIR for i in sorted(picked)})


def train_model(
    screen: DemoScreen,
    *,
    max_epochs: int | None,
    max_steps: int | None,
    seed: int,
    use_progress_bar: bool,
) -> SCBIG:
    """Train SCBIG on what is not held out."""
    SCBIG.setup_anndata(screen.train)
    model = SCBIG(screen.train, seed=seed)
    model.train(max_epochs=max_epochs, max_steps=max_steps, use_progress_bar=use_progress_bar)
    return model


def predict_held_out(model: SCBIG, screen: DemoScreen, seed: int) -> AnnData:
    """Predict with SCBIG and the baselines, from the same control cells, a layer for each."""
    predicted = model.predict(
        screen.train, perturbations=screen.labels, n_cells=N_CELLS, seed=seed
    )
    for baseline_class in BASELINES:
        baseline_class.setup_anndata(screen.train)
        baseline = baseline_class(screen.train, seed=seed)
        baseline.train()
        predicted.layers[baseline.default_key] = baseline.get_predicted_expression(
            screen.train, perturbations=screen.labels, n_cells=N_CELLS, seed=seed
        )
    return predicted


def compute_real_means(screen: DemoScreen) -> pd.DataFrame:
    """Average the cells of each held-out condition; returns conditions x genes."""
    return compute_means(screen.whole, screen.labels, screen.schema)


def compute_predicted_means(predicted: AnnData, screen: DemoScreen) -> dict[str, pd.DataFrame]:
    """Average each predictor's layer, by its name; no change is the mean of all control cells."""
    labels = screen.labels
    control = np.tile(screen.control, (len(labels), 1))
    return {
        SCBIG.default_key: compute_means(predicted, labels, screen.schema, SCBIG.default_key),
        NO_CHANGE: pd.DataFrame(control, index=labels, columns=predicted.var_names),
        **{
            key: compute_means(predicted, labels, screen.schema, key)
            for key in (baseline.default_key for baseline in BASELINES)
        },
    }


def write_cells(predicted: AnnData, path: Path) -> Path:
    """Write the cells as SCBIG predicts them."""
    # The baselines' layers would quadruple the file, and are made anew in a second.
    for baseline in BASELINES:
        del predicted.layers[baseline.default_key]
    with replacing(path) as half:
        predicted.write_h5ad(half, compression="gzip")
    return path


def compute_scores(
    real: pd.DataFrame,
    predicted: Mapping[str, pd.DataFrame],
    control: np.ndarray,
    held_out: HeldOut,
    schema: ScreenSchema,
) -> pd.DataFrame:
    """Score every predictor on every held-out condition.

    Parameters
    ----------
    real
        Mean expression of the held-out conditions, conditions x genes.
    predicted
        The same by predictor.
    control
        Mean expression of the control cells, shape ``(n_genes,)``.
    held_out
        Kinds of the conditions.
    schema
        How labels are read.

    Returns
    -------
    One row a score: ``predictor``, ``perturbation``, ``kind``, ``metric``, ``value``.
    """
    targets = [schema.parse(label) for label in real.index]
    kinds = [held_out.kinds[group] for group in targets]
    mask = get_target_mask(targets, list(real.columns))
    tables = []
    for name, means in predicted.items():
        values = {m: score(real, means, control) for m, score in METRICS.items()}
        values["pds_l1"] = pds_l1(real, means, control, target_mask=mask)
        table = pd.DataFrame({"perturbation": real.index, "kind": kinds, **values})
        tables.append(table.assign(predictor=name))
    columns = ["predictor", "perturbation", "kind"]
    return pd.concat(tables).melt(columns, var_name="metric", value_name="value")


def choose_example(scores: pd.DataFrame) -> str:
    """Return the pair of seen genes, if there is one, that SCBIG predicts with median score."""
    own = scores[(scores["predictor"] == "scbig") & (scores["metric"] == "pearson_delta")]
    pairs = own[own["kind"] == PAIR] if (own["kind"] == PAIR).any() else own
    ranked = pairs.sort_values("value")["perturbation"]
    return str(ranked.iloc[len(ranked) // 2])


def summarise(scores: pd.DataFrame) -> pd.DataFrame:
    """Average over conditions; rows are kind and predictor, columns the metrics."""
    ordered = scores.assign(kind=pd.Categorical(scores["kind"], KINDS)).sort_values(
        "kind", kind="stable"
    )
    return ordered.pivot_table(
        index=["kind", "predictor"], columns="metric", values="value", sort=False, observed=True
    )


def average_programs(effects: pd.DataFrame, adata: AnnData) -> pd.DataFrame:
    """Average the effects over the genes of each program; returns programs x conditions."""
    programs = get_gene_programs(adata.uns)
    labels = programs.get_labels(list(effects.columns))
    means = compute_program_means(effects.to_numpy(), labels, programs.n_programs)
    return pd.DataFrame(means.T, index=list(programs.names), columns=effects.index)
