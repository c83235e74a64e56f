"""How all that is random is seeded, and how a module is put to use, and kept as arrays."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from scbig._types import Arrays


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch inside the block, and restore its generators afterwards."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


@contextmanager
def evaluating(module: torch.nn.Module) -> Iterator[None]:
    """Compute without dropout and gradients inside the block, and go back to the mode before."""
    was_training = module.training
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        module.train(was_training)


def get_weights(module: torch.nn.Module) -> Arrays:
    """Return the weights and buffers of a module as arrays, named ``"module..."``."""
    return {
        f"module.{name}": tensor.detach().cpu().numpy()
        for name, tensor in module.state_dict().items()
    }


def set_weights(module: torch.nn.Module, arrays: Arrays) -> None:
    """Put back what :func:`get_weights` returned, and leave training mode."""
    module.load_state_dict(read_weights(arrays))
    module.eval()


def read_weights(arrays: Arrays) -> dict[str, torch.Tensor]:
    """Weights and buffers by name, of what :func:`get_weights` returned."""
    return {
        name.removeprefix("module."): torch.from_numpy(array)
        for name, array in arrays.items()
        if name.startswith("module.")
    }
