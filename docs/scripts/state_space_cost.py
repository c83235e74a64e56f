"""Time the state-space blocks over the number of genes, and print the tables of the docs.

python docs/scripts/state_space_cost.py [--threads 1] [--rounds 7]

Everything is one forward and one backward pass on the processor. The rows of a table are timed in
turns, round after round, and the fastest round counts, so that a busy machine hits all of them.
With transformers installed its Mamba-2 mixer is timed beside ours.
"""

import argparse
import importlib.util
import resource
import time
from collections.abc import Callable, Mapping
from itertools import pairwise
from multiprocessing import get_context

import torch
from torch import nn

from scbig.model import DualStreamConfig
from scbig.model.dualstream._module import DualStreamModule, GeneRecord
from scbig.model.dualstream._networks import StreamCondition, StreamSizes
from scbig.nn import MambaBlock, SSDMixer

DIM = 64
LENGTHS = (1_000, 2_000, 4_000, 8_000, 16_000)
N_MEMORY = 16_000


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch", type=int, default=4, help="cells at once")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    # Peaks first: a process counts as its own what the one that started it had needed by then.
    print_memory(options.batch, options.threads)
    print_models(options.batch, options.threads)
    print_lengths(options.batch, options.rounds)
    print_libraries(options.rounds)


def print_lengths(n_batch: int, n_rounds: int) -> None:
    """Time of a bidirectional block, and the ratio of each doubling."""
    for kind in ("ssd", "s6"):
        block = MambaBlock(DIM, kind=kind)
        passes = {n: make_pass(block, n_batch, n) for n in LENGTHS}
        seconds = time_in_turns(passes, n_rounds)
        print(f"\n| genes | {kind}, milliseconds | over half as many |\n| --- | --- | --- |")
        print(f"| {LENGTHS[0]:,} | {1e3 * seconds[LENGTHS[0]]:.0f} | |")
        for half, n in pairwise(LENGTHS):
            print(f"| {n:,} | {1e3 * seconds[n]:.0f} | {seconds[n] / seconds[half]:.2f} |")


def print_memory(n_batch: int, n_threads: int) -> None:
    """Peak memory of a process that runs all genes, torch and the code included."""
    print(f"\n| {N_MEMORY:,} genes, {n_batch} cells | peak, GB |\n| --- | --- |")
    for kind in ("ssd", "s6"):
        for n_blocks in (1, 4):
            for use_checkpoint in (False, True):
                job = (kind, n_blocks, use_checkpoint, n_batch, n_threads)
                with get_context("spawn").Pool(1) as pool:
                    peak = pool.apply(measure_peak, job)
                kept = ", checkpointed" if use_checkpoint else ""
                print(f"| {kind}, {n_blocks} bidirectional{kept} | {peak:.2f} |", flush=True)


def measure_peak(
    kind: str, n_blocks: int, use_checkpoint: bool, n_batch: int, n_threads: int
) -> float:
    """Run blocks one after another and return the peak of this process in GB."""
    torch.set_num_threads(n_threads)
    blocks = [MambaBlock(DIM, kind=kind, use_checkpoint=use_checkpoint) for _ in range(n_blocks)]
    make_pass(nn.Sequential(*blocks), n_batch, N_MEMORY)()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def print_models(n_batch: int, n_threads: int) -> None:
    """Time and peak memory of the whole of DualStreamMamba, each gene a token of its own."""
    print(f"\n| genes, {n_batch} cells | seconds | over half as many | peak, GB |")
    print("| --- | --- | --- | --- |")
    earlier = None
    for n_genes in LENGTHS:
        with get_context("spawn").Pool(1) as pool:
            seconds, peak = pool.apply(measure_model, (n_genes, n_batch, n_threads))
        ratio = "" if earlier is None else f"{seconds / earlier:.2f}"
        print(f"| {n_genes:,} | {seconds:.2f} | {ratio} | {peak:.2f} |", flush=True)
        earlier = seconds


def measure_model(n_genes: int, n_batch: int, n_threads: int) -> tuple[float, float]:
    """Fastest of three forward and backward passes, checkpointed, and the peak of this process."""
    torch.set_num_threads(n_threads)
    module = DualStreamModule(
        GeneRecord(torch.randperm(n_genes), torch.randn(n_genes, 128), *torch.rand(3, n_genes)),
        StreamSizes(n_targets=100, n_contexts=1, n_tables=1),
        DualStreamConfig(genes_per_token=1, use_checkpoint=True),
    )
    pair = torch.zeros(n_batch, 2, dtype=torch.long)
    condition = StreamCondition(
        gene=pair,
        target=pair,
        embedding=torch.randn(n_batch, 2, 128),
        mask=torch.ones(n_batch, 2, dtype=torch.bool),
        context=pair[:, 0],
        effect=torch.randn(n_batch, n_genes),
    )
    x, noise = torch.rand(n_batch, n_genes), torch.randn(n_batch, module.config.n_latent)

    def run() -> None:
        module.zero_grad()
        output = module.forward_cells(x, condition, noise)
        (output.effect.square().mean() + output.reconstruction).backward()

    seconds = time_in_turns({"model": run}, 3)["model"]
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def print_libraries(n_rounds: int, n_batch: int = 8, length: int = 2_000) -> None:
    """Our SSD mixer beside that of transformers, with its default chunk and with shorter ones."""
    if importlib.util.find_spec("transformers") is None:
        print("\ntransformers is not installed; not compared")
        return
    passes = {"scbig": make_pass(SSDMixer(DIM), n_batch, length)}
    for n_chunk in (256, 64, 32):
        mixer = make_transformers_mixer(n_chunk)
        passes[f"transformers, chunk {n_chunk}"] = make_pass(mixer, n_batch, length)
    seconds = time_in_turns(passes, n_rounds)
    print(f"\n| {length:,} tokens, batch {n_batch} | milliseconds | scbig / it |")
    print("| --- | --- | --- |")
    for name, value in seconds.items():
        print(f"| {name} | {1e3 * value:.0f} | {seconds['scbig'] / value:.2f} |")


def make_transformers_mixer(n_chunk: int) -> nn.Module:
    """Make the mixer of transformers in the sizes of ours."""
    from transformers import Mamba2Config
    from transformers.models.mamba2.modeling_mamba2 import Mamba2Mixer

    own = SSDMixer(DIM)
    config = Mamba2Config(
        hidden_size=DIM,
        state_size=own.mixed_widths[1],
        expand=2,
        num_heads=len(own.skip),
        head_dim=own.head_dim,
        n_groups=1,
        chunk_size=n_chunk,
    )
    return Mamba2Mixer(config, layer_idx=0)


def make_pass(module: nn.Module, n_batch: int, length: int) -> Callable[[], None]:
    """Make a function that runs forward and backward once."""
    tokens = torch.randn(n_batch, length, DIM, requires_grad=True)

    def run() -> None:
        module.zero_grad()
        tokens.grad = None
        module(tokens).square().mean().backward()

    return run


def time_in_turns(passes: Mapping, n_rounds: int) -> dict:
    """Fastest of some rounds of each pass, after one that does not count."""
    best = dict.fromkeys(passes, float("inf"))
    for i in range(n_rounds + 1):
        for name, run in passes.items():
            start = time.perf_counter()
            run()
            if i:
                best[name] = min(best[name], time.perf_counter() - start)
    return best


if __name__ == "__main__":
    main()
