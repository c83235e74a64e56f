"""Optimal transport: exact pairs, entropic plans, and labels that respect capacities."""

from scbig.ot._entropic import (
    EntropicPlan,
    balanced_capacities,
    entropic_plan,
    round_to_capacities,
    sample_pairs,
    sinkhorn_cost,
)
from scbig.ot._exact import exact_coupling, pair_batches

__all__ = [
    "EntropicPlan",
    "balanced_capacities",
    "entropic_plan",
    "exact_coupling",
    "pair_batches",
    "round_to_capacities",
    "sample_pairs",
    "sinkhorn_cost",
]
