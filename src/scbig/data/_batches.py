"""Batches for training: cells for autoencoders, pairs of control and perturbed cells for flows."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import lightning.pytorch as pl
import numpy as np
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    RandomSampler,
    SequentialSampler,
    TensorDataset,
)

from scbig._constants import REGISTRY
from scbig.data._expression import Expression


class CellBatches(pl.LightningDataModule):
    """Batches of cells, read as they are needed.

    Parameters
    ----------
    expression
        Expression of all cells.
    train, validation
        Row numbers of the cells to train on and to stop on.
    batch_size
        Cells in a batch.
    seed
        Seed of the order.
    n_batches
        Largest number of batches in an epoch; by default all cells are seen.
    """

    def __init__(
        self,
        expression: Expression,
        train: np.ndarray,
        validation: np.ndarray,
        *,
        batch_size: int,
        seed: int,
        n_batches: int | None = None,
    ) -> None:
        super().__init__()
        self._n_drawn = len(train) if n_batches is None else n_batches * batch_size
        self._train = _Cells(expression, train)
        self._validation = _Cells(expression, validation)
        self._batch_size = batch_size
        self._generator = torch.Generator().manual_seed(seed)

    def train_dataloader(self) -> DataLoader:
        """Cells in random order."""
        n_drawn = min(self._n_drawn, len(self._train))
        order = RandomSampler(self._train, num_samples=n_drawn, generator=self._generator)
        return self._load(self._train, BatchSampler(order, self._batch_size, drop_last=False))

    def val_dataloader(self) -> DataLoader:
        """Held-out cells in their order."""
        order = SequentialSampler(self._validation)
        return self._load(self._validation, BatchSampler(order, self._batch_size, drop_last=False))

    @staticmethod
    def _load(cells: "_Cells", batches: BatchSampler) -> DataLoader:
        return DataLoader(cells, sampler=batches, batch_size=None)


class _Cells(Dataset):
    """Cells by number; asked for a list of cells at once, as reading them together is faster."""

    def __init__(self, expression: Expression, rows: np.ndarray) -> None:
        self._expression = expression
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, indices: list[int]) -> dict[str, torch.Tensor]:
        x = self._expression.rows(self._rows[indices])
        return {REGISTRY.X: torch.from_numpy(np.ascontiguousarray(x))}


class Pairs(NamedTuple):
    """Cells of B groups, N control and N perturbed cells each.

    Attributes
    ----------
    group
        Group numbers, shape ``(B,)``.
    control_rows, perturbed_rows
        Row numbers of the cells, shape ``(B, N)``.
    """

    group: torch.Tensor
    control_rows: torch.Tensor
    perturbed_rows: torch.Tensor


class PairBatches(pl.LightningDataModule):
    """Random groups of perturbed cells, with control cells of the same context.

    Parameters
    ----------
    perturbed
        Row numbers of the cells of each group.
    controls
        Row numbers of the control cells that go with each group.
    n_groups, n_cells
        Groups in a batch, and cells in a group.
    n_batches
        Batches in an epoch.
    seed
        Seed of the draws.

    Raises
    ------
    ValueError
        When there are no groups.
    """

    def __init__(
        self,
        perturbed: Sequence[np.ndarray],
        controls: Sequence[np.ndarray],
        *,
        n_groups: int,
        n_cells: int,
        n_batches: int,
        seed: int,
    ) -> None:
        super().__init__()
        if not len(perturbed):
            raise ValueError("There are no perturbed cells: there is nothing to train on.")
        rng = np.random.default_rng(seed)
        n_groups = min(n_groups, len(perturbed))

        def draw() -> Pairs:
            groups = rng.choice(len(perturbed), n_groups, replace=False)
            return Pairs(
                torch.from_numpy(groups),
                _draw_rows([controls[i] for i in groups], n_cells, rng),
                _draw_rows([perturbed[i] for i in groups], n_cells, rng),
            )

        self.draw = draw
        self._n_batches = n_batches

    def train_dataloader(self) -> DataLoader:
        """One epoch of random batches."""
        return DataLoader(_Drawn(self.draw, self._n_batches), batch_size=None)

    def val_dataloader(self) -> DataLoader:
        """One empty batch: what is validated does not depend on a draw."""
        return DataLoader(TensorDataset(torch.zeros(1, 1)))

    def transfer_batch_to_device(
        self, batch: Any, device: torch.device, dataloader_idx: int
    ) -> Any:
        """Leave row numbers where the data are.

        Parameters
        ----------
        batch
            Row numbers of the cells of a batch.
        device, dataloader_idx
            Where Lightning would move it, and from which loader; not needed.

        Returns
        -------
        The batch as it came.
        """
        return batch


class _Drawn(Dataset):
    """So many draws, taken one after the other whatever their number."""

    def __init__(self, draw: Callable[[], Pairs], n_batches: int) -> None:
        self._draw = draw
        self._n_batches = n_batches

    def __len__(self) -> int:
        return self._n_batches

    def __getitem__(self, index: int) -> Pairs:
        return self._draw()


def _draw_rows(
    groups: Sequence[np.ndarray], n_cells: int, rng: np.random.Generator
) -> torch.Tensor:
    """Draw cells of each group, with replacement only where there are too few."""
    rows = [rng.choice(group, n_cells, replace=len(group) < n_cells) for group in groups]
    return torch.from_numpy(np.stack(rows))
