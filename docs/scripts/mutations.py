"""Take steps of the recipe out, one by one, and see that a test notices.

    python docs/scripts/mutations.py [ROOT] [--only NAME ...]

Each change is made to a copy of ``src``; the tests named beside it then run against the copy. The
exit status is 1 when a change is not caught. After a move of the code, adapt ``old`` and ``new``:
a text that is not found exactly once is an error, not a change that nothing catches.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

RECIPE = "tests/model/test_recipe_is_pinned.py"
CEILING = "tests/metrics/test_ceiling_halves.py"
TRANSPORT = "tests/ot/test_entropic_batch_error.py"
SHARES = "tests/cells/test_responders.py"
RESPONDERS = "tests/predictor/test_responders.py"
SHAPES = "tests/model/dualstream/test_dualstream_shape.py"
BRIDGE = "tests/model/strand/test_strand_shape.py"
JOINT = "tests/model/strand/test_strand_ablations.py"


@dataclass(frozen=True)
class Change:
    """A step that is taken out: ``old`` becomes ``new`` in ``file``, and ``tests`` are run."""

    name: str
    file: str
    old: str
    new: str
    tests: str = RECIPE


ALL_EFFECTS = (
    'kernel = choose_kernel(__import__("scbig.data").data.compute_effects('
    "task.cells.expression, task.cells.screen), "
)

CHANGES = (
    Change(
        "shares of responders used without a gain",
        "scbig/cells/_mixtures.py",
        "return bool(gain.mean() > _MIN_GAIN * error)",
        "return True",
        SHARES,
    ),
    Change(
        "responders told along the axis of the same cells",
        "scbig/cells/_mixtures.py",
        "for pair in ((first, second), (second, first))",
        "for pair in ((first, first), (second, second))",
        SHARES,
    ),
    Change(
        "responders told and not drawn",
        "scbig/data/_make_cells.py",
        "strength = draw_strength(len(drawn), share, rng) if share < 1 else None",
        "strength = None",
        RESPONDERS,
    ),
    Change(
        "transport pairing of the flow left out",
        "scbig/model/scbig/_stages.py",
        "        z0, z1 = self._pair(z0, z1)\n",
        "",
    ),
    Change(
        "groups anchored in sample, seen targets held out",
        "scbig/regression/_unseen.py",
        "UnseenAnchor(anchor.leave_one_out(), features, None)",
        "UnseenAnchor(anchor.predict(anchor.effects.targets, anchor.effects.context), "
        "anchor.predict_features(anchor.effects.targets, anchor.effects.context)"
        " if has_features else None, None)",
    ),
    Change(
        "groups anchored in sample, unseen targets held out",
        "scbig/regression/_unseen.py",
        "UnseenAnchor(anchor.leave_target_out(forgotten), features, forgotten)",
        "UnseenAnchor(anchor.predict(anchor.effects.targets, anchor.effects.context), "
        "anchor.predict_features(anchor.effects.targets, anchor.effects.context)"
        " if has_features else None, forgotten)",
    ),
    Change(
        "left-out target still marked as seen",
        "scbig/model/scbig/_module.py",
        "is_seen[row, group.index(target)] = False",
        "is_seen[row, group.index(target)] = True",
    ),
    Change(
        "kernel chosen on all effects",
        "scbig/predictor/_method.py",
        "kernel = choose_kernel(task.measured, ",
        ALL_EFFECTS,
    ),
    Change(
        "control mean of the wrong context",
        "scbig/data/_effects.py",
        "self.control_mean[row], elsewhere",
        "self.control_mean[0 * row], elsewhere",
    ),
    Change(
        "old control means kept in continued training",
        "scbig/data/_effects.py",
        "control_mean=np.where(np.isnan(new.control_mean), known, new.control_mean),",
        "control_mean=np.where(np.isnan(known), new.control_mean, known),",
    ),
    Change(
        "denoising forgotten by a loaded SCBIG",
        "scbig/model/scbig/_config.py",
        'Denoising(**values["denoising"])',
        "Denoising()",
    ),
    Change(
        "denoising forgotten by a loaded DualStreamMamba",
        "scbig/model/dualstream/_config.py",
        'Denoising(**values["denoising"])',
        "Denoising()",
    ),
    Change(
        "shapes of DualStreamMamba learned from control cells",
        "scbig/model/dualstream/_method.py",
        "for rows in batch[1:])",
        "for rows in (batch[1], batch[1]))",
        SHAPES,
    ),
    Change(
        "shapes of DualStreamMamba kept though no change is better",
        "scbig/model/dualstream/_method.py",
        'Stopping("shape_validation_score", SHAPE_PATIENCE, initial=score())',
        'Stopping("shape_validation_score", SHAPE_PATIENCE)',
        SHAPES,
    ),
    Change(
        "shapes of DualStreamMamba stopping on means",
        "scbig/model/dualstream/_method.py",
        "score = partial(by_shape.score, shaper)",
        "score = lambda: 0.0",
        SHAPES,
    ),
    Change(
        "streams of DualStreamMamba trained for shapes",
        "scbig/model/dualstream/_module.py",
        "        with torch.no_grad():\n            tokens, _, _ = self._run(",
        "        if True:\n            tokens, _, _ = self._run(",
        "tests/model/dualstream/test_dualstream_networks.py",
    ),
    Change(
        "dropout in the encoder while the flow is trained",
        "scbig/model/scbig/_stages.py",
        "        self.module.encoder.eval()\n",
        "",
    ),
    Change(
        "dropout in the decoder while the flow is trained",
        "scbig/model/scbig/_stages.py",
        "        self.module.decoder.eval()\n",
        "",
    ),
    Change(
        "second half of the ceiling divided by the size of the first",
        "scbig/metrics/_score.py",
        "second = Moments(n_cells - first.n_cells, ",
        "second = Moments(first.n_cells, ",
        CEILING,
    ),
    Change(
        "marginal error of a batch averaged",
        "scbig/ot/_entropic.py",
        ".abs().sum(-1).max())",
        ".abs().sum(-1).mean())",
        TRANSPORT,
    ),
    Change(
        "bridge stopped on means alone",
        "scbig/model/strand/_method.py",
        "validate = prepare_score(self, task)",
        'validate = prepare_score(self, __import__("dataclasses").replace(task, shape=None))',
        BRIDGE,
    ),
    Change(
        "untrained bridge without a score",
        "scbig/model/strand/_stages.py",
        "initial = validate() if config.use_anchor else -math.inf",
        "initial = -math.inf",
        BRIDGE,
    ),
    Change(
        "mean of the bridge pinned in latents alone",
        "scbig/model/strand/_module.py",
        "return deviation - deviation.mean(1, keepdim=True)",
        "return deviation",
        BRIDGE,
    ),
    Change(
        "mean of the bridge pinned after decoding alone",
        "scbig/model/strand/_module.py",
        "        ends = ends - (ends - source).mean(1, keepdim=True)\n",
        "",
        BRIDGE,
    ),
    Change(
        "joint bridge scored by the first vectors of loci",
        "scbig/model/strand/_method.py",
        "validate = partial(self._score_means, task) if len(task.judge) else None",
        'validate = prepare_score(self, __import__("dataclasses").replace(task, shape=None))',
        JOINT,
    ),
)


def main() -> int:
    """Make the chosen changes and print what caught them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    here = Path(__file__).resolve().parents[2]
    parser.add_argument("root", type=Path, nargs="?", default=here, help="root of the repository")
    parser.add_argument("--only", nargs="*", help="parts of the names of changes to make")
    arguments = parser.parse_args()
    wanted = [
        change
        for change in CHANGES
        if not arguments.only or any(part in change.name for part in arguments.only)
    ]
    root = arguments.root.resolve()
    for change in wanted:
        mutate(root / "src", change)  # say at once which texts have to be adapted
    # Without a change, the tests pass: or else any change would seem to be caught.
    for tests in sorted({change.tests for change in wanted}):
        if failed := run_tests(root, root / "src", tests):
            raise SystemExit(f"Without any change {failed[0]} fails.")
    console = Console(width=150, markup=False)  # parameters of tests stand in brackets
    table = Table("change", "caught", "first test that fails", title="Steps left out")
    is_caught = []
    for change in wanted:
        failed = try_change(root, change)
        is_caught.append(bool(failed))
        row = change.name, "yes" if failed else "NO", (failed or ["-"])[0]
        console.print(": ".join(row))  # as it comes, for each takes seconds
        table.add_row(*row)
    console.print(table)
    return 0 if all(is_caught) else 1


def try_change(root: Path, change: Change) -> list[str]:
    """Make a change to a copy of the sources and return the tests that fail."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "src"
        shutil.copytree(root / "src", copy, ignore=shutil.ignore_patterns("__pycache__"))
        (copy / change.file).write_text(mutate(root / "src", change), encoding="utf-8")
        return run_tests(root, copy, change.tests)


def mutate(source: Path, change: Change) -> str:
    """Return the text of the changed file."""
    path = source / change.file
    if not path.is_file():
        raise SystemExit(f"{change.name}: there is no {change.file}. Adapt CHANGES.")
    text = path.read_text("utf-8")
    if (n_found := text.count(change.old)) != 1:
        raise SystemExit(
            f"{change.name}: {change.old.strip()!r} stands {n_found} times in {change.file}, "
            "not once. Adapt CHANGES."
        )
    return text.replace(change.old, change.new)


def run_tests(root: Path, source: Path, tests: str) -> list[str]:
    """Run tests against sources and return those that fail, by their names."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-rf", "-p", "no:cacheprovider", tests]
    # Neither an installed copy nor the one beside the tests is meant.
    variables = {"PYTHONPATH": str(source), "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    result = subprocess.run(
        command,
        cwd=root,
        env=os.environ | variables | {"PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    failed = re.findall(r"^FAILED \S+::(\S+)", result.stdout, flags=re.MULTILINE)
    # Tests that could not be run at all have shown nothing.
    if result.returncode not in (0, 1) or (result.returncode == 1 and not failed):
        raise SystemExit(f"{tests} could not be run:\n{result.stdout}{result.stderr}")
    return failed


if __name__ == "__main__":
    sys.exit(main())
