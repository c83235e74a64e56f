"""The first seconds: `import scbig` loads next to nothing, a model little beyond scvi-tools."""

import statistics
import subprocess
import sys

import pytest

CODE = "import time; start = time.perf_counter(); {}; print(time.perf_counter() - start)"
SCVI, OURS = "from scvi.model import SCVI", "from scbig.model import SCBIG"


def run(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout


def test_importing_scbig_loads_no_heavy_library():
    heavy = ("torch", "scvi", "anndata", "scanpy", "pandas", "numpy", "scipy", "rich", "IPython")
    code = f"import sys, scbig; print(*[name for name in {heavy} if name in sys.modules])"
    assert run(code).split() == []


@pytest.mark.slow
def test_a_model_is_imported_about_as_fast_as_that_of_scvi_tools():
    # In turn, as a machine that others use gets slower and faster.
    pairs = [[float(run(CODE.format(line))) for line in (SCVI, OURS)] for _ in range(3)]
    theirs, ours = map(statistics.median, zip(*pairs, strict=True))
    assert ours < 1.5 * theirs, f"{ours:.1f} s against {theirs:.1f} s of scvi-tools"
