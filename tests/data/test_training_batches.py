from itertools import chain

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from scbig._constants import REGISTRY
from scbig.data import CellBatches, Expression, PairBatches, ScreenSchema, make_screen


def number_cells(n: int) -> Expression:
    return Expression(np.repeat(np.arange(n, dtype=np.float32)[:, None], 2, axis=1))


def read(loader) -> list[list[int]]:
    return [batch[REGISTRY.X][:, 0].int().tolist() for batch in loader]


@given(n=st.integers(1, 40), batch_size=st.integers(1, 15), seed=st.integers(0, 99))
def test_every_cell_once_an_epoch(n, batch_size, seed):
    train, held_out = np.arange(0, 2 * n, 2), np.arange(1, 2 * n, 2)
    cells = CellBatches(number_cells(2 * n), train, held_out, batch_size=batch_size, seed=seed)
    batches = read(cells.train_dataloader())
    assert sorted(chain(*batches)) == train.tolist()
    assert [len(b) for b in batches[:-1]] == [batch_size] * (len(batches) - 1)
    assert list(chain(*read(cells.val_dataloader()))) == held_out.tolist()


def test_order_of_cells_follows_the_seed():
    def epochs(seed):
        cells = np.arange(50)
        batches = CellBatches(number_cells(50), cells, cells[:0], batch_size=8, seed=seed)
        loader = batches.train_dataloader()
        assert list(batches.val_dataloader()) == []
        return read(loader), read(loader)

    assert epochs(1) == epochs(1)
    assert epochs(1) != epochs(2)
    assert epochs(1)[0] != epochs(1)[1]


def test_cells_are_those_of_the_matrix(store, values, storage):
    expression = Expression(store(values, storage).X)
    rows = np.array([40, 3, 17])
    cells = CellBatches(expression, rows, rows, batch_size=2, seed=0)
    x = torch.cat([batch[REGISTRY.X] for batch in cells.val_dataloader()])
    assert x.dtype == torch.float32
    np.testing.assert_array_equal(x.numpy(), values[rows])


def test_an_epoch_can_be_a_random_part_of_the_cells():
    rows = np.arange(20)
    cells = CellBatches(number_cells(20), rows, rows, batch_size=4, seed=0, n_batches=2)
    first, second = read(cells.train_dataloader()), read(cells.train_dataloader())
    assert [len(batch) for batch in first] == [4, 4]
    assert len(set(chain(*first))) == 8
    assert sorted(chain(*first)) != sorted(chain(*second))


def make_pairs(obs, *, n_groups=4, n_cells=3, seed=0):
    screen = make_screen(obs, ScreenSchema("perturbation", "control", "+", ("batch",)))
    groups = list(screen.get_groups())
    pairs = PairBatches(
        [rows for *_, rows in groups],
        [screen.get_controls(context) for _, context, _ in groups],
        n_groups=n_groups,
        n_cells=n_cells,
        n_batches=7,
        seed=seed,
    )
    return pairs, groups


@pytest.mark.parametrize(("n_cells", "is_repeated"), [(3, False), (5, False), (12, True)])
def test_pairs_share_their_context(obs, n_cells, is_repeated):
    pairs, groups = make_pairs(obs, n_cells=n_cells)
    labels, batch = obs["perturbation"].to_numpy(), obs["batch"].to_numpy()
    drawn = list(pairs.train_dataloader())
    assert len(drawn) == 7
    for group, controls, perturbed in drawn:
        assert controls.shape == perturbed.shape == (4, n_cells)
        assert len(set(group.tolist())) == 4
        for g, c, p in zip(group.tolist(), controls.numpy(), perturbed.numpy(), strict=True):
            assert set(p) <= set(groups[g][2])
            assert set(labels[c]) == {"control"}
            assert set(batch[c]) == set(batch[p])
            assert len(set(batch[c])) == 1
            # 12 cells are more than the 5 or 10 of each label in batches a and b.
            assert (len(set(p)) < n_cells) == (len(set(c)) < n_cells) == is_repeated
    assert set(np.concatenate([d.group for d in drawn])) == set(range(6))


def test_pairs_follow_the_seed(obs):
    def draw(seed):
        pairs, _ = make_pairs(obs, seed=seed)
        return torch.cat([d.perturbed_rows for d in pairs.train_dataloader()])

    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))


def test_epochs_of_pairs_differ(obs):
    pairs, _ = make_pairs(obs)
    loader = pairs.train_dataloader()
    first, second = (torch.cat([d.control_rows for d in loader]) for _ in range(2))
    assert not torch.equal(first, second)


def test_no_more_groups_than_there_are(obs):
    pairs, groups = make_pairs(obs, n_groups=99)
    assert sorted(pairs.draw().group.tolist()) == list(range(len(groups)))
    assert len(list(pairs.val_dataloader())) == 1


def test_nothing_to_train_on():
    with pytest.raises(ValueError, match="There are no perturbed cells"):
        PairBatches([], [], n_groups=1, n_cells=1, n_batches=1, seed=0)


def test_rows_stay_where_the_data_are(obs):
    pairs, _ = make_pairs(obs)
    batch = pairs.draw()
    assert pairs.transfer_batch_to_device(batch, torch.device("meta"), 0) is batch
