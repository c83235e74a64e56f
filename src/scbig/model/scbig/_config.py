"""Settings of SCBIG: the default, which wins in minutes, and the published ones."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
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
    n_condition
        Width of the condition vector.
    velocity_hidden
        Widths of the hidden layers of the velocity network.
    sigma
        Standard deviation of the path noise, in standard deviations of the latents.
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
    align_every
        Batches between two alignment losses; 0 for none.
    autoencoder_lr, autoencoder_epochs, autoencoder_steps, cells_per_batch
        Learning rate, budget in epochs and in steps (-1 for any; whichever ends first), and
        batch size of the first stage.
    flow_lr, flow_steps, flow_accumulation, groups_per_step, cells_per_group
        Learning rate, largest number of steps, batches summed in a step, and size of a batch
        in the second stage.
    ema_decay
        Decay of the moving average of the weights of the second stage; 0 for none.
    clip_norm
        Largest gradient norm of the second stage.

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
    n_condition: int = 128
    velocity_hidden: tuple[int, ...] = (256, 256)
    sigma: float = 0.1
    use_anchor: bool = True
    use_gate: bool = True
    denoising: Denoising = field(default_factory=Denoising)
    decoding: Literal["residual", "direct"] = "residual"
    solver: Literal["heun", "dopri5"] = "heun"
    n_solver_steps: int = 10
    correlation_weight: float = 0.1
    pathway_weight: float = 0.1
    align_every: int = 50
    autoencoder_lr: float = 1e-3
    autoencoder_epochs: int = 30
    autoencoder_steps: int = 400
    cells_per_batch: int = 256
    flow_lr: float = 5e-4
    flow_steps: int = 1000
    flow_accumulation: int = 1
    groups_per_step: int = 16
    cells_per_group: int = 32
    ema_decay: float = 0.99
    clip_norm: float = 1.0

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


# As in arXiv 2602.04901 and its authors' code; a full run costs about 32 core hours.
PAPER = SCBIGConfig(
    n_hidden=256,
    n_layers=3,
    n_heads=8,
    dropout=0.1,
    n_condition=256,
    velocity_hidden=(1024, 1024),
    sigma=0.5,
    use_anchor=False,
    decoding="direct",
    solver="dopri5",
    align_every=1000,
    autoencoder_lr=1e-4,
    autoencoder_epochs=100,
    autoencoder_steps=-1,
    flow_lr=5e-5,
    flow_steps=25_000,
    flow_accumulation=20,
    groups_per_step=1,
    cells_per_group=1024,
    ema_decay=0.0,
)

PRESETS: Mapping[str, SCBIGConfig] = MappingProxyType({"default": SCBIGConfig(), "paper": PAPER})
