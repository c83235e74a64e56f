import pytest
import torch
import torch.nn.functional as F

from scbig.nn import MambaBlock
from scbig.nn._mamba import CausalConv

DIM, LENGTH = 8, 10
KINDS = ["ssd", "s6"]


@pytest.fixture(params=KINDS)
def block(request: pytest.FixtureRequest) -> MambaBlock:
    return MambaBlock(DIM, kind=request.param, n_states=4).double()


@pytest.fixture
def tokens() -> torch.Tensor:
    return torch.randn(2, LENGTH, DIM, dtype=torch.float64)


def test_a_one_way_block_adds_the_mixer_of_the_normalised_tokens(tokens: torch.Tensor):
    block = MambaBlock(DIM, is_bidirectional=False).double()
    [mixer] = block.mixers
    scale = tokens.square().mean(-1, keepdim=True).add(1e-5).rsqrt()
    torch.testing.assert_close(block(tokens), tokens + mixer(tokens * scale))


def test_a_block_adds_both_directions(block: MambaBlock, tokens: torch.Tensor):
    forward, backward = block.mixers
    normal = block.norm(tokens)
    expected = tokens + forward(normal) + backward(normal.flip(1)).flip(1)
    torch.testing.assert_close(block(tokens), expected)


def test_reversed_tokens_and_swapped_directions_reverse_the_output(
    block: MambaBlock, tokens: torch.Tensor
):
    y = block(tokens)
    block.mixers = torch.nn.ModuleList(reversed(block.mixers))
    torch.testing.assert_close(block(tokens.flip(1)).flip(1), y)


def test_directions_have_weights_of_their_own(block: MambaBlock, tokens: torch.Tensor):
    y = block(tokens)
    assert not torch.allclose(block(tokens.flip(1)).flip(1), y)
    forward, backward = (dict(mixer.named_parameters()) for mixer in block.mixers)
    assert not {id(p) for p in forward.values()} & {id(p) for p in backward.values()}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("is_bidirectional", [True, False])
def test_reach_of_a_block(kind: str, is_bidirectional: bool):
    block = MambaBlock(DIM, kind=kind, is_bidirectional=is_bidirectional).double()
    tokens = torch.randn(1, 6, DIM, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda x: block(x)[0].sum(-1), tokens)
    everything = torch.ones(6, 6, dtype=torch.bool)
    reach = jacobian[:, 0].abs().sum(-1) > 0
    assert torch.equal(reach, everything if is_bidirectional else everything.tril())


def test_a_checkpointed_block_gives_the_same_with_less_in_memory(
    block: MambaBlock, tokens: torch.Tensor
):
    results, n_saved = [], []
    for use_checkpoint in (False, True):
        block.use_checkpoint = use_checkpoint
        block.zero_grad()
        saved: list[int] = []

        def count(tensor: torch.Tensor, saved: list[int] = saved) -> torch.Tensor:
            saved.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            y = block(tokens)
        y.square().sum().backward()
        n_saved.append(sum(saved))
        results.append([y, *(parameter.grad.clone() for parameter in block.parameters())])
    for plain, checkpointed in zip(*results, strict=True):
        torch.testing.assert_close(checkpointed, plain)
    assert n_saved[1] < n_saved[0] / 10


def test_influence_is_the_mean_weight_of_both_directions(block: MambaBlock, tokens: torch.Tensor):
    influence = block.compute_influence(tokens)
    assert influence.shape == (2, LENGTH, LENGTH)
    assert not influence.requires_grad
    forward, backward = block.mixers
    normal = block.norm(tokens)
    ahead = forward.compute_kernel(normal).abs().mean(1)
    back = backward.compute_kernel(normal.flip(1)).abs().mean(1).flip(1, 2)
    torch.testing.assert_close(influence, ahead + back)
    torch.testing.assert_close(influence.tril(-1), ahead.tril(-1).detach())
    torch.testing.assert_close(influence.triu(1), back.triu(1).detach())


def test_influence_of_some_sources_is_those_columns(block: MambaBlock):
    tokens = torch.randn(1, 90, DIM, dtype=torch.float64)  # more than one piece of sources
    sources = torch.tensor([89, 3, 70])
    everything = block.compute_influence(tokens)
    torch.testing.assert_close(
        block.compute_influence(tokens, sources), everything[..., sources], rtol=0, atol=1e-15
    )


def test_influence_of_a_one_way_block_looks_back(tokens: torch.Tensor):
    influence = MambaBlock(DIM, is_bidirectional=False).double().compute_influence(tokens)
    assert torch.equal(influence, influence.tril())
    assert (influence.diagonal(dim1=1, dim2=2) > 0).all()


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="kind is 's4'; choose from ssd, s6"):
        MambaBlock(DIM, kind="s4")


@pytest.mark.parametrize("kind", KINDS)
def test_a_block_learns_to_read_from_a_distance(kind: str):
    """The first token tells what to add at the last, 20 positions away."""
    block = MambaBlock(DIM, kind=kind)
    optimiser = torch.optim.Adam(block.parameters(), lr=0.02)
    tokens = 0.1 * torch.randn(64, 20, DIM)
    tokens[:, 0, 0] = torch.randn(64).sign()
    for _ in range(60):
        error = (block(tokens)[:, -1, 1] - tokens[:, 0, 0]).square().mean()
        optimiser.zero_grad()
        error.backward()
        optimiser.step()
    assert error < 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_kept_for_the_gradient_grows_with_the_length(kind: str):
    block = MambaBlock(DIM, kind=kind)
    n_saved = {}
    for length in (1_024, 2_048):
        saved: list[int] = []

        def count(tensor: torch.Tensor, saved: list[int] = saved) -> torch.Tensor:
            saved.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            block(torch.randn(1, length, DIM))
        n_saved[length] = sum(saved)
    assert n_saved[2_048] / n_saved[1_024] == pytest.approx(2.0, rel=0.05)


@pytest.mark.parametrize("length", [1, 3, 4, 20])
@pytest.mark.parametrize("n_taps", [1, 4])
def test_causal_conv_is_a_padded_conv1d(length: int, n_taps: int):
    conv = CausalConv(5, n_taps).double()
    x = torch.randn(2, length, 5, dtype=torch.float64)
    padded = F.pad(x.transpose(1, 2), (n_taps - 1, 0))
    expected = F.silu(F.conv1d(padded, conv.weight, conv.bias, groups=5)).transpose(1, 2)
    torch.testing.assert_close(conv(x), expected)


def test_causal_conv_looks_back_only():
    conv, x = CausalConv(2, 3).double(), torch.randn(1, 6, 2, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda x: conv(x)[0, :, 0], x)[:, 0, :, 0]
    position = torch.arange(6)
    back = position.unsqueeze(1) - position
    assert torch.equal(jacobian != 0, (back >= 0) & (back < 3))
