"""The page as it is sent, without a browser."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import TYPE_CHECKING, Literal

import pytest

from runtime.serving.ui.page import render_page

if TYPE_CHECKING:
    from serving_client import Served


@pytest.mark.parametrize("page", ["page", "docs"])
def test_policy_allows_only_this_page(page: Literal["page", "docs"]) -> None:
    """The digests in the policy are those of the one style and the one script."""
    response = render_page(page)
    text = b"".join(response.body).decode()
    policy = dict(response.headers)[b"content-security-policy"].decode()
    for tag in ("style", "script"):
        (inside,) = re.findall(rf"<{tag}[^>]*>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")
    assert not re.search(r"""(?:src|href)=["'](?:https?:|//)""", text)
    assert "innerHTML" not in text


def test_all_urls_are_relative(server: Served) -> None:
    """A proxy may serve the page, its requests and the described operations under a prefix."""
    text = b"".join(b"".join(render_page(page).body) for page in ("page", "docs")).decode()
    links = re.findall(r"""(?:src|href)=["']([^"'#]*)["']""", text)
    assert {"./", "docs", "v2", "openapi.json", "metrics"} <= set(links)
    assert not [one for one in links if one.startswith("/")]
    assert not re.search(r"""["'`]/(?:v2|predict|cards|metrics)""", text)
    assert server.ask("/openapi.json").json["servers"] == [{"url": "."}]


def test_docs_with_a_slash_are_redirected(server: Served) -> None:
    """Relative URLs would name other resources there."""
    answer = server.ask("/docs/?a")
    assert (answer.status, answer.headers["location"]) == (308, "../docs")


def test_cards_describe_served_models(server: Served) -> None:
    """The model cards are plain JSON."""
    (card,) = server.ask("/cards").json
    assert card["name"] == "simplenet"
    assert [one["name"] for one in card["features"]] == ["price", "rating"]
    assert card["classes"] == ["no", "yes"]
