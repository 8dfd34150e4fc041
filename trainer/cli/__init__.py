"""The command ``trainer``."""

from trainer.cli.app import app, main

__all__ = ["app", "main"]
