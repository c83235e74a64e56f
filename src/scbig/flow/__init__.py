"""Flow matching and bridges: probability paths, and how to follow them."""

from scbig.flow._bridge import Bridge, BridgeSample, compute_bridge_loss
from scbig.flow._bridge_schedule import BridgeSchedule, make_bridge_schedule
from scbig.flow._flow_matching import LinearPath, PathSample, integrate, integrate_adaptive

__all__ = [
    "Bridge",
    "BridgeSample",
    "BridgeSchedule",
    "LinearPath",
    "PathSample",
    "compute_bridge_loss",
    "integrate",
    "integrate_adaptive",
    "make_bridge_schedule",
]
