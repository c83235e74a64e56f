"""Flow matching: probability paths and the integration of a velocity."""

from scbig.flow._integrate import integrate, integrate_adaptive
from scbig.flow._paths import LinearPath, PathSample

__all__ = ["LinearPath", "PathSample", "integrate", "integrate_adaptive"]
