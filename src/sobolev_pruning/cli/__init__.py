"""The command `sobolev-pruning`, one file a subcommand."""

from ._main import app, main

__all__ = ["app", "main"]
