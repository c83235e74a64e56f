"""What a scan runs on: float32 at least, and the kernels of mamba-ssm where they import."""

import logging
from collections.abc import Callable
from functools import cache, wraps
from importlib import import_module
from typing import Literal, ParamSpec

import torch

logger = logging.getLogger(__name__)

P = ParamSpec("P")
ScanKind = Literal["ssd", "s6"]

_KERNELS = {
    "ssd": ("mamba_ssm.ops.triton.ssd_combined", "mamba_chunk_scan_combined"),
    "s6": ("mamba_ssm.ops.selective_scan_interface", "selective_scan_fn"),
}
# Below this the products of the Triton kernel have no tile.
_N_TILE = 16


def in_full_precision(
    function: Callable[P, torch.Tensor],
) -> Callable[P, torch.Tensor]:
    """Run a function of tensors without autocast, its half-precision inputs as float32.

    Decays of a scan are multiplied over thousands of positions; half precision loses them.

    Parameters
    ----------
    function
        Takes tensors by position and options by keyword; the first tensor names the device.

    Returns
    -------
    The function, with float32 or float64 inside and in what it returns.
    """

    @wraps(function)
    def widened(*args: P.args, **kwargs: P.kwargs) -> torch.Tensor:
        device = next(arg.device.type for arg in args if isinstance(arg, torch.Tensor))
        with torch.autocast(device, enabled=False):
            return function(*map(_widen, args), **kwargs)  # type: ignore[arg-type]

    return widened


def is_fused(kind: ScanKind, x: torch.Tensor, n_states: int) -> bool:
    """Tell whether a kernel of mamba-ssm can scan `x`: on CUDA, in float32, and importable."""
    if not x.is_cuda or x.dtype != torch.float32:
        return False
    if kind == "ssd" and min(x.shape[-1], n_states) < _N_TILE:
        return False
    return find_kernel(kind) is not None


@cache
def find_kernel(kind: ScanKind) -> Callable[..., torch.Tensor] | None:
    """Import a kernel, or return None where mamba-ssm is missing or was built otherwise."""
    module, name = _KERNELS[kind]
    try:
        kernel: Callable[..., torch.Tensor] = getattr(import_module(module), name)
    except (ImportError, AttributeError, OSError) as error:
        logger.info("%s is scanned in plain torch: %s", kind, error)
        return None
    logger.info("%s is scanned by %s.%s", kind, module, name)
    return kernel


def fused_ssd(
    x: torch.Tensor,
    dt: torch.Tensor,
    rate: torch.Tensor,
    b: torch.Tensor,
    c: torch.Tensor,
    n_chunk: int,
) -> torch.Tensor:
    """Scan like :func:`scbig.nn.ssd_scan`, whose shapes these are, with the fused kernel."""
    kernel = _get_kernel("ssd")
    # The kernel has groups of heads; here all heads share one.
    return kernel(x, dt, rate, b.unsqueeze(2), c.unsqueeze(2), chunk_size=n_chunk)


def fused_s6(
    x: torch.Tensor, dt: torch.Tensor, rate: torch.Tensor, b: torch.Tensor, c: torch.Tensor
) -> torch.Tensor:
    """Scan like :func:`scbig.nn.s6_scan`, whose shapes these are, with the fused kernel."""
    kernel = _get_kernel("s6")
    # The kernel wants the length last.
    x, dt, b, c = (tensor.transpose(1, 2).contiguous() for tensor in (x, dt, b, c))
    return kernel(x, dt, rate, b, c).transpose(1, 2)


def _get_kernel(kind: ScanKind) -> Callable[..., torch.Tensor]:
    kernel = find_kernel(kind)
    if kernel is None:
        raise ImportError("mamba_ssm is not importable; scan in plain torch.")
    return kernel


def _widen(arg: object) -> object:
    is_half = isinstance(arg, torch.Tensor) and arg.dtype in (torch.float16, torch.bfloat16)
    return arg.float() if is_half else arg  # type: ignore[attr-defined]
