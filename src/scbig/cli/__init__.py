"""The command `scbig`. Heavy libraries load inside the commands, so that help is quick."""

from typing import Annotated

import typer

from scbig import __version__
from scbig.cli._benchmark import benchmark
from scbig.cli._coverage import coverage
from scbig.cli._demo import demo
from scbig.cli._evaluate import evaluate
from scbig.cli._info import info
from scbig.cli._predict import predict
from scbig.cli._session import Verbosity
from scbig.cli._train import train

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(train)
app.command()(predict)
app.command()(evaluate)
app.command()(benchmark)
app.command()(demo)
app.command()(coverage)
app.command()(info)


def _show_version(is_wanted: bool) -> None:
    if is_wanted:
        typer.echo(f"scbig {__version__}")
        raise typer.Exit


@app.callback()
def main(
    context: typer.Context,
    _version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True),
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say only what matters.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error came up.")] = False,
) -> None:
    """Predict how single cells respond to genetic perturbations.

    Start with `scbig demo`, which needs no data. With your own screen:

    - scbig train screen.h5ad --out model
    - scbig predict model --perturbations KLF1,CEBPA+KLF1 --out predicted.h5ad
    - scbig evaluate screen.h5ad --predicted predicted.h5ad --out scores.csv
    - scbig benchmark screen.h5ad --task unseen --out bench

    `scbig info` shows versions and devices, `scbig info model` what a model is of, and
    `scbig --install-completion` has the shell complete commands and options.
    """
    context.obj = Verbosity(is_quiet=quiet, is_debug=debug)
