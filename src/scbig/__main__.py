"""`python -m scbig` is the command `scbig`."""

from scbig.cli import app

app(prog_name="scbig")
