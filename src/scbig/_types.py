"""Types that several rooms share."""

from typing import Any

import numpy as np

# The two halves of a saved predictor: what JSON can hold, and what safetensors can.
Values = dict[str, Any]
Arrays = dict[str, np.ndarray]
