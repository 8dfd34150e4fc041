"""What a user can choose between; light, so that a command line can name it at once."""

from __future__ import annotations

from typing import Literal

ProviderChoice = Literal["auto", "cuda", "cpu"]
BadRows = Literal["fail", "reject", "null"]
LogLevel = Literal["debug", "info", "error"]
Decimal = Literal[".", ","]
