"""What STRAND is: effects of loci by regression, and a bridge between latents anchored on it."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from os import PathLike
from typing import Self

import numpy as np
import torch
from sklearn.linear_model import Ridge

from scbig._types import Arrays, Values
from scbig.data import Effects, Targets
from scbig.model.strand._config import STRANDConfig
from scbig.model.strand._module import STRANDModule
from scbig.model.strand._stages import fit_latent, train_bridge, train_loci
from scbig.nn import (
    CellLatent,
    LocusCondition,
    LocusInput,
    PrincipalComponents,
    ReaderSizes,
    evaluating,
    get_weights,
    make_reader,
    set_weights,
)
from scbig.predictor import CellMover, Method, Task, Vocabulary, prepare_score
from scbig.priors import DNAEncoder, Genome, Loci, LocusSource, LocusTable
from scbig.splits import choose_validation

logger = logging.getLogger(__name__)

Fasta = str | PathLike[str] | Genome

# Weak: a dozen conditions outweigh it.
_PENALTY = 1.0
_LEAST_CONDITIONS = 8
_TINY = 1e-3
_KINDS = {"dna": "DNA", "tokens": "encoded DNA", "gene": "gene names only"}


class LocusBridge(Method):
    """Regression of effects on loci, and a bridge from control to perturbed cells.

    If strict, a target without a locus is an error. The latent space is by default made of
    principal components.
    """

    module: STRANDModule
    # The bridge follows the vectors of loci, which are trained again.
    keeps_networks = False

    def __init__(
        self,
        vocabulary: Vocabulary,
        config: STRANDConfig,
        source: LocusSource,
        table: LocusTable,
        latent: CellLatent | None,
        *,
        is_strict: bool,
    ) -> None:
        self.vocabulary = vocabulary
        self.config = config
        self.source = source
        self.table = table
        self.is_strict = is_strict
        has_bridge = config.transport == "bridge"
        self.n_steps = config.bridge_steps if has_bridge else 0
        self.is_anchored = config.use_anchor or not has_bridge
        self.use_gate = config.use_gate
        if latent is None:
            latent = PrincipalComponents(len(vocabulary.genes), config.n_latent)
        if not isinstance(latent, CellLatent):
            raise ValueError(
                f"latent is of the class {type(latent).__name__}. Give a scbig.model.CellLatent: "
                "a torch module with n_latent, encode(x) and decode(z)."
            )
        sizes = ReaderSizes(*(getattr(config, name) for name in ReaderSizes._fields))
        reader = make_reader(source.kind, len(source.genes), table.values.shape[-1], sizes)
        self.module = STRANDModule(latent, reader, len(vocabulary.contexts), config)
        self._effects: Effects | None = None
        self._latents: np.ndarray | None = None
        self._confidence: HeldOutConfidence | None = None

    def describe(self) -> str:
        """Say how many loci there are, and what is read of them."""
        kind, assembly = _KINDS[self.source.kind], self.table.loci.assembly
        return f"Loci: {len(self.table)} ({assembly}, {kind})."

    def extend(self, vocabulary: Vocabulary) -> None:
        """Make room for further contexts, which begin without a change of their own."""
        self.vocabulary = vocabulary
        self.module.extend_contexts(len(vocabulary.contexts))

    def add_loci(self, loci: Loci, fasta: Fasta | None, encoder: DNAEncoder | None = None) -> None:
        """Read further loci; see :meth:`scbig.model.STRAND.add_loci`."""
        if new := self.table.get_new(loci):
            source = self.source.with_encoder(encoder)
            added = source.read(Loci(tuple(new), loci.assembly, loci.source), fasta)
            self.table = self.table.join(added)

    def add_places(self, groups: Iterable[Targets], fasta: Fasta) -> None:
        """Read the places among the targets of conditions that are not known yet."""
        targets = dict.fromkeys(target for group in groups for target in group)
        if places := self.table.find_new_places(targets):
            self.add_loci(Loci.from_text(places, assembly=self.table.loci.assembly), fasta)

    # --- training ----------------------------------------------------------------------------

    def choose_validation(
        self, conditions: Sequence[Targets], rng: np.random.Generator
    ) -> list[Targets]:
        """Hold out about a tenth of the groups of loci, with every condition that has one of them.

        Loci of one gene, or with overlapping windows, are one group: a sister promoter in
        training would make a held-out locus too easy. Of fewer than 10 groups none is held out.
        """
        group = self.table.loci.group(self.config.window)
        groups_of = {
            targets: set(group[self.table.find(targets, is_strict=False)].tolist())
            for targets in conditions
        }
        present = sorted({number for groups in groups_of.values() for number in groups})
        names: list[Targets] = [(str(number),) for number in present]
        chosen = {int(name) for (name,) in choose_validation(names, rng)}
        held = [targets for targets in conditions if groups_of[targets] & chosen]
        # Where all loci lie side by side, their group is the whole screen.
        return held if len(held) < len(conditions) else []

    def fit(self, task: Task) -> None:
        """Find the latent space, unless there is one already, and regress effects on loci."""
        if not task.is_continued:
            fit_latent(self.module, task)
        self._latents = self.module.compute_latents(task.cells.expression)
        self._effects = task.trained
        budget = task.first_budget
        n_steps = self.config.locus_steps if budget is None else budget
        if n_steps <= 0:
            return
        judge, measured = task.judge, task.measured
        logger.info("Training on %d groups of cells, stopping on %d.", len(measured), len(judge))

        def validate() -> float:
            return judge.score(self.predict_effects(judge.targets, judge.context))

        condition = self._make_condition(measured.targets, measured.context)
        effects = task.compute_effects(self._latents)
        train_loci(self.module, task, condition, effects, n_steps=n_steps, validate=validate)

    def fit_networks(self, task: Task, n_steps: int) -> None:
        """Train the bridge, on top of the vectors of loci as they are."""
        if self._latents is None:
            raise RuntimeError("The latents of the screen were released.")
        training = self._make_condition(task.measured.targets, task.measured.context)
        validate = prepare_score(self, task)
        if self.config.use_joint:
            validate = partial(self._score_means, task) if len(task.judge) else None
        train_bridge(
            self.module, task, self._latents, training, n_steps=n_steps, validate=validate
        )

    def _score_means(self, task: Task) -> float:
        """Score bridges from the vectors of loci as they are by now."""
        judge = task.judge
        control_mean = task.trained.get_control(judge.context)
        return judge.score_cells(self.make_mover(judge.targets, judge.context, control_mean))

    def release(self) -> None:
        """Forget the latents of the screen."""
        self._latents = None

    # --- prediction --------------------------------------------------------------------------

    @torch.no_grad()
    def predict_effects(self, targets: Sequence[Targets], context: np.ndarray) -> np.ndarray:
        """Mean effects of the regression on genes, shape ``(n, G)``."""
        if self._effects is None:
            raise RuntimeError("Nothing was fitted yet. Run train() first.")
        module = self.module
        vector = self.embed(targets, context).to(module.device)
        mean = torch.from_numpy(self._effects.get_control(np.asarray(context)))
        z = module.latent.encode(mean.float().to(module.device))
        change = module.latent.decode(z + module.effect(vector)) - module.latent.decode(z)
        return change.cpu().numpy()

    def make_mover(
        self, targets: Sequence[Targets], context: np.ndarray, control_mean: np.ndarray
    ) -> CellMover:
        """Prepare conditions to carry cells to, along bridges."""
        mean = torch.from_numpy(control_mean).float()
        return partial(self._move, self.embed(targets, context), mean)

    def _move(
        self, vector: torch.Tensor, control_mean: torch.Tensor, x: np.ndarray, rows: np.ndarray
    ) -> np.ndarray:
        """Predict perturbed cells; the noise of the bridge is the same in every call."""
        module, device = self.module, self.module.device
        chosen = torch.from_numpy(np.asarray(rows))
        with evaluating(module):
            predicted = module.predict_cells(
                torch.from_numpy(np.asarray(x, dtype=np.float32)).to(device),
                vector[chosen].to(device),
                control_mean[chosen].to(device),
                torch.Generator().manual_seed(0),
            )
        return predicted.cpu().numpy()

    def make_shaper(self, targets: Sequence[Targets], context: np.ndarray) -> CellMover | None:
        """Prepare to tell what bridges do to cells beyond the mean change."""
        is_anchored = self.config.use_anchor and self.config.transport == "bridge"
        return partial(self._deviate, self.embed(targets, context)) if is_anchored else None

    def _deviate(self, vector: torch.Tensor, x: np.ndarray, rows: np.ndarray) -> np.ndarray:
        module, device = self.module, self.module.device
        with evaluating(module):
            deviation = module.predict_deviations(
                torch.from_numpy(np.asarray(x, dtype=np.float32)).to(device),
                vector[torch.from_numpy(np.asarray(rows))].to(device),
                torch.Generator().manual_seed(0),
            )
        return deviation.cpu().numpy()

    def embed(self, targets: Sequence[Targets], context: np.ndarray) -> torch.Tensor:
        """Vectors of conditions, shape ``(n, dim)``."""
        return self.module.embed_all(self._make_condition(targets, context))

    def _make_condition(self, targets: Sequence[Targets], context: np.ndarray) -> LocusCondition:
        table = self.table
        rows = [table.find(group, is_strict=self.is_strict) for group in targets]
        arrays = table.values, table.is_target, table.is_there
        given = LocusInput(*map(torch.from_numpy, arrays))
        return LocusCondition.make(given, rows, self.vocabulary.index_contexts(context))

    # --- confidence --------------------------------------------------------------------------

    def calibrate(self, task: Task) -> None:
        """Learn what the regression scores on held-out conditions; it is never fitted to them."""
        judge, self._confidence = task.judge, None
        if len(judge):
            predicted = self.predict_effects(judge.targets, judge.context)
            self._confidence = HeldOutConfidence.fit(predicted, judge.score_each(predicted))
        if self._confidence is None:
            logger.warning(
                "%d conditions are held out, and %d are needed to calibrate confidence, which is "
                "NaN.",
                *(len(judge), _LEAST_CONDITIONS),
            )

    def get_confidence(self, targets: Sequence[Targets], context: np.ndarray) -> np.ndarray | None:
        """Expected ``pearson_delta`` of the mean effects, in [0, 1]; NaN where not calibrated."""
        if self._confidence is None:
            return np.full(len(targets), np.nan)
        return self._confidence.predict(self.predict_effects(targets, context))

    # --- saving ------------------------------------------------------------------------------

    def to_plain(self) -> tuple[Values, Arrays]:
        """Values and arrays of loci, what was read of them, and networks."""
        loci, arrays = self.table.to_plain()
        if self._confidence is not None:
            arrays["confidence"] = self._confidence.coefficients
        latent = self.module.latent
        values = {
            "config": asdict(self.config),
            "loci": loci,
            "genes": list(self.source.genes),
            "fingerprint": self.source.fingerprint,
            "is_strict": self.is_strict,
            "latent": type(latent).__name__,
            "n_latent": latent.n_latent,
        }
        return values, arrays | get_weights(self.module)

    @classmethod
    def from_plain(
        cls,
        vocabulary: Vocabulary,
        effects: Effects | None,
        values: Values,
        arrays: Arrays,
        latent: CellLatent | None,
    ) -> Self:
        """Rebuild what :meth:`to_plain` returned; a latent space of its own has to be given."""
        name = values["latent"]
        if name != (PrincipalComponents if latent is None else type(latent)).__name__:
            raise ValueError(
                f"The model was made with a latent space of its own, {name}. Give one of the same "
                "sizes, into which the saved weights are loaded: STRAND.load(path, latent=...)"
            )
        config = STRANDConfig(**values["config"])
        settings = config.window, config.sequence, config.target, tuple(values["genes"])
        source = LocusSource(*settings, fingerprint=values["fingerprint"])
        table = LocusTable.from_plain(values["loci"], arrays)
        method = cls(vocabulary, config, source, table, latent, is_strict=values["is_strict"])
        try:
            set_weights(method.module, arrays)
        except RuntimeError as error:
            raise ValueError(f"The saved weights do not fit latent={latent!r}: {error}") from error
        method._effects = effects
        if "confidence" in arrays:
            method._confidence = HeldOutConfidence(arrays["confidence"])
        return method


@dataclass(frozen=True, eq=False)
class HeldOutConfidence:
    """Expected ``pearson_delta``, calibrated on the held-out conditions.

    What the regression scored on conditions that it was not trained on, regressed on the size
    of the effect that it predicts. These conditions chose when training stopped, which flatters
    it a little; a condition that was trained on is judged as if it had not been.
    """

    coefficients: np.ndarray  # intercept, slope, limits of the sizes calibrated on, (4,)

    @classmethod
    def fit(cls, predicted: np.ndarray, scores: np.ndarray) -> "HeldOutConfidence | None":
        """Calibrate on predicted effects ``(n, G)`` and their scores ``(n,)``.

        ``None`` for fewer than 8 conditions, from which there is no telling.
        """
        if len(scores) < _LEAST_CONDITIONS:
            return None
        size = _measure(predicted)
        spread = max(float(size.std()), _TINY)
        model = Ridge(alpha=_PENALTY).fit((size / spread)[:, None], scores)
        slope = float(model.coef_[0]) / spread
        limits = size.min(), size.max()
        return cls(np.array([model.intercept_, slope, *limits], dtype=np.float64))

    def predict(self, predicted: np.ndarray) -> np.ndarray:
        """Expected score of predicted effects ``(n, G)``, in [0, 1], shape ``(n,)``."""
        intercept, slope, least, most = self.coefficients
        # Beyond what was seen a line would promise anything.
        size = _measure(predicted).clip(least, most)
        return np.clip(intercept + slope * size, 0, 1)


def _measure(predicted: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(np.sqrt(np.mean(np.square(predicted), axis=1)), _TINY))
