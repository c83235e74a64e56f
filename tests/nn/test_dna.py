import numpy as np
import pytest
import torch
from torch import nn

from scbig.nn import BP_PER_TOKEN, DNATower
from scbig.nn._dna import complement, number_words


@pytest.fixture
def tower() -> DNATower:
    tower = DNATower(32, n_word_features=16).eval()
    nn.init.normal_(tower.words.weight[:-1])  # so that words count beside the mask
    return tower


def _draw(n_bases: int = 128, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    codes = torch.tensor(rng.choice(5, (3, n_bases), p=[0.24] * 4 + [0.04]).astype(np.uint8))
    is_target = torch.zeros(3, n_bases, dtype=torch.bool)
    for row, (start, end) in enumerate(rng.integers(0, n_bases // 2, (3, 2))):
        is_target[row, start : start + end + 1] = True
    return codes, is_target


@pytest.mark.parametrize("seed", range(5))
def test_tokens_of_the_other_strand_are_the_same_in_reverse(tower: DNATower, seed: int):
    codes, is_target = _draw(seed=seed)
    tokens, is_target_token = tower(codes, is_target)
    other, is_target_other = tower(complement(codes).flip(1), is_target.flip(1))
    torch.testing.assert_close(other.flip(1), tokens)
    torch.testing.assert_close(other.mean(1), tokens.mean(1))
    assert torch.equal(is_target_other.flip(1), is_target_token)
    assert tokens.std() > 0.1


def test_shapes_and_the_mask_of_tokens(tower: DNATower):
    codes, is_target = _draw(160)
    tokens, is_target_token = tower(codes, is_target)
    assert tokens.shape == (3, 160 // BP_PER_TOKEN, 32)
    for row in range(3):
        parts = is_target[row].numpy().reshape(-1, 32)
        assert is_target_token[row].tolist() == parts.any(axis=1).tolist()


def test_the_default_has_the_promised_size():
    n_parameters = sum(parameter.numel() for parameter in DNATower().parameters())
    assert 500_000 < n_parameters < 1_000_000


def test_words_are_numbers_to_the_base_of_four():
    codes, _ = _draw(64)
    numbers = number_words(codes.long())
    for row in range(3):
        for i in range(64):
            word = codes[row, i : i + 6].tolist()
            is_whole = len(word) == 6 and 4 not in word
            expected = int("".join(map(str, word)), 4) if is_whole else 4096
            assert numbers[row, i] == expected


def test_unknown_bases_have_no_word_and_no_gradient():
    tower = DNATower(32, n_word_features=16)
    codes = torch.full((2, 64), 4)
    tokens, _ = tower(codes, torch.ones(2, 64, dtype=torch.bool))
    tokens.sum().backward()
    assert torch.isfinite(tokens).all()
    assert not tower.words.weight.grad.any()


def test_the_mask_matters(tower: DNATower):
    codes, is_target = _draw()
    difference = tower(codes, is_target)[0] - tower(codes, ~is_target)[0]
    assert difference.abs().mean() > 0.01


def test_it_learns_which_motif_a_window_holds():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 4, (400, 64))
    label = np.arange(400) % 2
    motifs = np.array([[0, 2, 3, 3, 1, 0, 2, 2], [1, 1, 3, 0, 3, 0, 1, 3]])
    for row, position in enumerate(rng.integers(0, 56, 400)):
        codes[row, position : position + 8] = motifs[label[row]]
    x, y = torch.tensor(codes), torch.tensor(label)
    is_target = torch.ones(400, 64, dtype=torch.bool)
    tower, head = DNATower(32), nn.Linear(32, 2)
    optimizer = torch.optim.AdamW([*tower.parameters(), *head.parameters()], lr=3e-3)
    for _ in range(25):
        logits = head(tower(x[:320], is_target[:320])[0].mean(1))
        loss = nn.functional.cross_entropy(logits, y[:320])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    tower.eval()
    with torch.no_grad():
        found = head(tower(x[320:], is_target[320:])[0].mean(1)).argmax(1)
    assert (found == y[320:]).float().mean() > 0.8


@pytest.mark.parametrize(("width", "choice"), [(0, 32), (100, 128)])
def test_a_width_that_cannot_be_cut_is_refused(tower: DNATower, width: int, choice: int):
    codes = torch.zeros(1, width, dtype=torch.uint8)
    with pytest.raises(ValueError, match=f"windows of {width} bases.*such as {choice}"):
        tower(codes, codes.bool())
