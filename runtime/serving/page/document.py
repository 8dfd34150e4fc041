"""``GET /``: one document that loads nothing from elsewhere, with a policy that forbids it.

Its parts lie beside this module; style and script are put in and named by their digests in the
Content-Security-Policy, so that nothing else can run (W3C, Content Security Policy Level 3,
8.3). What it shows it asks for as JSON and sets as text. No errors.
"""

from __future__ import annotations

from base64 import b64encode
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Final

from runtime.serving.http.message import Response

HTML: Final = b"text/html; charset=utf-8"
# In this order: what is defined in one is used in those after it.
_SCRIPTS: Final = ("asking", "drawing", "plane", "form", "table", "rate", "start")


@cache
def page() -> Response:
    """Put the page together, once.

    Returns:
        The page and the policy it is shown under.
    """
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
    return files("runtime.serving.page").joinpath(name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
