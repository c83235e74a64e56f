"""Settings of SCBIG: the default, which wins in minutes, and the published ones, fast and slow."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

from scbig._annotations import check_fields
from scbig._arguments import MAX_STEPS
from scbig.regression import Denoising


@dataclass(frozen=True)
class SCBIGConfig:
    """Settings of :class:`~scbig.model.SCBIG`; change one with :func:`dataclasses.replace`.

    Parameters
    ----------
    autoencoder
        ``"programs"`` is the gene-cluster-aware encoder and decoder; ``"pca"`` puts principal
        components in their place, ``"activity"`` the activities of the gene programs; both leave
        the first stage of training out.
    n_latent
        Width of the latent space.
    n_hidden, n_layers, n_heads, n_inducing, dropout
        Token width, blocks, attention heads, inducing points and dropout of encoder and decoder.
    initialisation
        Weights of all networks start ``"uniform"``, as in torch, or ``"lecun"`` normal.
    n_condition
        Width of the condition vector.
    pooling
        A condition pools its targets with a residual and a vector of each target that was seen,
        ``"set"``, or by a published ``"seed"`` alone.
    condition_dropout
        Share of the condition vector that is dropped in training.
    velocity_hidden
        Widths of the hidden layers of the velocity network.
    time, n_time_features
        Features of the time: sines at ``"harmonic"`` frequencies, or ``"geometric"`` ones up to
        10,000 radians; and their number.
    standardises_latents
        Whether latents have a standard deviation of one.
    sigma
        Standard deviation of the path noise, in units of the latents.
    coupling
        How control and perturbed cells of a batch are paired: ``"exact"`` optimal transport, or
        draws from an ``"entropic"`` plan.
    use_anchor
        Start from a regression on the perturbed targets, and learn what it misses.
    use_gate
        Leave an anchored flow out if it is no gain on held-out conditions.
    denoising
        What the regression is made of.
    decoding
        ``"residual"`` adds the decoded change to the control cell; ``"direct"`` decodes cells.
    solver, n_solver_steps
        Heun steps at equal distances, or an adaptive Runge-Kutta solver.
    correlation_weight, pathway_weight
        Weights of the two alignment losses.
    needs_gene_sets
        Whether it is warned of when there are no gene sets for the second of them.
    align_every
        Batches of the flow between two alignments, of three conditions each; 0 for none.
    align_lr, align_clip
        Learning rate of the optimiser of the alignment, which follows ``schedule``, and largest
        absolute value of each gradient.
    autoencoder_lr, autoencoder_epochs, autoencoder_steps, cells_per_batch
        Learning rate, budget in epochs and in steps (-1 for any; whichever ends first), and
        batch size of the first stage.
    autoencoder_stops_on
        What is held out to end the first stage on: a twentieth of all ``"cells"``, or at most 300
        ``"controls"``.
    flow_lr, flow_steps, flow_accumulation, groups_per_step, cells_per_group
        Learning rate, largest number of steps, batches summed in a step, and size of a batch
        in the second stage.
    n_validations, patience
        Validations of the second stage, and how many may pass without a better score.
    schedule
        Learning rates of both stages are ``"constant"``, or rise and fall as a ``"cosine"``.
    ema_decay
        Decay of the moving average of the weights of the second stage; 0 for none.
    clip_norm
        Largest gradient norm of the second stage; ``None`` for no bound.

    Raises
    ------
    ValueError
        When a setting is of a wrong type, out of range or an unknown choice.
    """

    autoencoder: Literal["programs", "pca", "activity"] = "programs"
    n_latent: int = 50
    n_hidden: int = 64
    n_layers: int = 1
    n_heads: int = 4
    n_inducing: int = 8
    dropout: float = 0.0
    initialisation: Literal["uniform", "lecun"] = "uniform"
    n_condition: int = 128
    pooling: Literal["set", "seed"] = "set"
    condition_dropout: float = 0.0
    velocity_hidden: tuple[int, ...] = (256, 256)
    time: Literal["harmonic", "geometric"] = "harmonic"
    n_time_features: int = 32
    standardises_latents: bool = True
    sigma: float = 0.1
    coupling: Literal["exact", "entropic"] = "exact"
    use_anchor: bool = True
    use_gate: bool = True
    denoising: Denoising = field(default_factory=Denoising)
    decoding: Literal["residual", "direct"] = "residual"
    solver: Literal["heun", "dopri5"] = "heun"
    n_solver_steps: int = 10
    correlation_weight: float = 0.1
    pathway_weight: float = 0.1
    needs_gene_sets: bool = False
    align_every: int = 50
    align_lr: float = 5e-5
    align_clip: float = 1.0
    autoencoder_lr: float = 1e-3
    autoencoder_epochs: int = 30
    autoencoder_steps: int = 400
    cells_per_batch: int = 256
    autoencoder_stops_on: Literal["cells", "controls"] = "cells"
    flow_lr: float = 5e-4
    flow_steps: int = 1000
    flow_accumulation: int = 1
    groups_per_step: int = 16
    cells_per_group: int = 32
    n_validations: int = 20
    patience: int = 6
    schedule: Literal["constant", "cosine"] = "constant"
    ema_decay: float = 0.99
    clip_norm: float | None = 1.0

    def __post_init__(self) -> None:
        steps = ("autoencoder_epochs", "autoencoder_steps", "flow_steps", "align_every")
        most = dict.fromkeys(("dropout", "ema_decay"), 1) | dict.fromkeys(steps, MAX_STEPS)
        least = dict.fromkeys(steps, 0) | {"n_layers": 0, "autoencoder_steps": -1}
        check_fields(self, least=least, most=most | {"cells_per_batch": 10**6})
        if self.n_hidden % self.n_heads:
            raise ValueError(
                f"n_hidden={self.n_hidden} is shared by n_heads={self.n_heads} heads: give a "
                "multiple, such as n_hidden=64, n_heads=4."
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain values, ready for JSON."""
        return asdict(self) | {"velocity_hidden": list(self.velocity_hidden)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "SCBIGConfig":
        """Rebuild settings.

        Parameters
        ----------
        values
            What :meth:`to_dict` returned.
        """
        nested = {
            "velocity_hidden": tuple(values["velocity_hidden"]),
            "denoising": Denoising(**values["denoising"]),
        }
        return cls(**{**values, **nested})


# As in arXiv 2602.04901 and its authors' code; a full run costs about 65 core hours.
PAPER = SCBIGConfig(
    n_hidden=256,
    n_layers=3,
    n_heads=8,
    dropout=0.1,
    initialisation="lecun",
    n_condition=256,
    pooling="seed",
    condition_dropout=0.9,
    velocity_hidden=(1024, 1024),
    time="geometric",
    n_time_features=1024,
    standardises_latents=False,
    sigma=0.5,
    coupling="entropic",
    use_anchor=False,
    decoding="direct",
    solver="dopri5",
    needs_gene_sets=True,
    align_every=1000,
    autoencoder_lr=1e-4,
    autoencoder_epochs=100,
    autoencoder_steps=-1,
    autoencoder_stops_on="controls",
    flow_lr=5e-5,
    flow_steps=25_000,
    flow_accumulation=20,
    groups_per_step=1,
    cells_per_group=1024,
    # All steps are taken, and the best of five validations is kept.
    n_validations=5,
    patience=5,
    ema_decay=0.0,
)

# The same networks and losses, in half an hour of one core: batches of many conditions, and
# larger rates that end at nothing. Six steps in a hundred align, as published, at the rate of
# the flow. Fast features of time force an adaptive solver into hundreds of steps.
PAPER_FAST = replace(
    PAPER,
    solver="heun",
    n_solver_steps=20,
    autoencoder_lr=1e-3,
    autoencoder_steps=400,
    flow_lr=4e-4,
    flow_steps=2000,
    flow_accumulation=1,
    groups_per_step=32,
    cells_per_group=32,
    align_every=50,
    align_lr=4e-4,
    schedule="cosine",
    ema_decay=0.995,
)

PRESETS: Mapping[str, SCBIGConfig] = MappingProxyType(
    {"default": SCBIGConfig(), "paper": PAPER, "paper-fast": PAPER_FAST}
)
