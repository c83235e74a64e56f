"""What a user sees: lines and a bar without any set-up, no noise, and nothing changed for good."""

import json
import logging
import os
import pty
import re
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import scvi
from anndata import AnnData

from scbig import _console, benchmark
from scbig._console import (
    FollowingLogger,
    LineHandler,
    TrainingBar,
    hush_libraries,
    quieten,
    show_lines,
    show_training,
)
from scbig.data import simulate_screen
from scbig.model import SCBIG, EffectRegression
from scbig.model.scbig._stages import AutoencoderPlan
from scbig.splits import make_split

LOG = logging.getLogger("scbig.somewhere")
SCRIPT = """
from scbig.data import simulate_screen
from scbig.model import SCBIG
adata = simulate_screen(300, 40, n_programs=4, n_targets=10, n_doubles=2, seed=0)
SCBIG.setup_anndata(adata)
model = SCBIG(adata, n_programs=4)
model.train(max_epochs=1, max_steps=3, accelerator="cpu")
model.predict(perturbations=["GENE0001"])
"""


class Handlers(list):
    """Those of the root logger, without pytest's, which come back with each phase of a test."""

    def append(self, handler: logging.Handler) -> None:
        if not type(handler).__module__.startswith("_pytest"):
            super().append(handler)


@pytest.fixture
def unset(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Logging as it is when nobody has set it up; pytest has given the root handlers."""
    monkeypatch.setattr(logging.getLogger(), "handlers", Handlers())
    logger = logging.getLogger("scbig")
    monkeypatch.setattr(logger, "handlers", [LineHandler()])
    clear_cache()
    yield monkeypatch
    scvi.settings.verbosity = logging.INFO
    logger.setLevel(logging.NOTSET)


def clear_cache() -> None:
    """As a call of setLevel does."""
    logging.getLogger("scbig").setLevel(logging.getLogger("scbig").level)


@pytest.fixture(scope="module")
def screen() -> AnnData:
    adata = simulate_screen(300, 40, n_programs=4, n_targets=10, n_doubles=2, seed=0)
    EffectRegression.setup_anndata(adata)
    return adata


def test_lines_are_shown_without_any_set_up(unset, capsys):
    LOG.debug("too much")
    LOG.info("a line with 100% of [brackets]")
    LOG.warning("a warning")
    assert capsys.readouterr() == ("", "a line with 100% of [brackets]\nWarning: a warning\n")


def test_a_notebook_has_them_as_output(unset, capsys):
    unset.setattr(_console, "is_notebook", lambda: True)
    LOG.info("a line")
    assert capsys.readouterr() == ("a line\n", "")


@pytest.mark.parametrize(
    ("verbosity", "shown"),
    [
        (logging.DEBUG, "diew"),
        ("INFO", "iew"),
        (logging.WARNING, "ew"),
        ("ERROR", "e"),
        (logging.CRITICAL, ""),
    ],
)
def test_lines_follow_the_verbosity_of_scvi_tools(unset, capsys, verbosity, shown):
    scvi.settings.verbosity = verbosity
    for letter, level in {"d": 10, "i": 20, "w": 30, "e": 40}.items():
        LOG.log(level, letter)
    assert set(re.findall(r"\b[diew]\b", capsys.readouterr().err)) == set(shown)


@pytest.mark.parametrize("where", ["", "scbig"])
def test_who_sets_logging_up_has_each_line_once(unset, capsys, where):
    seen: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: seen.append(record.getMessage())  # type: ignore[method-assign]
    chosen = logging.getLogger(where)
    unset.setattr(chosen, "handlers", [*chosen.handlers, handler])
    unset.setattr(logging.getLogger(), "level", logging.INFO)
    clear_cache()
    LOG.info("a line")
    assert (seen, capsys.readouterr()) == (["a line"], ("", ""))


@pytest.mark.parametrize(
    ("level", "verbosity", "in_notebook", "expected"),
    [
        (logging.WARNING, logging.INFO, False, logging.WARNING),
        (logging.WARNING, logging.INFO, True, logging.INFO),  # a host's handler, as Colab has
        (logging.ERROR, logging.INFO, True, logging.ERROR),
        (logging.DEBUG, logging.INFO, False, logging.DEBUG),
        (logging.INFO, logging.ERROR, False, logging.ERROR),
    ],
)
def test_the_level_is_that_of_the_root_where_it_has_handlers(
    unset, level, verbosity, in_notebook, expected
):
    root = logging.getLogger()
    unset.setattr(root, "handlers", [logging.NullHandler()])
    unset.setattr(root, "level", level)
    unset.setattr(_console, "is_notebook", lambda: in_notebook)
    scvi.settings.verbosity = verbosity
    assert LOG.getEffectiveLevel() == expected


def test_a_handler_of_absl_is_nobodys_wish(unset):
    handler_class = type("ABSLHandler", (logging.NullHandler,), {"__module__": "absl.logging"})
    unset.setattr(logging.getLogger(), "handlers", [handler_class()])
    unset.setattr(logging.getLogger(), "level", logging.WARNING)
    clear_cache()
    assert LOG.getEffectiveLevel() == logging.INFO


def test_a_level_that_is_set_holds_and_one_that_is_put_back_does_not(unset, caplog):
    logger = logging.getLogger("scbig")
    assert isinstance(logger, FollowingLogger)
    logger.setLevel(logging.ERROR)
    scvi.settings.verbosity = logging.DEBUG
    assert LOG.getEffectiveLevel() == logging.ERROR
    logger.setLevel(logging.NOTSET)
    with caplog.at_level(logging.CRITICAL, logger="scbig"):
        assert LOG.getEffectiveLevel() == logging.CRITICAL
    scvi.settings.verbosity = logging.WARNING
    assert LOG.getEffectiveLevel() == logging.WARNING


def test_lines_are_shown_once_however_often_that_is_asked(unset, capsys):
    show_lines()
    show_lines()
    LOG.info("a line")
    assert capsys.readouterr().err == "a line\n"


def test_libraries_are_hushed_for_the_call_alone(capsys):
    chatty = [logging.getLogger(name) for name in _console._CHATTY]
    levels, filters = [one.level for one in chatty], list(warnings.filters)
    with hush_libraries():
        for one in chatty:
            one.warning("try this")
        warnings.warn_explicit("old", FutureWarning, "file.py", 1, module="lightning.pytorch.x")
        warnings.warn_explicit("odd", UserWarning, "file.py", 1, module="anndata._core")
        with pytest.warns(UserWarning, match="mine"):
            warnings.warn_explicit("mine", UserWarning, "file.py", 1, module="scbig.data._x")
    assert [one.level for one in chatty] == levels
    assert warnings.filters == filters
    assert capsys.readouterr() == ("", "")


def test_quiet_parts_show_warnings_alone(unset, capsys):
    with quieten():
        LOG.info("a line")
        LOG.warning("a warning")
        with quieten(logging.INFO):
            LOG.info("still not")
    LOG.info("again")
    assert capsys.readouterr().err == "Warning: a warning\nagain\n"


class Terminal:
    """Keeps what is written to a terminal."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> None:
        self.text += text

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return True

    @property
    def screen(self) -> str:
        """What is to be seen in the end."""
        return "\n".join(
            line.split("\r")[-1].replace("\x1b[K", "") for line in self.text.split("\n")
        )


def test_the_bar_says_the_stage_and_the_time_that_is_left(unset):
    terminal, now = Terminal(), [100.0]
    unset.setattr(sys, "stderr", terminal)
    unset.setattr(_console, "time", SimpleNamespace(monotonic=lambda: now[0]))
    with show_training("SCBIG") as bar:
        bar.begin("regression of effects")
        assert terminal.screen == "SCBIG, regression of effects ..."
        bar.begin("flow", 20)
        for _ in range(5):
            now[0] += 3
            bar.advance()
        # 5 of 20 epochs in 15 s: 45 s for the other 15.
        assert re.fullmatch(
            r"SCBIG, flow:  25%\|.+\| 5/20 epochs, at most 00:45 left", terminal.screen
        )
        assert len(terminal.screen) <= 72
        LOG.info("a line")
        assert terminal.screen == "a line\n"
        bar.advance()
    assert terminal.screen == "a line\n"


class Handle:
    """Stands for the output of a notebook's cell."""

    def __init__(self) -> None:
        self.pictures: list[str] = []

    def update(self, picture: dict[str, str], *, raw: bool) -> None:
        self.pictures.append(picture["text/plain"])


@pytest.mark.parametrize(
    ("error", "last"),
    [(None, "SCBIG: trained in 7 s."), (KeyError, "SCBIG: stopped at flow, after 7 s.")],
)
def test_in_a_notebook_one_line_of_output_changes(unset, error, last):
    handle, now = Handle(), [0.0]
    unset.setattr(_console, "is_notebook", lambda: True)
    unset.setattr(_console, "time", SimpleNamespace(monotonic=lambda: now[0]))
    unset.setattr(TrainingBar, "_open", lambda self, picture: handle)
    try:
        with show_training("SCBIG") as bar:
            bar.begin("start")
            bar.begin("flow", 2)
            now[0] = 7.0
            bar.advance()
            if error is not None:
                raise error
    except KeyError:
        pass
    assert handle.pictures[0].startswith("SCBIG, flow:   0%|")
    assert handle.pictures[-1] == last


def test_a_file_has_no_bar(unset, capsys):
    with show_training("SCBIG") as bar:
        bar.begin("flow", 2)
        bar.advance()
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("model_class", [EffectRegression, SCBIG])
def test_without_a_bar_nothing_is_shown_at_all(unset, capfd, screen, model_class):
    adata = screen.copy()
    model_class.setup_anndata(adata)
    model, terminal = model_class(adata), Terminal()
    capfd.readouterr()
    unset.setattr(sys, "stderr", terminal)
    budget = {} if model_class is EffectRegression else {"max_epochs": 1, "max_steps": 2}
    model.train(use_progress_bar=False, **budget)
    assert (terminal.text, capfd.readouterr()) == ("", ("", ""))
    model.train(**budget)
    assert terminal.screen.splitlines()[-1] == str(model.comparison_)
    assert f"{model_class.__name__}, last fit ..." in terminal.text
    assert capfd.readouterr() == ("", "")


def test_an_interruption_is_one_and_does_not_deafen_the_process(unset):
    before = signal.getsignal(signal.SIGINT)

    def stop_as_lightning_does() -> None:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            sys.exit(1)

    with pytest.raises(KeyboardInterrupt), show_training("SCBIG"):
        stop_as_lightning_does()
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.slow
def test_a_fresh_process_shows_these_lines_and_nothing_else(tmp_path: Path):
    """In a pipe, and on a terminal; whatever libraries say would be in between."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True
    )
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert lines[0].startswith("Simulated 300 cells")
    assert "as perturbations" in lines[1]
    assert re.search("SCBIG (beats|does not beat)", lines[-1])
    known = (
        *("Simulated", "Took", "Read", "In 1", "10 of 10 targets"),
        *("Training networks on", "Pearson delta", "SCBIG"),
    )
    assert [line for line in lines[2:] if not line.startswith(known)] == []
    written: list[bytes] = []

    def read(fd: int) -> bytes:
        written.append(os.read(fd, 4096))
        return written[-1]

    pty.spawn([sys.executable, "-c", SCRIPT], read)
    text = b"".join(written).decode()
    terminal = Terminal()
    terminal.write(text.replace("\r\n", "\n"))
    shown = [line for line in terminal.screen.splitlines() if line]
    assert re.sub("[0-9.]+", "", "\n".join(shown)) == re.sub("[0-9.]+", "", "\n".join(lines))
    for stage in ("regression of effects", "autoencoder", "flow", "last fit"):
        assert f"SCBIG, {stage}" in text


def test_an_interrupted_training_leaves_the_model_as_it_was(unset, screen, monkeypatch):
    def interrupt(self, batch, batch_idx):
        raise KeyboardInterrupt

    adata, before = screen.copy(), signal.getsignal(signal.SIGINT)
    SCBIG.setup_anndata(adata)
    model = SCBIG(adata)
    monkeypatch.setattr(AutoencoderPlan, "training_step", interrupt)
    with pytest.raises(KeyboardInterrupt):
        model.train(max_epochs=1, max_steps=2, accelerator="cpu")
    assert (model.is_trained, model.history) == (False, {})
    assert signal.getsignal(signal.SIGINT) is before


def test_parts_of_a_benchmark_do_not_tell_of_themselves(unset, capsys, screen, tmp_path: Path):
    settings = benchmark.BenchmarkSettings(metrics=("mse",), n_cells=20, n_resamples=10)
    split = make_split(screen, "unseen", seed=0)
    result = benchmark.run(
        screen, [split], ["ridge", "scbig_anchor"], out=tmp_path, settings=settings
    )
    assert result.scores["status"].str.startswith("ok").all()
    shown = capsys.readouterr()
    told = ("as perturbations", "held-out condition", "trained in")
    assert [text for text in told if text in shown.err + shown.out] == []


@pytest.mark.slow
def test_a_notebook_shows_these_lines_and_nothing_else():
    for name in ("nbformat", "nbclient", "ipykernel"):
        pytest.importorskip(name)
    # A process of its own: a client has a loop of events.
    code = (
        "import json, nbformat, nbclient, sys\n"
        "cells = [nbformat.v4.new_code_cell(text) for text in sys.argv[1:]]\n"
        "book = nbformat.v4.new_notebook(cells=cells)\n"
        "nbclient.NotebookClient(book, timeout=600, kernel_name='python3').execute()\n"
        "print(json.dumps([cell.outputs for cell in book.cells]))"
    )
    command = [sys.executable, "-c", code, "import scanpy", SCRIPT]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    first, second = json.loads(done.stdout)
    assert first == []
    [bar] = [output for output in second if output["output_type"] == "display_data"]
    assert re.fullmatch(r"SCBIG: trained in \d+ s\.", bar["data"]["text/plain"])
    streams = [output for output in second if output["output_type"] == "stream"]
    # What the last line of the cell returns is shown, too.
    [value] = [output for output in second if output["output_type"] == "execute_result"]
    assert value["data"]["text/plain"].startswith("AnnData object")
    assert len(streams) + 2 == len(second)
    assert {output["name"] for output in streams} == {"stdout"}
    lines = "".join(output["text"] for output in streams).splitlines()
    known = (
        *("Simulated", "Took", "Read", "In 1", "10 of 10 targets"),
        *("Training networks on", "Pearson delta", "SCBIG"),
    )
    assert [line for line in lines if not line.startswith(known)] == []
    assert lines[-1].startswith("SCBIG ")


@pytest.mark.parametrize("is_training", [False, True])
@pytest.mark.parametrize("verbosity", [logging.INFO, logging.ERROR])
@pytest.mark.parametrize("seconds", [0.1, 4.0])
def test_long_work_shows_how_far_it_is(unset, capsys, seconds, verbosity, is_training):
    unset.setattr(sys.stderr, "isatty", lambda: True)
    now = iter(range(10_000))
    unset.setattr(_console.time, "monotonic", lambda: seconds * next(now) / 4)
    unset.setattr(_console, "_find_level", lambda: verbosity)
    around = show_training("X", is_shown=False) if is_training else hush_libraries()
    with around, _console.show_steps("Making cells", 8, "draws") as advance:
        for _ in range(4):
            advance(2)
    shown = capsys.readouterr().err
    is_shown = seconds > 1 and verbosity == logging.INFO and not is_training
    assert ("Making cells" in shown) == is_shown
    if is_shown:
        assert "8/8 draws, at most 00:00 left" in shown
        assert shown.endswith("\r\x1b[K")
