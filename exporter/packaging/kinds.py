"""What a bundle can be packaged for; imports nothing, so that the command line starts fast."""

from __future__ import annotations

from typing import Literal

Kind = Literal["image", "kserve", "kubernetes", "mlflow", "oci", "trainjob", "triton"]
