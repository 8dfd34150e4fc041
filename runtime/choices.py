"""Allowed values of options; imports nothing, so that the command line starts fast."""

from __future__ import annotations

from typing import Literal

ProviderChoice = Literal["auto", "cuda", "cpu"]
BadRows = Literal["fail", "reject", "null"]
LogLevel = Literal["debug", "info", "error"]
Decimal = Literal[".", ","]
EngineChoice = Literal["ray"]
