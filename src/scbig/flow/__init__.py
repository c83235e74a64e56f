"""Flow matching and bridges: probability paths, and how to follow them."""

from scbig.flow._bridge import Bridge
from scbig.flow._bridge_loss import BridgeSample, compute_bridge_loss
from scbig.flow._bridge_schedule import BridgeSchedule, make_bridge_schedule
from scbig.flow._integrate import integrate, integrate_adaptive
from scbig.flow._paths import LinearPath, PathSample

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
