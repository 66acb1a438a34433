"""`python -m bicoder`, where the command `bicoder` is not on the path."""

from bicoder.cli.main import bicoder

raise SystemExit(bicoder())
