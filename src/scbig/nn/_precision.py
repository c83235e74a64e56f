"""Keeping a computation in float32 at least under mixed precision."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

import torch

P = ParamSpec("P")


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


def _widen(arg: object) -> object:
    is_half = isinstance(arg, torch.Tensor) and arg.dtype in (torch.float16, torch.bfloat16)
    return arg.float() if is_half else arg  # type: ignore[attr-defined]
