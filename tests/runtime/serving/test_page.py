"""The page, in a headless Chromium and without one."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np
import pytest
from browser import CHROMIUM, Browser
from serving_client import PATIENCE_S

from runtime.schema.features import Date, Feature
from runtime.serving.page.document import page

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from serving_client import Served

    from runtime.predictor import Predictor

ANSWERED = "document.getElementById('label').textContent !== '–'"
SCORED = "document.querySelector('#scored tbody')"
HOSTILE = "<img src=x onerror=\"document.title='taken'\">"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser for all tests of this file."""
    if CHROMIUM is None:
        pytest.skip("needs chromium on the PATH")
    with Browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


def _text(browser: Browser, element: str) -> str:
    return str(browser.run(f"document.getElementById('{element}').textContent"))


def _set(browser: Browser, *values: str) -> None:
    """Fill in the form's fields, as typing does."""
    browser.run(
        "document.querySelectorAll('#fields input').forEach("
        f"(one, at) => {{ one.value = {json.dumps(values)}[at]; }}); "
        "document.getElementById('form').dispatchEvent(new Event('input'))"
    )


def _until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280], ids=["phone", "desktop"])
def test_the_page_works_at_every_width_and_in_both_schemes(
    browser: Browser, server: Served, *, width: int, dark: bool
) -> None:
    """It answers, draws and fits; its console is empty; nothing comes from elsewhere."""
    here = f"http://127.0.0.1:{server.port}/"
    browser.show(here, width, dark=dark)
    browser.until(f"{ANSWERED} && document.querySelector('#plane .area')")
    browser.until("document.getElementById('rate').textContent !== '–'")
    assert browser.run("document.documentElement.scrollWidth <= window.innerWidth")
    assert browser.run("[...document.querySelectorAll('#legend li')].length") == 2
    paper = browser.run("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(18, 22, 27)") == dark
    assert browser.complaints() == []
    assert all(url.startswith((here, "data:")) for url in browser.requested())


def test_the_form_asks_the_model(browser: Browser, server: Served, predictor: Predictor) -> None:
    """What is typed is what the model answers; what is no number is told, not asked."""
    browser.show(f"http://127.0.0.1:{server.port}/", 1280, dark=False)
    browser.until(ANSWERED)
    answer = predictor.predict(np.array([[9.5, 4.5]]))
    _set(browser, "9.5", "4.5")
    told = f"probability {answer.probability[0]:.4f}"
    browser.until(f"document.getElementById('sure').textContent === '{told}'")
    assert _text(browser, "label") == f"popular: {answer.label[0]}"
    _set(browser, "abc", "4.5")
    assert _text(browser, "trouble") == "price: a number is needed"
    assert _text(browser, "label") == "–"
    _set(browser, "50", "4.5")
    assert _text(browser, "outside").startswith("price: outside the range of training")
    _set(browser, "1e39", "4.5")
    browser.until("document.getElementById('trouble').textContent.includes('out of float32')")


@pytest.mark.parametrize(
    ("typed", "days", "shown"),
    [
        ("2024-03-01", 1, "2024-03-01"),
        (" 2024-02-29 12:00 ", 0.5, "2024-02-29T12:00:00"),
        ("2024-02-29T12:00:00+06:00", 0.25, "2024-02-29T06:00:00"),
        ("2024-02-30x", None, None),
        ("7", None, None),
        ("", None, None),
    ],
)
def test_the_form_reads_dates_as_a_table_does(
    browser: Browser, typed: str, days: float | None, shown: str | None
) -> None:
    """A column of dates asks for dates; the model is sent days, and UTC where no zone is named."""
    script = files("runtime.serving.page").joinpath("drawing.js").read_text(encoding="utf-8")
    column, days_read = "{origin: '2024-02-29'}", json.dumps(typed)
    asked = f"[readValue({column}, {days_read}), showValue({column}, {days or 0})]"
    read, said = browser.run(f"(() => {{ {script}\n return {asked}; }})()")
    assert read == days
    assert shown in {said, None}


def test_a_date_that_is_typed_is_what_a_table_would_hold(
    browser: Browser, start_server: Callable[..., Served], make_bundle: Callable[..., Path]
) -> None:
    """The text goes to the model as it is; what the server refuses is told."""
    day = Feature("day", 0, 60, date=Date("2024-02-29"))
    served = start_server("--bundle", f"sales={make_bundle(['price', day])}")
    browser.show(f"http://127.0.0.1:{served.port}/", 1280, dark=False)
    browser.until(ANSWERED)
    _set(browser, "2.5", "2024-04-01T12:00:00+02:00")
    table = b"price,day\n2.5,2024-04-01T12:00:00+02:00\n"
    row = served.ask("/predict", table).body.decode().splitlines()[1].split(",")
    told = f"probability {float(row[-1]):.4f}"
    browser.until(f"document.getElementById('sure').textContent === '{told}'")
    _set(browser, "2.5", "2024-04-01 12:00:00.1234567890123")
    browser.until("document.getElementById('trouble').textContent.includes('not an ISO date')")
    _set(browser, "2.5", "tomorrow")
    assert _text(browser, "trouble") == "day: a date, as 2024-12-31, is needed"


def test_the_form_knows_categories_and_gaps(
    browser: Browser, start_server: Callable[..., Served], sales_bundle: Path
) -> None:
    """A column of categories is a choice; an empty field is a gap where there may be one."""
    served = start_server("--bundle", f"sales={sales_bundle}")
    browser.show(f"http://127.0.0.1:{served.port}/", 1280, dark=False)
    browser.until(ANSWERED)
    choices = "[...document.querySelectorAll('#fields select')]"
    texts = browser.run(f"{choices}.map((one) => [...one.options].map(({{text}}) => text))")
    assert texts == [["(missing)", "blå, mørk", "green", "red"], ["L", "M", "S"]]
    browser.run(f"{choices}.forEach((one, at) => {{ one.value = ['', 'M'][at]; }})")
    _set(browser, "9.75", "")
    table = b"price,colour,rating,size\n9.75,,,M\n"
    row = served.ask("/predict", table).body.decode().splitlines()[1].split(",")
    told = f"probability {float(row[-1]):.4f}"
    browser.until(f"document.getElementById('sure').textContent === '{told}'")
    assert _text(browser, "label") == f"sold: {row[-2]}"
    _set(browser, "", "")
    assert _text(browser, "trouble") == "price: a number is needed"
    assert browser.complaints() == []


def test_the_card_shows_dates(
    browser: Browser, start_server: Callable[..., Served], make_bundle: Callable[..., Path]
) -> None:
    """The range of a column of dates is two dates, as in the form, and not days since a date."""
    day = Feature("day", 0, 60, date=Date("2024-02-29"))
    served = start_server("--bundle", make_bundle(["price", day]))
    browser.show(f"http://127.0.0.1:{served.port}/", 1280, dark=False)
    browser.until(ANSWERED)
    cells = browser.run(
        "[...document.querySelectorAll('#columns tr:last-child > *')].map((one) => one.textContent)"
    )
    assert cells == ["day", "2024-02-29", "2024-04-29", "refused"]


def test_many_classes_are_told_apart(
    browser: Browser, start_server: Callable[..., Served], make_bundle: Callable[..., Path]
) -> None:
    """The most likely come first, the rest is told; no two regions have one colour.

    A class has its colour in the bars, too, and each bar has room beside the longest name.
    """
    classes = [f"class {at} {'of a long name ' * 5}" for at in range(20)]
    served = start_server("--bundle", make_bundle(classes=classes))
    browser.show(f"http://127.0.0.1:{served.port}/", 390, dark=False)
    browser.until("document.querySelector('#legend rect')")
    browser.until(
        "document.querySelector('#classes rect')?.getAttribute('class') === "
        "document.querySelector('#legend rect').getAttribute('class')"
    )
    shown = browser.run(
        "[...document.querySelectorAll('#classes .number')].map((one) => +one.textContent)"
    )
    assert len(shown) == 12
    assert shown == sorted(shown, reverse=True)
    assert _text(browser, "others") == "and 8 that are less likely"
    colours = browser.run(
        "[...document.querySelectorAll('#legend rect')].map((one) => one.getAttribute('class'))"
    )
    assert len(set(colours)) == len(colours) > 1
    narrowest = browser.run(
        "Math.min(...[...document.querySelectorAll('#classes .track')].map("
        "(one) => one.getBoundingClientRect().width))"
    )
    assert narrowest > 40
    told = browser.run("document.querySelector('#classes [role=listitem]').ariaLabel")
    assert told.startswith(f"{classes[int(told.split()[1])]}: 0.")
    assert browser.run("document.documentElement.scrollWidth <= window.innerWidth")


def test_pointing_at_the_plane_fills_in_the_form(browser: Browser, server: Served) -> None:
    """The regions are another way to say the row."""
    browser.show(f"http://127.0.0.1:{server.port}/", 1280, dark=False)
    browser.until("document.querySelector('#plane .area')")
    x, y, width = browser.run(
        "(({x, y, width}) => [x, y, width])(document.getElementById('plane')"
        ".getBoundingClientRect())"
    )
    for kind in ("mousePressed", "mouseReleased"):
        at = {"x": x + width * 0.95, "y": y + width * 0.05}
        browser.send("Input.dispatchMouseEvent", type=kind, **at, button="left", clickCount=1)
    browser.until("document.getElementById('label').textContent === 'popular: yes'")
    values = browser.run("[...document.querySelectorAll('#fields input')].map((one) => +one.value)")
    assert values[0] > 9
    assert values[1] > 4.5


def test_a_table_is_scored_shown_and_offered(
    browser: Browser, server: Served, tmp_path: Path
) -> None:
    """A file goes to /predict; its rows, also quoted and bad ones, are shown as they are."""
    table = tmp_path / "products.csv"
    table.write_text(f'price,rating,name\n9.5,4.5,"a ""b"", {HOSTILE}"\n2,1,c\nx,1,d\n')
    browser.show(f"http://127.0.0.1:{server.port}/", 390, dark=True)
    browser.until(ANSWERED)
    browser.choose_file("#file", table)
    browser.until(SCORED)
    assert _text(browser, "told") == "3 rows, 2 scored"
    cells = browser.run(
        "[...document.querySelectorAll('#scored tbody tr')].map("
        "(row) => [...row.cells].map((cell) => cell.textContent))"
    )
    assert [row[3] for row in cells] == ["yes", "no", ""]
    assert cells[0][2].startswith('a "b", <img')
    assert "price" in cells[2][5]
    kinds = browser.run(
        "[...document.querySelectorAll('#scored th')].map(({classList}) => "
        "classList.contains('text'))"
    )
    assert kinds == [False, False, True, True, False, True]  # one bad cell makes no text of it
    browser.send("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    browser.run("document.getElementById('download').click()")
    saved = tmp_path / "products.scored.csv"
    _until(saved.exists)
    assert saved.read_text().splitlines()[2].startswith("2,1,c,no,0.99")
    assert browser.run("document.querySelectorAll('#scored img').length") == 0


def test_a_dropped_table_is_scored(browser: Browser, server: Served) -> None:
    """Dropping is another way to choose; semicolons and returns are read as they come."""
    browser.show(f"http://127.0.0.1:{server.port}/", 1280, dark=False)
    browser.until(ANSWERED)
    browser.run(
        "(() => { const dropped = new DataTransfer(); dropped.items.add(new File("
        "['price;rating\\r\\n9.5;4.5\\r\\n'], 'a.csv')); document.getElementById('drop')"
        ".dispatchEvent(new DragEvent('drop', {dataTransfer: dropped, bubbles: true, "
        "cancelable: true})); })()"
    )
    browser.until(SCORED)
    assert _text(browser, "told") == "1 rows, 1 scored"
    cells = browser.run(
        "[...document.querySelectorAll('#scored tbody td')].map((cell) => cell.textContent)"
    )
    assert cells[:3] == ["9.5", "4.5", "yes"]


def test_a_table_that_does_not_fit_is_told(
    browser: Browser, server: Served, tmp_path: Path
) -> None:
    """The server's own words say what is wrong."""
    table = tmp_path / "other.csv"
    table.write_text("cost,rating\n1,2\n")
    browser.show(f"http://127.0.0.1:{server.port}/", 1280, dark=False)
    browser.until(ANSWERED)
    browser.choose_file("#file", table)
    browser.until("!document.getElementById('complaint').hidden")
    assert "column 'price' is missing" in _text(browser, "complaint")


def test_names_from_a_bundle_are_text(
    browser: Browser, start_server: Callable[..., Served], make_bundle: Callable[..., Path]
) -> None:
    """Whatever a bundle's names hold, the page shows it and never runs it; any width works."""
    names = [HOSTILE, "</script><script>document.title='taken'</script>", "c"]
    folder = make_bundle(names, [HOSTILE, "b"])
    served = start_server("--bundle", f"a/b ?#={folder}", "--bundle", f"other={folder}")
    browser.show(f"http://127.0.0.1:{served.port}/", 390, dark=False)
    browser.until(ANSWERED)
    assert browser.run("document.title") == "a/b ?#"
    assert browser.run("document.querySelectorAll('img').length") == 0
    assert browser.run("document.getElementById('regions').hidden") is True
    assert browser.run("document.documentElement.scrollWidth <= window.innerWidth")
    assert browser.run("document.querySelectorAll('#models option').length") == 2
    assert browser.complaints() == []
    assert served.end() == 0


def test_the_page_says_when_the_server_is_gone(
    browser: Browser, start_server: Callable[..., Served], bundle: Path
) -> None:
    """A page that stays open draws the rate, and does not pretend."""
    served = start_server("--bundle", bundle)
    browser.show(f"http://127.0.0.1:{served.port}/", 1280, dark=False)
    browser.until("document.querySelector('#state.good')")
    browser.until("document.querySelector('#trace path').getAttribute('d')?.includes('L')")
    assert served.end() == 0
    browser.until("document.getElementById('state').textContent.includes('does not answer')")


def test_the_page_goes_on_when_the_model_is_back(
    browser: Browser, start_server: Callable[..., Served], bundle: Path
) -> None:
    """A model that is unloaded is told, and so is that it is served again; the row stays."""
    served = start_server("--bundle", bundle)
    browser.show(f"http://127.0.0.1:{served.port}/", 1280, dark=False)
    browser.until(ANSWERED)
    served.ask("/v2/repository/models/simplenet/unload", b"")
    _set(browser, "7.5", "3")
    browser.until("document.getElementById('trouble').textContent.includes('is not loaded')")
    browser.until("document.querySelector('#state.bad')")
    served.ask("/v2/repository/models/simplenet/load", b"")
    browser.until("document.querySelector('#state.good')")
    browser.until("document.getElementById('label').textContent === 'popular: yes'")
    assert _text(browser, "trouble") == ""


def test_the_page_works_with_a_key(
    browser: Browser, start_server: Callable[..., Served], bundle: Path, tmp_path: Path
) -> None:
    """A browser asks for the key as a password, and then the page has it, too."""
    keys = tmp_path / "keys"
    keys.write_text("a-key-of-some-length\n")
    served = start_server("--bundle", bundle, "--api-key-file", keys)
    where = f"127.0.0.1:{served.port}/"
    browser.show(f"http://{where}", 1280, dark=False)
    assert browser.run("document.getElementById('form')") is None
    browser.show(f"http://me:a-key-of-some-length@{where}", 1280, dark=False)
    browser.show(f"http://{where}", 1280, dark=False)
    browser.until(ANSWERED)
    assert browser.complaints() == []
    assert served.end() == 0


def test_the_policy_allows_this_page_and_nothing_else() -> None:
    """The digests in the policy are those of the one style and the one script."""
    response = page()
    text = b"".join(response.body).decode()
    policy = dict(response.headers)[b"content-security-policy"].decode()
    for tag in ("style", "script"):
        (inside,) = re.findall(rf"<{tag}[^>]*>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")
    assert not re.search(r"""(?:src|href)=["'](?:https?:|//)""", text)
    assert "innerHTML" not in text


def test_cards_describe_what_is_served(server: Served) -> None:
    """The page's data is JSON for anyone."""
    (card,) = server.ask("/cards").json
    assert card["name"] == "simplenet"
    assert [one["name"] for one in card["features"]] == ["price", "rating"]
    assert card["classes"] == ["no", "yes"]
