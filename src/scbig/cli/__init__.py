"""The command `scbig`. Heavy libraries load inside the commands, so that help is quick."""

from scbig.cli._app import app

__all__ = ["app"]
