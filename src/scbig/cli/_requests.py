"""What a user asked for on the command line, as records that the commands pass on."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


def split_list(text: str | None) -> tuple[str, ...]:
    """Read a comma-separated option."""
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


def split_targets(label: str) -> list[str]:
    """Read a label such as ``A+B``; on the command line ``+`` stands between targets always."""
    return [part.strip() for part in label.split("+")]


@dataclass(frozen=True)
class ScreenFile:
    """A file with a screen, and how to read it."""

    path: Path
    modality: str = "rna"
    use_normalize: bool = False
    target_sum: float = 1e4


@dataclass(frozen=True)
class Labels:
    """Arguments of ``setup_anndata``."""

    layer: str | None = None
    perturbation_key: str | None = None
    control: str | None = None
    context_keys: tuple[str, ...] = ()
    separator: str | None = None
    gene_key: str | None = None
    is_log1p: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return them as keyword arguments."""
        return asdict(self)


@dataclass(frozen=True)
class PriorFiles:
    """Files with what is known of the genes, or of the loci."""

    gene_embedding: Path | None = None
    string_links: Path | None = None
    string_info: Path | None = None
    pathways: Path | None = None
    aliases: Path | None = None
    loci: Path | None = None
    fasta: Path | None = None
    assembly: str | None = None
    coordinates: str | None = None
    locus_embedding: Path | None = None


@dataclass(frozen=True)
class Holding:
    """Conditions that are not trained on."""

    hold_out: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()
    split_file: Path | None = None
    split: str | None = None


@dataclass(frozen=True)
class Training:
    """Arguments of the model and its ``train``; each model takes those that it has."""

    preset: str = "default"
    max_epochs: int | None = None
    max_steps: int | None = None
    missing_embedding: str = "error"
    seed: int = 0
    accelerator: str = "auto"
    model: str = "scbig"


@dataclass(frozen=True)
class Prediction:
    """Arguments of ``predict``."""

    perturbations: tuple[str, ...]
    n_cells: int | None = None
    n_samples: int = 1
    key_added: str | None = None
    seed: int | None = None
    loci: PriorFiles = PriorFiles()
