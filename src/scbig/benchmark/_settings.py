"""How a benchmark is run."""

from dataclasses import dataclass

from scbig.metrics import METRICS

POOLED = "pooled"
CEILING = "ceiling"


@dataclass(frozen=True)
class BenchmarkSettings:
    """What a benchmark does besides training predictors on splits.

    Attributes
    ----------
    seeds
        Seeds that every predictor is trained with on every split; by default the one seed of
        each split.
    metrics
        Names of the metrics; by default all of :data:`scbig.metrics.METRICS` that need no
        optional library, which leaves out ``des``.
    n_cells
        Cells to predict for each condition and context.
    n_resamples
        Bootstrap samples of conditions behind each interval.
    is_log1p
        Take integers for log1p values, as ``setup_anndata`` does.
    use_overwrite
        Begin anew where the folder holds a benchmark with other settings.
    command
        What was typed to run it, for the report.
    """

    seeds: tuple[int, ...] | None = None
    metrics: tuple[str, ...] | None = None
    n_cells: int = 200
    n_resamples: int = 2000
    is_log1p: bool = False
    use_overwrite: bool = False
    command: str | None = None

    def __post_init__(self) -> None:
        for name in ("n_cells", "n_resamples"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}; give at least 1.")
        if self.seeds is not None and (not self.seeds or len(set(self.seeds)) < len(self.seeds)):
            raise ValueError(f"seeds={self.seeds}: give each seed once, and at least one.")
        if unknown := [name for name in self.get_metrics() if name not in METRICS]:
            raise ValueError(f"There are no metrics {unknown}. Choose among {list(METRICS)}.")

    def get_metrics(self) -> tuple[str, ...]:
        """Return the names of the metrics."""
        if self.metrics is not None:
            return self.metrics
        return tuple(name for name, metric in METRICS.items() if "eval" not in metric.needs)
