"""What is said to the model repository: which models are listed, how one is loaded.

In: a body. Out: a ``Wish``. Raises ``RequestError`` that names the place.
"""

from __future__ import annotations

from typing import Final

import msgspec

from runtime.errors import OversizeError
from runtime.serving.protocol.messages import decode

_MOST_WORDS: Final = 64 * 1024  # bytes of a body that is no data


class Wish(msgspec.Struct):
    """A wish; what it says beside is passed over.

    Attributes:
        ready: list only what is ready.
        parameters: of loading or unloading.
    """

    ready: bool = False
    parameters: dict[str, object] | None = None


_WISH: Final = msgspec.json.Decoder(Wish)


def parse_repository_wish(body: bytes | bytearray) -> Wish:
    """Read a body that is a JSON object, or nothing.

    Args:
        body: of the request.

    Returns:
        The wish; the usual one where the body is empty.

    Raises:
        RequestError: when it is no such object.
        OversizeError: when it is far larger than a wish can be.
    """
    if len(body) > _MOST_WORDS:
        raise OversizeError(f"the body is larger than the {_MOST_WORDS} bytes that suffice here")
    wish: Wish = decode(_WISH, body, "the body") if body else Wish()
    return wish
