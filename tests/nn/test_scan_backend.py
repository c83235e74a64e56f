import sys
from collections.abc import Iterator
from types import ModuleType

import pytest
import torch

from scbig.nn import s6_scan, ssd_scan
from scbig.nn._scan_backend import find_kernel, fused_s6, fused_ssd, in_full_precision, is_fused

KERNELS = {
    "ssd": ("mamba_ssm.ops.triton.ssd_combined", "mamba_chunk_scan_combined"),
    "s6": ("mamba_ssm.ops.selective_scan_interface", "selective_scan_fn"),
}


def scan_heads(x, dt, A, B, C, chunk_size):
    """The layout that mamba-ssm documents: x (b, l, h, p), dt (b, l, h), B and C (b, l, 1, n)."""
    assert x.is_contiguous()
    assert chunk_size == 8
    state, y = torch.zeros(*x[:, 0].shape, B.shape[-1]), torch.empty_like(x)
    for t in range(x.shape[1]):
        write = torch.einsum("bh,bhp,bgn->bhpn", dt[:, t], x[:, t], B[:, t])
        state = state * (A * dt[:, t]).exp()[..., None, None] + write
        y[:, t] = torch.einsum("bhpn,bgn->bhp", state, C[:, t])
    return y


def scan_channels(u, delta, A, B, C):
    """The layout that mamba-ssm documents: u and delta (b, d, l), A (d, n), B and C (b, n, l)."""
    assert u.is_contiguous()
    state, y = torch.zeros(*u.shape[:2], B.shape[1]), torch.empty_like(u)
    for t in range(u.shape[2]):
        write = torch.einsum("bd,bd,bn->bdn", delta[..., t], u[..., t], B[..., t])
        state = state * (delta[..., t, None] * A).exp() + write
        y[..., t] = torch.einsum("bdn,bn->bd", state, C[..., t])
    return y


@pytest.fixture
def stub_kernels(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    stubs = {"ssd": scan_heads, "s6": scan_channels}
    for kind, (path, name) in KERNELS.items():
        parts = path.split(".")
        for i in range(1, len(parts)):
            monkeypatch.setitem(sys.modules, ".".join(parts[:i]), ModuleType(parts[i - 1]))
        module = ModuleType(path)
        setattr(module, name, stubs[kind])
        monkeypatch.setitem(sys.modules, path, module)
    find_kernel.cache_clear()
    yield
    find_kernel.cache_clear()


@pytest.fixture
def no_kernels(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(sys.modules, "mamba_ssm", None)
    find_kernel.cache_clear()
    yield
    find_kernel.cache_clear()


@pytest.mark.usefixtures("stub_kernels")
def test_fused_ssd_speaks_the_layout_of_the_kernel():
    x, dt, rate = torch.randn(2, 20, 3, 4), torch.rand(2, 20, 3), -torch.rand(3)
    b, c = torch.randn(2, 2, 20, 5)
    torch.testing.assert_close(fused_ssd(x, dt, rate, b, c, 8), ssd_scan(x, dt, rate, b, c))


@pytest.mark.usefixtures("stub_kernels")
def test_fused_s6_speaks_the_layout_of_the_kernel():
    x, dt, rate = torch.randn(2, 20, 3), torch.rand(2, 20, 3), -torch.rand(3, 5)
    b, c = torch.randn(2, 2, 20, 5)
    torch.testing.assert_close(fused_s6(x, dt, rate, b, c), s6_scan(x, dt, rate, b, c))


@pytest.mark.usefixtures("no_kernels")
@pytest.mark.parametrize("kind", ["ssd", "s6"])
def test_a_missing_kernel_is_none(kind: str, caplog: pytest.LogCaptureFixture):
    with caplog.at_level("INFO", "scbig.nn"):
        assert find_kernel(kind) is None
    assert f"{kind} is scanned in plain torch" in caplog.text


@pytest.mark.usefixtures("no_kernels")
@pytest.mark.parametrize("kind", ["ssd", "s6"])
def test_a_fused_scan_without_its_kernel_is_refused(kind: str):
    inputs = [torch.ones(1, 1, 1)] * 5
    with pytest.raises(ImportError, match="mamba_ssm is not importable; scan in plain torch"):
        fused_ssd(*inputs, 8) if kind == "ssd" else fused_s6(*inputs)


class Shaped:
    """What is_fused looks at of a tensor."""

    def __init__(self, *, is_cuda: bool = True, width: int = 64, dtype=torch.float32) -> None:
        self.is_cuda, self.dtype, self.shape = is_cuda, dtype, (1, 8, 2, width)


@pytest.mark.usefixtures("stub_kernels")
@pytest.mark.parametrize(
    ("kind", "x", "n_states", "expected"),
    [
        ("ssd", Shaped(), 16, True),
        ("ssd", Shaped(), 8, False),
        ("ssd", Shaped(width=8), 16, False),
        ("ssd", Shaped(is_cuda=False), 16, False),
        ("ssd", Shaped(dtype=torch.float64), 16, False),
        ("s6", Shaped(), 8, True),
        ("s6", Shaped(is_cuda=False), 8, False),
    ],
)
def test_kernels_are_used_where_they_can_be(kind: str, x: Shaped, n_states: int, expected: bool):
    assert is_fused(kind, x, n_states) is expected


@pytest.mark.usefixtures("no_kernels")
def test_without_mamba_ssm_nothing_is_fused():
    assert is_fused("ssd", Shaped(), 16) is False


@in_full_precision
def multiply(
    x: torch.Tensor, factor: torch.Tensor | None = None, *, power: int = 1
) -> torch.Tensor:
    """Multiply."""
    return torch.linalg.matrix_power(x if factor is None else x @ factor, power)


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_half_precision_is_widened_and_autocast_kept_out(
    dtype: torch.dtype, expected: torch.dtype
):
    x = torch.tensor([[1.0, 1 / 3], [0.0, 1.0]], dtype=dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = multiply(x, x, power=2)
    assert y.dtype == expected
    torch.testing.assert_close(y, torch.linalg.matrix_power(x.to(expected), 4))


def test_what_is_no_tensor_passes():
    assert torch.equal(multiply(torch.eye(2), None), torch.eye(2))


def test_the_name_stays():
    assert (multiply.__name__, multiply.__doc__) == ("multiply", "Multiply.")
