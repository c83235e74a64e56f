"""Both mixers against the libraries that people know them from, with the same weights."""

import numpy as np
import pytest
import torch
from torch import nn

from scbig.nn import S6Mixer, SSDMixer

DIM, N_BATCH = 32, 2
Mixer = SSDMixer | S6Mixer


def copy_weights(source: Mixer, target: nn.Module, names: dict[str, str]) -> None:
    parameters = dict(source.named_parameters())
    assert set(names.values()) == {name for name, _ in target.named_parameters()}
    with torch.no_grad():
        for name, other in names.items():
            target.get_parameter(other).copy_(parameters[name])


def move_weights(mixer: Mixer) -> None:
    """Leave the initial values, at which skips and norms of one would hide a mistake."""
    with torch.no_grad():
        for parameter in mixer.parameters():
            parameter += 0.1 * torch.randn_like(parameter)


@pytest.fixture(params=[SSDMixer, S6Mixer])
def mixer(request: pytest.FixtureRequest) -> Mixer:
    mixer = request.param(DIM, n_states=5).double()
    move_weights(mixer)
    return mixer


@pytest.mark.parametrize("length", [1, 3, 32, 100, 301])
@pytest.mark.parametrize("head_dim", [16, 64])
def test_ssd_mixer_is_the_one_of_transformers(length: int, head_dim: int):
    pytest.importorskip("transformers", reason="transformers is the reference of this test")
    from transformers import Mamba2Config
    from transformers.models.mamba2.modeling_mamba2 import Mamba2Mixer

    config = Mamba2Config(
        hidden_size=DIM,
        state_size=16,
        expand=2,
        num_heads=2 * DIM // head_dim,
        head_dim=head_dim,
        n_groups=1,
    )
    ours, theirs = SSDMixer(DIM, head_dim=head_dim), Mamba2Mixer(config, layer_idx=0)
    move_weights(ours)
    names = {
        "project_in.weight": "in_proj.weight",
        "conv.weight": "conv1d.weight",
        "conv.bias": "conv1d.bias",
        "step_bias": "dt_bias",
        "log_rate": "A_log",
        "skip": "D",
        "norm.weight": "norm.weight",
        "project_out.weight": "out_proj.weight",
    }
    copy_weights(ours, theirs, names)
    assert_same(ours, theirs, length)


@pytest.mark.parametrize("length", [1, 3, 100, 301])
def test_s6_mixer_is_the_one_of_mambapy(length: int):
    mamba = pytest.importorskip("mambapy.mamba", reason="mambapy is the reference of this test")
    ours = S6Mixer(DIM)
    theirs = mamba.MambaBlock(mamba.MambaConfig(d_model=DIM, n_layers=1))
    move_weights(ours)
    names = {
        "project_in.weight": "in_proj.weight",
        "conv.weight": "conv1d.weight",
        "conv.bias": "conv1d.bias",
        "project_scan.weight": "x_proj.weight",
        "project_step.weight": "dt_proj.weight",
        "step_bias": "dt_proj.bias",
        "log_rate": "A_log",
        "skip": "D",
        "project_out.weight": "out_proj.weight",
    }
    copy_weights(ours, theirs, names)
    assert_same(ours, theirs, length)


def assert_same(ours: nn.Module, theirs: nn.Module, length: int) -> None:
    """Outputs and gradients of the tokens, to 1e-5."""
    tokens = torch.randn(N_BATCH, length, DIM)
    results = []
    for module in (ours, theirs):
        own = tokens.clone().requires_grad_()
        y = module(own)
        (gradient,) = torch.autograd.grad(y.square().sum(), own)
        results.append((y, gradient))
    for mine, reference in zip(*results, strict=True):
        torch.testing.assert_close(mine, reference, rtol=1e-5, atol=1e-5)


def test_mixers_see_only_what_came_before(mixer: Mixer):
    tokens = torch.randn(1, 6, DIM, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda x: mixer(x)[0].sum(-1), tokens)
    reach = jacobian[:, 0].abs().sum(-1)
    assert torch.equal(reach > 0, torch.ones(6, 6).tril() > 0)


@pytest.mark.parametrize("shape", [(0, 4), (2, 0), (1, 1)])
def test_mixers_take_any_batch_and_length(mixer: Mixer, shape: tuple[int, int]):
    tokens = torch.randn(*shape, DIM, dtype=torch.float64, requires_grad=True)
    y = mixer(tokens)
    y.sum().backward()
    assert y.shape == tokens.grad.shape == tokens.shape


@pytest.mark.parametrize("make", [SSDMixer, S6Mixer])
def test_mixer_gradients_are_right(make: type[Mixer]):
    mixer = make(4, n_states=2).double()
    tokens = torch.randn(2, 5, 4, dtype=torch.float64, requires_grad=True)

    def mix(tokens: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        return mixer(tokens)

    assert torch.autograd.gradcheck(mix, (tokens, *mixer.parameters()))


def test_mixers_keep_batch_entries_apart(mixer: Mixer):
    tokens = torch.randn(3, 40, DIM, dtype=torch.float64)
    alone = torch.cat([mixer(row.unsqueeze(0)) for row in tokens])
    torch.testing.assert_close(mixer(tokens), alone)


def test_mixers_under_mixed_precision_are_close_to_single(mixer: Mixer):
    mixer, tokens = mixer.float(), torch.randn(2, 300, DIM)
    expected = mixer(tokens)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = mixer(tokens)
        y.float().sum().backward()
    assert y.dtype == torch.bfloat16
    assert (y - expected).square().mean() < 1e-3 * expected.square().mean()
    assert all(parameter.grad.dtype == torch.float32 for parameter in mixer.parameters())


def test_the_kernel_times_the_input_is_the_scan(mixer: Mixer):
    """Without gate, skip and norm, the output is the kernel times the convolved input."""
    tokens = torch.randn(2, 9, DIM, dtype=torch.float64)
    kernel = mixer.compute_kernel(tokens)
    _, x, *_ = mixer._select(tokens)
    heads = x.unflatten(-1, (kernel.shape[1], -1))
    jacobian = torch.einsum("bhts,bshp->bthp", kernel, heads).flatten(-2)
    gradient = torch.autograd.functional.jacobian(lambda s: _skipless(mixer, tokens, s), x[:, 0])
    weight = kernel[:, :, :, 0].repeat_interleave(heads.shape[-1], 1)
    for i in range(2):
        own = gradient[i, :, :, i].diagonal(dim1=1, dim2=2)
        torch.testing.assert_close(own, weight[i].T)
    torch.testing.assert_close(_skipless(mixer, tokens, x[:, 0]), jacobian)


def _skipless(mixer: Mixer, tokens: torch.Tensor, first: torch.Tensor) -> torch.Tensor:
    """The scan of the mixer by steps, with the first input replaced."""
    _, x, step, b, c = mixer._select(tokens)
    n = x.shape[-1]
    rate = -mixer.log_rate.exp().reshape(-1, 1 if mixer.log_rate.ndim == 1 else b.shape[-1])
    rate = rate.repeat_interleave(n // len(rate), 0)
    step = step.repeat_interleave(n // step.shape[-1], -1)
    inputs = [first, *x.unbind(1)[1:]]
    state, outputs = 0.0, []
    for t, value in enumerate(inputs):
        write = (step[:, t] * value).unsqueeze(-1) * b[:, t].unsqueeze(1)
        state = (step[:, t].unsqueeze(-1) * rate).exp() * state + write
        outputs.append((state * c[:, t].unsqueeze(1)).sum(-1))
    return torch.stack(outputs, 1)


def test_mixers_start_as_published():
    ssd, s6 = SSDMixer(512), S6Mixer(40, n_states=4)
    np.testing.assert_allclose(
        s6.log_rate.detach().exp(), np.tile([1, 2, 3, 4], (80, 1)), rtol=1e-6
    )
    assert s6.project_step.weight.shape == (80, 3)  # 40 / 16, rounded up
    assert s6.project_step.weight.abs().max() <= 3**-0.5
    rates = ssd.log_rate.detach().exp()
    assert rates.min() >= 1
    assert rates.max() <= 16
    for mixer in (ssd, s6):
        steps = nn.functional.softplus(mixer.step_bias.detach().double())
        assert steps.min() >= 0.999e-3
        assert steps.max() <= 1.001e-1
        assert torch.equal(mixer.skip, torch.ones_like(mixer.skip))


@pytest.mark.parametrize("head_dim", [0, 3])
def test_ssd_mixer_refuses_heads_that_do_not_divide(head_dim: int):
    with pytest.raises(ValueError, match=f"16 channels .* heads of {head_dim}; pass a head_dim"):
        SSDMixer(8, head_dim=head_dim)
