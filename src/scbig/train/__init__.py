"""Stages, callbacks and seeds of training, and saved folders."""

from scbig.train._callbacks import KeepBest
from scbig.train._persistence import read_model, write_model
from scbig.train._seed import get_default_seed, seeded
from scbig.train._stage import Hardware, History, Schedule, join_histories, run_stage

__all__ = [
    "Hardware",
    "History",
    "KeepBest",
    "Schedule",
    "get_default_seed",
    "join_histories",
    "read_model",
    "run_stage",
    "seeded",
    "write_model",
]
