"""``GET /``: a self-contained document under a policy that forbids loading anything else.

Style and script are inlined and named by their digests in the Content-Security-Policy, so that
nothing else runs (W3C, Content Security Policy Level 3, 8.3).
"""

from __future__ import annotations

from base64 import b64encode
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Final

from runtime.serving.http.messages import Response

HTML: Final = b"text/html; charset=utf-8"
# In order of definition before use.
_SCRIPTS: Final = ("api", "dom", "regions", "form", "table", "throughput", "main")


@cache
def render_page() -> Response:
    """Assemble the page and its security headers, once."""
    style = _read("style.css")
    script = "\n".join(_read(f"{name}.js") for name in _SCRIPTS)
    text = _read("page.html").replace("/* STYLE */", style).replace("/* SCRIPT */", script)
    policy = "; ".join(
        (
            "default-src 'none'",
            f"style-src {_digest(style)}",
            f"script-src {_digest(script)}",
            "connect-src 'self'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )
    headers = (
        (b"content-security-policy", policy.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
        (b"cache-control", b"no-cache"),
    )
    return Response(200, (text.encode(),), HTML, headers)


def _read(name: str) -> str:
    return files("runtime.serving.ui").joinpath(name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
