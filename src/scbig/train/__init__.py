"""Stages, callbacks and seeds of training."""

from scbig.train._callbacks import KeepBest
from scbig.train._seed import seeded
from scbig.train._stage import Hardware, History, Schedule, join_histories, run_stage

__all__ = ["Hardware", "History", "KeepBest", "Schedule", "join_histories", "run_stage", "seeded"]
