"""Do nine in ten effects lie in 90% intervals, and is a probability of 0.7 seven in ten?

    python docs/scripts/effect_errors.py DATA_FOLDER [--role val] [--calls cells] [--cache FOLDER]

The regression is fitted on each split of ``norman2019_resampled`` and ``papalexi2021``, and on one
half of the cells of each (``seen``). What ``EffectErrors`` says of the held-out conditions, or of
the other half, is compared with their measured effects, and with the genes that scanpy's Wilcoxon
test calls by their cells. Effects and calls are computed once a screen (minutes) and kept in
``--cache``; a split then takes seconds. ``--role val`` predicts the validation conditions instead,
from those of neither role. All was chosen on these but three things, before which figures of
papalexi2021's test conditions were seen: the factor for degrees of freedom, how far weights of
calls are shrunk, and that calls are made of cells. ``--calls cells`` gives the calibration the
calls of 50 training conditions by their cells; without, all are made of mean effects.
"""

import argparse
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scanpy as sc
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from scbig.data import (
    Effects,
    Expression,
    Screen,
    Targets,
    compute_effects,
    compute_half_effects,
    effects_from_plain,
    effects_to_plain,
    infer_schema,
    make_screen,
)
from scbig.priors import GeneEmbedding, load_gene_embedding, make_target_embeddings
from scbig.programs import make_coexpression_embedding
from scbig.regression import (
    DenoisedRegression,
    Denoising,
    EffectErrors,
    choose_kernel,
    choose_particular,
)
from scbig.regression._floors import InterceptRegression, choose_on_validation
from scbig.splits import read_splits

SPLITS = Path(__file__).parents[1] / "benchmarks" / "splits"
LEVELS = (0.5, 0.8, 0.9, 0.95)
LEAST_IN_DECILE = 100
MAX_LEFT_OUT = 50
N_TESTED = 50


@dataclass(frozen=True)
class Measured:
    """Effects of some cells of a screen, of two halves of these, and scanpy's calls."""

    effects: Effects
    halves: tuple[Effects, ...]
    called: np.ndarray  # (n_groups, G): 1 up, -1 down, 0 not called


@dataclass(frozen=True)
class Case:
    """What to learn from, and what to predict: measured effects and calls in one order."""

    name: str
    train: Measured
    test: Measured
    held_out: Effects  # for kernel ridge, to choose its penalty by


@dataclass(frozen=True)
class Scored:
    """Predictions of a case, each of shape ``(n, G)``, beside what was measured."""

    kind: str
    mean: np.ndarray
    error: np.ndarray
    noise: np.ndarray
    real: np.ndarray
    half_noise: np.ndarray
    called: np.ndarray
    up: np.ndarray
    down: np.ndarray
    ridge: np.ndarray
    base: np.ndarray  # share of genes called in training


def main() -> None:
    """Fit, predict and print all tasks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of the data kit")
    parser.add_argument("--role", choices=["test", "val"], default="test")
    parser.add_argument("--calls", choices=["effects", "cells"], default="effects")
    parser.add_argument("--cache", type=Path, default=Path("effect_errors_cache"))
    parser.add_argument("--only", nargs="*", default=["papalexi2021", "norman2019_resampled"])
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    arguments.cache.mkdir(parents=True, exist_ok=True)
    table = load_gene_embedding(arguments.data / "priors" / "gene_embedding_go_string_128.parquet")
    for name in arguments.only:
        screen = Kit(arguments.data, name, arguments.cache, table)
        scored: dict[str, list[Scored]] = {}
        for case in screen.list_cases(arguments.role):
            for one in score(case, screen, arguments.calls == "cells"):
                scored.setdefault(f"{name}, {case.name}, {one.kind}", []).append(one)
        for task, parts in scored.items():
            report(task, parts)
    time_pairs(screen)


class Kit:
    """A screen of the data kit: its effects, made once, and its splits."""

    def __init__(self, data: Path, name: str, cache: Path, table: GeneEmbedding) -> None:
        self._data, self._name = data, name
        file = cache / f"{name}.npz"
        if not file.exists():
            np.savez(file, **self._measure())
        with np.load(file) as stored:
            arrays = dict(stored)
        self.genes = tuple(arrays["genes"].tolist())
        self.whole, self.first, self.second = (
            Measured(
                _read_effects(arrays, f"{part}.all"),
                tuple(_read_effects(arrays, f"{part}.half{i}") for i in range(2)),
                arrays[f"{part}.called"],
            )
            for part in ("whole", "first", "second")
        )
        names = tuple(arrays["embedded"].tolist())
        coexpression = GeneEmbedding(names, arrays["coexpression"], "coexpression")
        targets = sorted({t for group in self.whole.effects.targets for t in group})
        self.embeddings = make_target_embeddings(table, coexpression, targets, None).mappings

    def list_cases(self, role: str) -> Iterator[Case]:
        """Yield the cases of all splits, and that of two halves of the cells."""
        given = self._data / "splits" / f"{self._name}.json"
        own = SPLITS / f"{self._name.removesuffix('2021')}_unseen.json"
        adata = ad.read_h5ad(self._data / f"{self._name}.h5ad", backed="r")
        for split in read_splits(given if given.exists() else own, infer_schema(adata)).values():
            test, val = ({tuple(sorted(one)) for one in part} for part in (split.test, split.val))
            asked = test if role == "test" else val
            left_out = test if role == "test" else test | val
            train = choose(self.whole, lambda group, left=left_out: group not in left)
            held_out = choose(self.whole, lambda group, val=val: group in val).effects
            test = choose(self.whole, lambda group, asked=asked: group in asked)
            yield Case(split.task, train, test, held_out)
        nothing = self.first.effects.subset(np.arange(0))
        if len(self.whole.effects) <= MAX_LEFT_OUT:
            # Few conditions are drawn unevenly by splits: here each is held out once.
            for left in self.whole.effects.targets:
                train = choose(self.whole, lambda group, left=left: group != left)
                test = choose(self.whole, lambda group, left=left: group == left)
                yield Case("each condition once", train, test, nothing)
        yield Case("seen", self.first, self.second, nothing)

    def _measure(self) -> dict[str, np.ndarray]:
        adata = ad.read_h5ad(self._data / f"{self._name}.h5ad")
        sc.pp.normalize_total(adata, target_sum=1e4)
        sc.pp.log1p(adata)
        schema = replace(infer_schema(adata), context_keys=())
        screen, rng = make_screen(adata.obs, schema), np.random.default_rng(0)
        own = make_coexpression_embedding(
            Expression(adata.X), screen, tuple(adata.var_names), np.random.default_rng(0)
        )
        arrays = {
            "genes": np.array(adata.var_names, dtype=str),
            "embedded": np.array(own.names, dtype=str),
            "coexpression": own.vectors,
        }
        order = rng.permutation(adata.n_obs)
        order = order[np.argsort(screen.condition[order], kind="stable")]
        parts = {"whole": np.arange(adata.n_obs), "first": order[::2], "second": order[1::2]}
        for name, rows in parts.items():
            arrays |= _measure_part(adata[np.sort(rows)].copy(), schema, f"{name}.")
        return arrays


def _measure_part(adata: ad.AnnData, schema, prefix: str) -> dict[str, np.ndarray]:
    screen, expression = make_screen(adata.obs, schema), Expression(adata.X)
    groups = list(screen.get_groups())
    effects = compute_effects(expression, screen)
    halves = compute_half_effects(expression, screen, groups, np.random.default_rng(1))
    arrays = {f"{prefix}called": _call(adata, screen, effects)}
    for name, one in (("all", effects), ("half0", halves[0]), ("half1", halves[1])):
        values, parts = effects_to_plain(one)
        parts["targets"] = np.array(["+".join(group) for group in values["targets"]])
        arrays |= {f"{prefix}{name}.{key}": array for key, array in parts.items()}
    return arrays


def _call(adata: ad.AnnData, screen: Screen, effects: Effects) -> np.ndarray:
    """Which genes scanpy's Wilcoxon test calls in each condition, by all of its cells."""
    names = np.array(["+".join(group) or "control" for group in screen.conditions])
    adata.obs["group"] = pd.Categorical(names[screen.condition])
    asked = ["+".join(group) for group in effects.targets]
    sc.tl.rank_genes_groups(adata, "group", groups=asked, reference="control", method="wilcoxon")
    called = np.zeros(effects.delta.shape, dtype=np.int8)
    for row, name in zip(called, asked, strict=True):
        found = sc.get.rank_genes_groups_df(adata, name).set_index("names").loc[adata.var_names]
        row[:] = np.sign(found["scores"]) * (found["pvals_adj"] < 0.05)
    return called


def _read_effects(arrays: dict[str, np.ndarray], prefix: str) -> Effects:
    parts = {key.removeprefix(f"{prefix}."): array for key, array in arrays.items()}
    targets = [name.split("+") for name in arrays[f"{prefix}.targets"].tolist()]
    return effects_from_plain({"targets": targets}, parts)


def choose(measured: Measured, is_chosen: Callable[[Targets], bool]) -> Measured:
    """Choose conditions by their targets."""

    def pick(effects: Effects) -> np.ndarray:
        return np.array([is_chosen(group) for group in effects.targets], dtype=bool)

    effects = measured.effects
    halves = tuple(half.subset(pick(half)) for half in measured.halves)
    return Measured(effects.subset(pick(effects)), halves, measured.called[pick(effects)])


def score(case: Case, kit: Kit, use_cells: bool) -> Iterator[Scored]:
    """Predict a case, each kind of request by itself."""
    train, real = case.train, case.test.effects
    kernel = choose_kernel(train.effects, kit.embeddings)
    kernel = choose_particular(train.halves, kernel, kit.genes, Denoising())
    regression = DenoisedRegression(train.effects, kernel, kit.genes)
    called = np.abs(train.called)
    is_tested = np.isin(
        np.arange(len(called)), np.linspace(0, len(called) - 1, N_TESTED).astype(int)
    )
    called[~is_tested] = -1
    called = called if use_cells else None
    errors = EffectErrors.calibrate(regression, train.halves, called)
    forecast = errors.predict(real.targets, real.context)
    seen = {t for group in train.effects.targets for t in group}
    is_measured = np.isin(regression.find_measured(real.targets, real.context), -1, invert=True)
    is_seen = np.array([seen.issuperset(group) for group in real.targets])
    kinds = np.select([is_measured, is_seen], ["measured", "combination"], "unseen")
    variance = train.effects.pooled_variance
    noise = np.diag(real.noise)
    # A half predicts the other: where halves are compared, they are here already.
    n_halves = 2 if case.name == "seen" else 4
    for kind in np.unique(kinds):
        rows = kinds == kind
        ridge = predict_ridge(case, kit, rows, kind)
        yield Scored(
            kind,
            forecast.mean[rows],
            forecast.standard_error[rows],
            np.outer(noise[rows], variance),
            real.delta[rows],
            np.outer(n_halves * noise[rows], variance),
            case.test.called[rows],
            forecast.probability_up[rows],
            forecast.probability_down[rows],
            ridge,
            np.full((rows.sum(), len(kit.genes)), (train.called != 0).mean()),
        )


def predict_ridge(case: Case, kit: Kit, rows: np.ndarray, kind: str) -> np.ndarray:
    """Probability of being called by kernel ridge regression, calibrated in the same way.

    Logistic regression on the size of its effects, and on that in standard errors of a
    measurement, fitted to its own predictions of training conditions without them, or without
    their target.
    """
    effects, real = case.train.effects, case.test.effects
    known = set(case.held_out.keys)
    fitted = effects.subset(np.array([key not in known for key in effects.keys]))
    kernel = choose_on_validation(fitted, case.held_out, kit.embeddings)
    noise = np.sqrt(np.median(np.diag(effects.noise)) * effects.pooled_variance + 1e-9)

    def describe(mean: np.ndarray) -> np.ndarray:
        return np.stack([np.abs(mean), np.abs(mean) / noise], axis=-1).reshape(-1, 2)

    examples = list(_leave_out(effects, kernel, kind))
    features = np.concatenate([describe(mean) for _, mean in examples])
    answers = np.concatenate([(case.train.called[own] != 0).ravel() for own, _ in examples])
    scale = features.std(axis=0)
    step = -(-len(answers) // 200_000)
    model = LogisticRegression().fit((features / scale)[::step], answers[::step])
    asked = [group for group, is_asked in zip(real.targets, rows, strict=True) if is_asked]
    mean = InterceptRegression(effects, kernel)(asked, real.context[rows])
    return model.predict_proba(describe(mean) / scale)[:, 1].reshape(mean.shape)


def _leave_out(effects: Effects, kernel, kind: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows of training conditions, and what kernel ridge predicts of them without them."""
    targets = effects.targets
    if kind == "measured":
        everything = np.arange(len(effects))
        yield everything, InterceptRegression(effects, kernel)(targets, effects.context)
        return
    if kind == "combination":
        parts = [np.array([i]) for i, group in enumerate(targets) if len(group) > 1]
    else:
        names = sorted({t for group in targets for t in group})
        parts = [np.flatnonzero([name in group for group in targets]) for name in names]
    for rows in parts:
        rest = effects.subset(np.setdiff1d(np.arange(len(effects)), rows))
        rule = InterceptRegression(rest, kernel)
        yield rows, rule([targets[row] for row in rows], effects.context[rows])


def report(task: str, parts: list[Scored]) -> None:
    """Print coverage, widths, calibration and scores of all splits of a task together."""
    whole = {
        name: np.concatenate([getattr(one, name) for one in parts])
        for name in Scored.__dataclass_fields__
        if name != "kind"
    }
    print(f"\n{task}: {len(whole['mean'])} conditions in {len(parts)} split(s)")
    error = np.sqrt(whole["error"].astype(float) ** 2 + whole["noise"])
    miss = np.abs(whole["real"] - whole["mean"]) / error
    size = np.abs(whole["mean"])
    is_top = size >= np.quantile(size, 0.9, axis=1, keepdims=True)
    for name, chosen in (("all genes", np.ones_like(is_top)), ("top tenth", is_top)):
        inside = [np.mean(miss[chosen] <= norm.isf((1 - level) / 2)) for level in LEVELS]
        text = ", ".join(f"{level:.0%}: {x:.3f}" for level, x in zip(LEVELS, inside, strict=True))
        width, half = (
            2 * norm.isf(0.05) * one[chosen].mean()
            for one in (error, np.sqrt(whole["half_noise"]))
        )
        print(f"  coverage {name}  {text}; 90% width {width:.3f}, of raw halves {half:.3f}")
    changed = whole["called"] != 0
    probability = (whole["up"] + whole["down"]).astype(float)
    print(f"  called {changed.mean():.4f}, expected {probability.mean():.4f}")
    print("  deciles: " + describe_deciles(probability, changed))
    print("  deciles of up: " + describe_deciles(whole["up"], whole["called"] > 0))
    for name, one in (("errors", probability), ("kernel ridge", whole["ridge"])):
        brier = np.mean((one - changed) ** 2)
        print(f"  {name:13s} Brier {brier:.4f}, AUROC {get_auroc(changed, one):.4f}")
    # Of one split the rate is the same for all genes.
    print(f"  base rate     Brier {np.mean((whole['base'] - changed) ** 2):.4f}, AUROC 0.5")
    share = whole["up"] / (whole["up"] + whole["down"] + 1e-30)
    direction = get_auroc(whole["called"][changed] > 0, share[changed])
    print(f"  direction of called genes: AUROC {direction:.4f}")


def describe_deciles(probability: np.ndarray, answer: np.ndarray) -> str:
    """Real less expected share in points, of each decile of probability with enough genes."""
    place = np.minimum((probability * 10).astype(int), 9).ravel()
    expected, real = probability.ravel(), answer.ravel()
    texts = []
    for decile in range(10):
        is_in = place == decile
        if is_in.sum() >= LEAST_IN_DECILE:
            points = 100 * (real[is_in].mean() - expected[is_in].mean())
            texts.append(f"{decile / 10:.1f}: {points:+.1f} ({is_in.sum()})")
    return ", ".join(texts)


def get_auroc(answer: np.ndarray, value: np.ndarray) -> float:
    """Area under the curve; NaN where all answers agree."""
    answer = answer.ravel()
    return roc_auc_score(answer, value.ravel()) if 0 < answer.mean() < 1 else np.nan


def time_pairs(kit: Kit) -> None:
    """Time the forecast of all pairs of targets."""
    effects = kit.whole.effects
    kernel = choose_kernel(effects, kit.embeddings)
    regression = DenoisedRegression(effects, kernel, kit.genes)
    start = time.perf_counter()
    errors = EffectErrors.calibrate(regression, kit.whole.halves)
    fitted = time.perf_counter()
    names = sorted({t for group in effects.targets for t in group})
    pairs = list(combinations(names, 2))
    errors.predict(pairs, np.zeros(len(pairs), dtype=int))
    seconds = time.perf_counter() - fitted
    print(f"\n{len(pairs)} pairs: {seconds:.1f} s, calibration {fitted - start:.1f} s")


if __name__ == "__main__":
    main()
