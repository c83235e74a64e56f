"""Can anything learned make cells more like real ones, given their mean?

python docs/scripts/shape_trial.py SCREEN.h5ad --normalize [--context-keys KEY] [--seeds 0,1,2]

Half of the cells of each condition train, the other half are real cells to compare with. Cells of
all conditions are made by count transport with the responders that it finds, once as they are and
once with each of several ways to tell cells of a condition apart beyond that; their means are the
same. Told are `energy_centred` and `wasserstein_axis`, and paired differences with standard errors
over conditions and seeds; the training half, scored as a prediction, is the ceiling.

| way | what tells how a cell differs from the mean of its condition |
| --- | --- |
| graded strength | chance: strengths of the response with a standard deviation of 0.35 |
| state strength | the state of the control cell: strengths by ridge regression on ten components |
| linear map | the same, of displacements in 50 components; cells paired by optimal transport |
| flow, PCA 50 or 200 | SCBIG's flow between 50 or 200 principal components |
| flow, GCAE 50 or 128 | the same between latents of the gene-cluster-aware autoencoder |
| flow, programs | the same between the activities of gene programs |
| flow, responders | the flow in 50 components, of cells that lie on the far side of the effect |
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import anndata as ad
import numpy as np
import pandas as pd
import scanpy as sc
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge

from scbig.data import ScreenCells
from scbig.model import SCBIG, SCBIGConfig
from scbig.ot import exact_coupling
from scbig.predictor import ShapeJudge

MAX_TESTED, MIN_TESTED = 200, 30
N_STATES, N_COMPONENTS, N_PAIRED = 10, 50, 500
SPREAD = 0.35
COLUMNS = ["energy_centred", "wasserstein_axis"]

Shaper = Callable[[np.ndarray, np.ndarray], np.ndarray]


def main() -> None:
    """Try all ways on one screen, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("screen")
    parser.add_argument("--normalize", action="store_true", help="X holds counts")
    parser.add_argument("--context-keys", nargs="*", default=[])
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--ways", help="names, separated by ';'; by default all")
    options = parser.parse_args()
    adata = ad.read_h5ad(options.screen)
    if options.normalize:
        adata.layers["counts"] = adata.layers.get("counts", adata.X).copy()
        adata.X = adata.layers["counts"].astype(np.float32)
        sc.pp.normalize_total(adata, target_sum=1e4)
        sc.pp.log1p(adata)
    tables = []
    for seed in map(int, options.seeds.split(",")):
        halves = split(adata, options.context_keys, seed)
        wanted = options.ways.split(";") if options.ways else None
        for name, scores in Trial(*halves, seed).run(wanted):
            print(f"seed {seed}: {name}", file=sys.stderr)
            tables.append(scores.assign(way=name, seed=seed))
    print(summarise(pd.concat(tables)).to_string())


def split(
    adata: ad.AnnData, context_keys: list[str], seed: int
) -> tuple[ad.AnnData, ad.AnnData, list[str]]:
    """Divide the cells of each condition and context in two halves."""
    rng, is_first = np.random.default_rng(seed), np.zeros(adata.n_obs, dtype=bool)
    keys = ["perturbation", *context_keys]
    for rows in adata.obs.reset_index().groupby(keys, observed=True).indices.values():
        is_first[rng.permutation(rows)[: len(rows) // 2]] = True
    return adata[is_first].copy(), adata[~is_first].copy(), context_keys


@dataclass
class Trial:
    """One halving of a screen: what is trained on a half, and judged on the other."""

    trained: ad.AnnData
    tested: ad.AnnData
    context_keys: list[str]
    seed: int

    def run(self, wanted: list[str] | None) -> Iterator[tuple[str, pd.DataFrame]]:
        """Yield the name of each way and the scores of all conditions, nothing first."""
        self.base = self.fit(self.trained, SCBIGConfig(autoencoder="pca"), max_steps=0)
        self.judge = self.make_judge()
        method, effects = self.base._method, self.base._effects
        groups = self.judge.targets, self.judge.context
        self.effect, control_mean = method.predict_effects(*groups), effects.get_control(groups[1])
        self.cells = self.read(self.trained)
        self.rows = {(t, c): rows for t, c, rows in self.cells.screen.get_groups()}
        yield "ceiling: the other half", self.score_half()
        ways = self.list_ways()
        for name in wanted or ways:
            shaper = ways[name]()
            found = self.judge.compare(self.effect, control_mean, shaper, self.base._cells)
            if name == next(iter(wanted or ways)):
                yield "count transport", self.tabulate(found.before)
            yield name, self.tabulate(found.after)

    def fit(self, adata: ad.AnnData, config: SCBIGConfig, max_steps: int | None = None) -> SCBIG:
        """Train SCBIG on some cells."""
        SCBIG.setup_anndata(
            adata,
            perturbation_key="perturbation",
            control="control",
            context_keys=self.context_keys,
        )
        model = SCBIG(adata, preset=config, seed=self.seed)
        model.train(max_steps=max_steps, use_refit=False, use_progress_bar=False)
        return model

    def read(self, adata: ad.AnnData) -> ScreenCells:
        """Read cells in the genes and contexts of the model."""
        return self.base._vocabulary.read_screen(adata, None)

    def make_judge(self) -> ShapeJudge:
        """Take the other half of the cells for real ones."""
        cells, rng = self.read(self.tested), np.random.default_rng(self.seed)
        groups = [
            (targets, context, np.sort(rng.permutation(rows)[:MAX_TESTED]))
            for targets, context, rows in cells.screen.get_groups()
            if len(rows) >= MIN_TESTED
        ]
        rows = np.arange(cells.expression.n_cells)
        genes = self.base._vocabulary.genes
        return ShapeJudge(cells, genes, groups, len(groups), rows, self.seed)

    def score_half(self) -> pd.DataFrame:
        """Score the training half as if it were a prediction."""
        read = self.cells.expression.rows
        rng = np.random.default_rng(self.seed)
        cells = [
            read(np.sort(rng.permutation(self.rows[key])[:MAX_TESTED]))
            for key in zip(self.judge.targets, self.judge.context.tolist(), strict=True)
        ]
        return self.tabulate(self.judge.score_cells(cells))

    def tabulate(self, scores: np.ndarray) -> pd.DataFrame:
        """Name the conditions."""
        names = [f"{'+'.join(t)} {c}" for t, c, _ in self.judge.groups]
        return pd.DataFrame(scores, index=names, columns=COLUMNS)

    # --- ways ----------------------------------------------------------------------------------

    def list_ways(self) -> dict[str, Callable[[], Shaper]]:
        """Return what makes each way, by its name."""
        pca = SCBIGConfig(autoencoder="pca")
        return {
            "graded strength": lambda: self.grade,
            "state strength": lambda: self.regress(self.learn_strengths),
            "linear map": lambda: self.regress(self.learn_displacements),
            "flow, PCA 50": lambda: self.flow(pca),
            "flow, PCA 200": lambda: self.flow(replace(pca, n_latent=self.bound(200))),
            "flow, GCAE 50": lambda: self.flow(SCBIGConfig()),
            "flow, GCAE 128": lambda: self.flow(SCBIGConfig(n_latent=128)),
            "flow, programs": lambda: self.flow(replace(pca, autoencoder="activity")),
            "flow, responders": lambda: self.flow(pca, self.take_responders()),
        }

    def bound(self, n_latent: int) -> int:
        """There are no more components than genes."""
        return min(n_latent, self.trained.n_vars)

    def grade(self, x: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Differ by strengths that are drawn."""
        rng = np.random.default_rng([self.seed, *rows])
        strength = np.clip(rng.normal(0, SPREAD, len(x)), -1, 1)
        return (strength - strength.mean())[None, :, None] * self.effect[rows][:, None]

    def flow(self, config: SCBIGConfig, adata: ad.AnnData | None = None) -> Shaper:
        """Differ as a flow moves cells, that is trained as long as its shapes get better."""
        model = self.fit(self.trained if adata is None else adata, config)
        return model._method.make_shaper(self.judge.targets, self.judge.context)

    def take_responders(self) -> ad.AnnData:
        """Leave away cells on the near side of the effect, in conditions where some escape."""
        is_kept = np.ones(self.trained.n_obs, dtype=bool)
        for (targets, context), rows in self.rows.items():
            known = self.base._cells.contexts[context].responders.get(targets)
            if known is None or known.used_share == 1:
                continue
            number = self.base._effects.keys.index((targets, context))
            axis = self.base._effects.delta[number]
            middle = self.base._effects.get_control(np.array([context]))[0] + axis / 2
            is_kept[rows] = (self.cells.expression.rows(rows) - middle) @ axis > 0
        return self.trained[is_kept].copy()

    def regress(self, learn: Callable[[int], Callable[[np.ndarray], np.ndarray]]) -> Shaper:
        """Differ as a regression on control cells says that was learned for each condition."""
        rows = np.flatnonzero(self.cells.screen.is_control)
        self.pca = PCA(N_COMPONENTS, random_state=0).fit(self.cells.expression.rows(rows))
        predict = {number: learn(number) for number in range(len(self.judge))}
        return lambda x, rows: np.stack([predict[int(number)](x) for number in rows])

    def pair(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Pair control cells, moved by the effect, with cells of a condition; in components."""
        targets, context, _ = self.judge.groups[number]
        rng = np.random.default_rng(self.seed)
        read = self.cells.expression.rows
        controls = rng.permutation(self.cells.screen.get_controls(context))
        rows = rng.permutation(self.rows[targets, context])
        n = min(len(controls), len(rows), N_PAIRED)
        start, end = (self.pca.transform(read(part[:n])) for part in (controls, rows))
        centred = [part - part.mean(axis=0) for part in (start, end)]
        pairs = exact_coupling(((centred[0][:, None] - centred[1]) ** 2).sum(axis=-1))
        return start, centred[1][pairs[:, 1]] - centred[0]

    def learn_strengths(self, number: int) -> Callable[[np.ndarray], np.ndarray]:
        """Regress how far along the effect cells are displaced."""
        start, moved = self.pair(number)
        axis = self.effect[number] @ self.pca.components_.T
        strength = moved @ axis / max(axis @ axis, 1e-12)
        states = start[:, :N_STATES]
        model = Ridge(alpha=len(states) * states.var(axis=0).mean()).fit(states, strength)

        def predict(x: np.ndarray) -> np.ndarray:
            found = np.clip(model.predict(self.pca.transform(x)[:, :N_STATES]), -1, 1)
            return (found - found.mean())[:, None] * self.effect[number]

        return predict

    def learn_displacements(self, number: int) -> Callable[[np.ndarray], np.ndarray]:
        """Regress the displacement of cells."""
        start, moved = self.pair(number)
        model = Ridge(alpha=len(start) * start.var(axis=0).mean()).fit(start, moved)

        def predict(x: np.ndarray) -> np.ndarray:
            found = model.predict(self.pca.transform(x)) @ self.pca.components_
            return found - found.mean(axis=0)

        return predict


def summarise(table: pd.DataFrame) -> pd.DataFrame:
    """Average over conditions and seeds, with paired differences from count transport."""
    table = table.set_index("seed", append=True)
    plain = table.loc[table["way"] == "count transport", COLUMNS]
    rows = {}
    for way, part in table.groupby("way", sort=False):
        row: dict[str, float] = {}
        for column in COLUMNS:
            gap = (part[column] - plain[column]).dropna()
            row[column] = part[column].mean()
            row["difference " + column] = gap.mean()
            row["error " + column] = gap.std() / max(len(gap), 1) ** 0.5
            row["n " + column] = len(gap)
        rows[way] = row
    return pd.DataFrame(rows).T.round(4)


if __name__ == "__main__":
    main()
