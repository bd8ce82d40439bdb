"""The commands of `tenantry`. `main` runs one and returns its exit status; each command is loaded when it is called."""

from tenantry.cli.commands import main

__all__ = ["main"]
