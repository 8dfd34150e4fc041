"""``python -m runtime``."""

from runtime.cli.app import main

main()
