"""The page in a headless Chromium, driven by Playwright."""

from __future__ import annotations

import datetime as dt
import functools
import gzip
import json
import re
import shutil
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from playwright.sync_api import Browser, Error, Page, Route, expect, sync_playwright

from runtime.schema.date_formats import NAMES
from runtime.schema.features import Date, Feature, OneHot
from runtime.serving.openapi.operations import OPERATIONS
from runtime.tables.dates import days_since, read_instants

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from serving_client import Served

    from runtime.predictor import Predictor

    Show = Callable[..., Page]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE_MS = 60_000  # a busy machine is slow, not wrong
HOSTILE = "<img src=x onerror=\"document.title='injected'\">"
PREDICTION = re.compile(r"\w+: .+")  # the label's text once there is one

expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="module")  # no wider: its event loop is this thread's while it is open
def browser() -> Iterator[Browser]:
    """The browser of the system; each test has a profile of its own in it."""
    if CHROMIUM is None:
        pytest.skip("needs chromium on the PATH")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def console_errors() -> list[str]:
    """What the test's pages wrote to their consoles, and errors that they did not catch."""
    return []


@pytest.fixture
def urls() -> list[str]:
    """URLs that the test's pages requested."""
    return []


@pytest.fixture
def show(browser: Browser, console_errors: list[str], urls: list[str]) -> Iterator[Show]:
    """``show(served, width=1280, dark=False)``: the page of a server, in a new profile."""
    contexts = []

    def open_page(served: Served, width: int = 1280, *, dark: bool = False) -> Page:
        phone = width < 600
        context = browser.new_context(
            viewport={"width": width, "height": 844 if phone else 900},
            is_mobile=phone,
            color_scheme="dark" if dark else "light",
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("console", lambda message: console_errors.append(message.text))
        page.on("pageerror", lambda error: console_errors.append(str(error)))
        page.on("request", lambda request: urls.append(request.url))
        page.goto(_home(served))
        return page

    yield open_page
    for context in contexts:
        context.close()


def _script(*names: str) -> str:
    """Scripts of the page."""
    folder = files("runtime.serving.ui")
    return "\n".join(folder.joinpath(f"{name}.js").read_text(encoding="utf-8") for name in names)


def _home(served: Served) -> str:
    return f"http://127.0.0.1:{served.port}/"


def _set(page: Page, *values: str) -> None:
    """Fill in the form's text fields."""
    for field, value in zip(page.locator("#fields input").all(), values, strict=True):
        field.fill(value)


def _fits(page: Page) -> bool:
    """Whether nothing overflows the window horizontally."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))


def _answer(served: Served, table: str) -> tuple[str, str]:
    """Label and probability of a table's first row by ``/predict``, as the page shows them."""
    row = served.ask("/predict", table.encode()).body.decode().splitlines()[1]
    label, probability = row.split(",")[-2:]
    return label, f"probability {float(probability):.4f}"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280], ids=["phone", "desktop"])
def test_page_works_at_every_width_and_color_scheme(
    show: Show,
    server: Served,
    console_errors: list[str],
    urls: list[str],
    *,
    width: int,
    dark: bool,
) -> None:
    """It predicts, draws and fits; its console is empty; nothing is loaded from elsewhere."""
    page = show(server, width, dark=dark)
    expect(page.locator("#label")).to_have_text(PREDICTION)
    expect(page.locator("#plane .area").first).to_be_attached()
    expect(page.locator("#rate")).not_to_have_text("–")
    assert _fits(page)
    expect(page.locator("#legend li")).to_have_count(2)
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(18, 22, 27)") == dark
    assert console_errors == []
    assert urls
    assert all(url.startswith((_home(server), "data:")) for url in urls)


def test_page_works_behind_a_prefix(show: Show, server: Served, urls: list[str]) -> None:
    """As behind a proxy that strips it: every request and every link has the prefix."""
    home = _home(server) + "a/prefix/"

    def forward(route: Route) -> None:
        route.fulfill(response=route.fetch(url=route.request.url.replace(home, _home(server))))

    page = show(server)
    page.context.route(f"{home}**", forward)
    page.goto("about:blank")
    urls.clear()
    page.goto(home)
    expect(page.locator("#label")).to_have_text(PREDICTION)
    expect(page.locator("#rate")).not_to_have_text("–")
    links = page.eval_on_selector_all("a[href]", "found => found.map((one) => one.href)")
    assert {f"{home}{path}" for path in ("docs", "v2", "openapi.json", "metrics")} == set(links)
    page.goto(f"{home}docs")
    page.locator("#get_v2 summary").click()
    page.locator("#get_v2 button").click()
    expect(page.locator("#get_v2 .status")).to_contain_text("200 OK")
    assert all(url.startswith((home, "data:")) for url in urls)


_FETCH = """
async (url) => {
  const headers = { "Content-Type": "application/json", "X-Request-ID": "a" };
  const body = JSON.stringify({ price: 7.5, rating: 3 });
  const response = await fetch(url, { method: "POST", headers, body });
  return [(await response.json()).label, response.headers.get("x-request-id")];
}
"""


@pytest.fixture
def other_origin(tmp_path: Path) -> Iterator[str]:
    """The origin of another server on this machine, with a page."""
    (tmp_path / "index.html").write_text("<!doctype html>")
    handler = functools.partial(QuietHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as other:
        thread = threading.Thread(target=other.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{other.server_port}"
        other.shutdown()
        thread.join()


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves files without a log."""

    def log_message(self, *_: object) -> None: ...


@pytest.mark.parametrize("is_allowed", [True, False], ids=["allowed", "other"])
def test_a_page_of_another_origin(
    start_server: Callable[..., Served],
    bundle: Path,
    browser: Browser,
    other_origin: str,
    *,
    is_allowed: bool,
) -> None:
    """The browser lets pages of allowed origins in, and no others."""
    origin = other_origin if is_allowed else "https://app.example.com"
    served = start_server("--bundle", bundle, "--cors-origin", origin)
    page = browser.new_page()
    page.goto(other_origin)
    if is_allowed:
        assert page.evaluate(_FETCH, f"{_home(served)}predict") == ["yes", "a"]
    else:
        with pytest.raises(Error, match="Failed to fetch"):
            page.evaluate(_FETCH, f"{_home(served)}predict")
    page.close()
    assert served.end() == 0


def test_form_shows_the_models_prediction(show: Show, server: Served, predictor: Predictor) -> None:
    """The form's row is what the model predicts; invalid input is reported, not sent."""
    page = show(server)
    expect(page.locator("#label")).to_have_text(PREDICTION)
    answer = predictor.predict(np.array([[9.5, 4.5]]))
    _set(page, "9.5", "4.5")
    expect(page.locator("#probability")).to_have_text(f"probability {answer.probability[0]:.4f}")
    expect(page.locator("#label")).to_have_text(f"popular: {answer.label[0]}")
    _set(page, "abc", "4.5")
    expect(page.locator("#form-error")).to_have_text("price: expected a number")
    expect(page.locator("#label")).to_have_text("–")
    _set(page, "50", "4.5")
    expect(page.locator("#out-of-range")).to_contain_text("price: outside the training range")
    _set(page, "1e39", "4.5")
    expect(page.locator("#form-error")).to_contain_text("out of float32")


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
def test_form_parses_dates_as_tables_do(
    browser: Browser, typed: str, days: float | None, shown: str | None
) -> None:
    """A column of dates takes dates; the model receives days, in UTC where no zone is given."""
    script = _script("dom", "values")
    column = "{origin: '2024-02-29'}"
    calls = f"[parseValue({column}, {json.dumps(typed)}), formatValue({column}, {days or 0})]"
    with browser.new_page() as page:
        parsed, formatted = page.evaluate(f"(() => {{ {script}\n return {calls}; }})()")
    assert (None if parsed is None or np.isnan(parsed) else parsed) == days
    assert shown in {formatted, None}


def test_form_writes_dates_in_the_columns_format(browser: Browser) -> None:
    """Each format that a column can have is written so that the server reads the same instant."""
    script = _script("dom", "values")
    formats = [*NAMES, "%a, %d %b %Y %T %z", "%B %e, %y %I:%M:%S %p", "%D %R:%S.%f %Z"]
    column = "{origin: '2024-02-29', format}"
    call = f"({json.dumps(formats)}).map((format) => writeDate({column}, '', 1.5))"
    texts_of_missing = "{missing: 'imputed', texts: ['NA', '-999']}"
    gaps = f"[' NA ', '-999.0'].map((text) => parseValue({texts_of_missing}, text))"
    with browser.new_page() as page:
        texts, missing = page.evaluate(f"(() => {{ {script}\n return [{call}, {gaps}]; }})()")
    assert missing == [None, None]
    for date_format, text in zip(formats, texts, strict=True):
        found = read_instants(pa.array([text.encode()], pa.binary()), date_format)
        assert days_since(found, "2024-02-29").tolist() == [1.5], text


def test_date_in_the_form_equals_one_in_a_table(
    show: Show, start_server: Callable[..., Served], make_bundle: Callable[..., Path]
) -> None:
    """The text is sent unchanged, and the server's error is shown; so is a category never seen."""
    day = Feature("day", 0, 60, date=Date("2024-02-29"))
    plan = Feature("plan", 0, 1, one_hot=OneHot(("basic", "pro"), unseen="other"))
    served = start_server("--bundle", f"sales={make_bundle(['price', day, plan])}")
    page = show(served)
    expect(page.locator("#label")).to_have_text(PREDICTION)
    _set(page, "2.5", "2024-04-01T12:00:00+02:00")
    page.select_option("select[name=plan]", "(another)")
    _, probability = _answer(served, "price,day,plan\n2.5,2024-04-01T12:00:00+02:00,new\n")
    expect(page.locator("#probability")).to_have_text(probability)
    _set(page, "2.5", "2024-04-01 12:00:00.1234567890123")
    expect(page.locator("#form-error")).to_contain_text("not an ISO date")
    _set(page, "2.5", "tomorrow")
    expect(page.locator("#form-error")).to_have_text("day: expected a date such as 2024-12-31")


def test_form_handles_categories_and_missing_values(
    show: Show, sales_server: Served, console_errors: list[str]
) -> None:
    """Categories are a select; an empty field is a missing value where one is allowed."""
    page = show(sales_server)
    expect(page.locator("#label")).to_have_text(PREDICTION)
    colour, size = page.locator("#fields select").all()
    colours = ["(missing)", "blå, mørk", "green", "red"]
    assert colour.locator("option").all_text_contents() == colours
    assert size.locator("option").all_text_contents() == ["L", "M", "S"]
    colour.select_option("")
    size.select_option("M")
    _set(page, "9.75", "")
    label, probability = _answer(sales_server, "price,colour,rating,size\n9.75,,,M\n")
    expect(page.locator("#probability")).to_have_text(probability)
    expect(page.locator("#label")).to_have_text(f"sold: {label}")
    _set(page, "", "")
    expect(page.locator("#form-error")).to_have_text("price: expected a number")
    assert console_errors == []


def test_model_card_shows_dates(
    show: Show, start_server: Callable[..., Served], make_bundle: Callable[..., Path]
) -> None:
    """The training range of a column of dates is shown as dates, not as days."""
    day = Feature("day", 0, 60, date=Date("2024-02-29"))
    page = show(start_server("--bundle", make_bundle(["price", day])))
    expect(page.locator("#columns tbody tr:last-child > *")).to_have_text(
        ["day", "2024-02-29", "2024-04-29", "refused"]
    )


def test_numbers_of_training_are_whole(
    show: Show, start_server: Callable[..., Served], make_bundle: Callable[..., Path]
) -> None:
    """Digits are grouped and whole parts never rounded, in the form's hints and on the card."""
    page = show(start_server("--bundle", make_bundle([Feature("income", 5544.43, 177219), "x"])))
    expect(page.locator("#range-0")).to_have_text("5,544.43 to 177,219 in training")
    expect(page.locator("#columns tbody tr:first-child > *")).to_have_text(
        ["income", "5,544.43", "177,219", "refused"]
    )


def test_many_classes_are_distinguishable(
    show: Show, start_server: Callable[..., Served], make_bundle: Callable[..., Path]
) -> None:
    """The most likely come first, the rest is counted; no two regions share a colour.

    Bars use the colours of the regions, and have room next to the longest name.
    """
    classes = [f"class {at} {'of a long name ' * 5}" for at in range(20)]
    page = show(start_server("--bundle", make_bundle(classes=classes)), 390)
    regions = page.locator("#legend rect")
    expect(regions.first).to_be_attached()
    colours = regions.evaluate_all("(all) => all.map((one) => one.getAttribute('class'))")
    assert len(set(colours)) == len(colours) > 1
    expect(page.locator("#classes rect").first).to_have_class(colours[0])
    shown = [float(text) for text in page.locator("#classes .number").all_text_contents()]
    assert len(shown) == 12
    assert shown == sorted(shown, reverse=True)
    expect(page.locator("#others")).to_have_text("and 8 less likely classes")
    widths = page.locator("#classes .track").evaluate_all(
        "(all) => all.map((one) => one.getBoundingClientRect().width)"
    )
    assert min(widths) > 40
    label = page.locator("#classes [role=listitem]").first.get_attribute("aria-label") or ""
    assert label.startswith(f"{classes[int(label.split()[1])]}: 0.")
    assert _fits(page)


def test_clicking_a_region_fills_in_the_form(show: Show, server: Served) -> None:
    """The decision regions select a row, too."""
    page = show(server)
    expect(page.locator("#plane .area").first).to_be_attached()
    box = page.locator("#plane").bounding_box()
    assert box
    page.mouse.click(box["x"] + box["width"] * 0.95, box["y"] + box["width"] * 0.05)
    expect(page.locator("#label")).to_have_text("popular: yes")
    price, rating = (float(field.input_value()) for field in page.locator("#fields input").all())
    assert price > 9
    assert rating > 4.5


def test_table_is_scored_shown_and_downloadable(show: Show, server: Served, tmp_path: Path) -> None:
    """A file is sent to /predict; its rows, also quoted and bad ones, are shown verbatim."""
    table = tmp_path / "products.csv"
    table.write_text(f'price,rating,name\n9.5,4.5,"a ""b"", {HOSTILE}"\n2,1,c\nx,1,d\n')
    page = show(server, 390, dark=True)
    expect(page.locator("#label")).to_have_text(PREDICTION)
    page.set_input_files("#file", table)
    rows = page.locator("#scored tbody tr")
    expect(rows).to_have_count(4)
    expect(page.locator("#table-status")).to_have_text("products.csv: 3 rows, 2 scored, 1 bad")
    cells = [row.locator("> *").all_text_contents() for row in rows.all()]
    assert [row[0] for row in cells] == ["1", "2", "✗ 3", "row 3 is bad: price: not a number"]
    assert [row[4] for row in cells[:3]] == ["yes", "no", ""]
    assert cells[0][3].startswith('a "b", <img')
    expect(page.locator("#scored .culprit")).to_have_text("x")
    expect(page.locator("#reasons li")).to_have_text(["1 row: price: not a number"])
    page.evaluate("scored.scrollLeft = 60")
    frame, why = (
        page.locator(at).bounding_box() for at in ("#scored", "#scored .reason td > span")
    )
    assert frame
    assert why
    assert frame["x"] < why["x"] < why["x"] + why["width"] <= frame["x"] + frame["width"]
    kinds = page.locator("#scored thead th").evaluate_all(
        "(all) => all.map(({classList}) => classList.contains('text'))"
    )
    assert kinds == [True, False, False, True, True, False]  # one bad cell makes no text of it
    page.focus("#only-bad")
    page.keyboard.press("Space")
    expect(rows).to_have_count(2)
    with page.expect_download() as downloading:
        page.click("#download")
    download = downloading.value
    assert download.suggested_filename == "products.scored.csv"
    assert download.path().read_text().splitlines()[2].startswith("2,1,c,no,0.99")
    expect(page.locator("#scored img")).to_have_count(0)


def test_dropped_table_is_scored(show: Show, server: Served) -> None:
    """Drag and drop works, with Excel's declaration of the delimiter and CRLF."""
    page = show(server)
    expect(page.locator("#label")).to_have_text(PREDICTION)
    dropped = page.evaluate_handle(
        "() => { const dropped = new DataTransfer(); dropped.items.add(new File("
        "['sep=;\\r\\nprice;rating\\r\\n\\r\\n9.5;4.5\\r\\n\\r\\n'], 'a.csv')); return dropped; }"
    )
    page.dispatch_event("#drop", "drop", {"dataTransfer": dropped})
    expect(page.locator("#table-status")).to_have_text("a.csv: 1 row, 1 scored, 0 bad")
    expect(page.locator("#file-name")).to_have_text("a.csv")
    assert page.locator("#scored tbody td").all_text_contents()[:3] == ["9.5", "4.5", "yes"]
    expect(page.locator("#filter")).to_be_hidden()


def test_table_error_is_shown(show: Show, server: Served, tmp_path: Path) -> None:
    """The server's message is shown."""
    table = tmp_path / "other.csv"
    table.write_text("cost,rating\n1,2\n")
    page = show(server)
    expect(page.locator("#label")).to_have_text(PREDICTION)
    page.set_input_files("#file", table)
    expect(page.locator("#table-error")).to_be_visible()
    expect(page.locator("#table-error")).to_contain_text("the table: column 'price' is missing")


def test_what_many_bad_rows_have_in_common_is_advised(
    show: Show, server: Served, tmp_path: Path
) -> None:
    """In words of the page, with the option that helps in view; gone with the next table."""
    table = tmp_path / "commas.csv"
    table.write_text("price;rating\n" + "1,5;2\n" * 20)
    page = show(server)
    expect(page.locator("#label")).to_have_text(PREDICTION)
    page.set_input_files("#file", table)
    hint = "column 'price' looks like numbers with decimal commas: choose the other decimal sign"
    expect(page.locator("#hints li")).to_have_text([f"{hint} under Options"])
    page.select_option("#decimal", ",")
    expect(page.locator("#table-status")).to_have_text("commas.csv: 20 rows, 20 scored, 0 bad")
    expect(page.locator("#hints")).to_be_hidden()


def test_every_field_and_word_is_whole_on_a_phone(
    show: Show, start_server: Callable[..., Served], make_bundle: Callable[..., Path]
) -> None:
    """Forty fields: none is hidden in a scroller, those of a row are aligned, words are whole."""
    names = [f"measurement_{at}_of_the_{'left ' * (at % 3)}sensor" for at in range(39)]
    page = show(start_server("--bundle", make_bundle([*names, "x" * 200])), 390)
    expect(page.locator("#label")).to_have_text(PREDICTION)
    tops = page.locator("#fields input").evaluate_all(
        "(all) => all.map((one) => one.getBoundingClientRect().top)"
    )
    assert (len(tops), len(set(tops))) == (40, 20)  # two columns, aligned
    assert page.evaluate("fields.scrollHeight <= fields.clientHeight")  # no scroller of its own
    for field in page.locator("#fields input").all()[::13]:
        field.focus()
        expect(page.locator("#label")).to_be_in_viewport()  # it stays in view
    broken = page.locator("th[scope=col]").evaluate_all(_BROKEN_WORDS)
    assert broken == []
    assert _fits(page)


_BROKEN_WORDS = """
(elements) => elements.flatMap((element) => [
  ...element.textContent.matchAll(/\\S+/g),
].filter((word) => {
  const range = document.createRange();
  range.setStart(element.firstChild, word.index);
  range.setEnd(element.firstChild, word.index + word[0].length);
  return range.getClientRects().length > 1;
}).map(String))
"""

_FAINT_TEXT = """
() => {
  const canvas = document.createElement("canvas").getContext("2d");
  const paint = (colours) => {
    for (const colour of colours) {
      canvas.fillStyle = colour;
      canvas.fillRect(0, 0, 1, 1);
    }
    const light = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).map((part) => {
      const share = part / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * light[0] + 0.7152 * light[1] + 0.0722 * light[2];
  };
  const faint = [];
  for (const element of document.querySelectorAll("body *")) {
    const isText = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!isText || !element.checkVisibility()) continue;
    if (element.closest(".unseen, script, style, svg")) continue;
    const colours = [];
    for (let at = element; at; at = at.parentElement) {
      colours.unshift(getComputedStyle(at).backgroundColor);
    }
    const back = paint(colours), front = paint([...colours, getComputedStyle(element).color]);
    const ratio = (Math.max(front, back) + 0.05) / (Math.min(front, back) + 0.05);
    if (ratio < 4.5) faint.push(`${element.tagName} ${element.textContent.trim()}: ${ratio}`);
  }
  return faint;
}
"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_text_has_contrast_and_focus_is_seen(
    show: Show, server: Served, tmp_path: Path, *, dark: bool
) -> None:
    """Contrast is at least 4.5 (WCAG 2.2, 1.4.3), also of bad rows; all have labels."""
    table = tmp_path / "products.csv"
    table.write_text("price,rating\n2,1\nx,1\n")
    page = show(server, dark=dark)
    expect(page.locator("#label")).to_have_text(PREDICTION)
    _set(page, "50", "4.5")
    expect(page.locator("#out-of-range")).to_be_visible()
    page.set_input_files("#file", table)
    expect(page.locator("#scored .reason")).to_be_visible()
    assert page.evaluate(_FAINT_TEXT) == []
    _check_focus(page)
    page.goto(f"{_home(server)}docs")
    page.click("#post_predict summary")
    page.click("#post_predict button")
    expect(page.locator("#post_predict .status")).to_be_visible()
    assert page.evaluate(_FAINT_TEXT) == []
    _check_focus(page)


def _check_focus(page: Page) -> None:
    """Whatever the keyboard reaches has a name and an outline."""
    page.evaluate("document.body.tabIndex = -1; document.body.focus()")  # begin at the top
    reached = set()
    for _ in range(80):
        page.keyboard.press("Tab")
        tag, name, outline = page.evaluate(
            """() => {
              const found = document.activeElement, by = found.labels?.[0] ?? found;
              const ring = found.closest("#drop") ?? found;
              const name = found.getAttribute("aria-label") || by.textContent.trim();
              return [found.tagName, name, getComputedStyle(ring).outlineStyle];
            }"""
        )
        if tag == "BODY":
            break
        reached.add(tag)
        assert name, tag
        assert outline not in {"none", ""}, (tag, name)
    assert {"INPUT", "A", "SUMMARY"} <= reached


def test_formats_are_recognised_by_their_content(
    show: Show, server: Served, tmp_path: Path, console_errors: list[str]
) -> None:
    """JSON Lines, JSON, Parquet and gzip may be dropped; what is no table gets one plain line."""
    lines = (
        b'{"price": 9.5, "rating": 4.5, "id": 12345678901234567890}\n{"rating": 1, "more": [1.0]}\n'
    )
    columns = {"price": [9.5, None], "rating": [4.5, 1.0], "when": [dt.date(2024, 5, 1), None]}
    pq.write_table(pa.table(columns), tmp_path / "c")
    table = gzip.compress(b"price,rating\n9.5,4.5\n,1\n")
    files = {
        "a.txt": lines,
        "b.json": json.dumps([json.loads(one) for one in lines.splitlines()], indent=1).encode(),
        "c.parquet": (tmp_path / "c").read_bytes(),
        "d.csv.gz": table,
        "e.tsv": "price\trating\n9.5\t4.5\n\t1\n".encode("utf-16"),
    }
    page = show(server)
    expect(page.locator("#label")).to_have_text(PREDICTION)
    for name, content in files.items():
        page.set_input_files("#file", {"name": name, "mimeType": "", "buffer": content})
        expect(page.locator("#table-status")).to_have_text(f"{name}: 2 rows, 1 scored, 1 bad")
        expect(page.locator("#reasons")).to_contain_text("price: missing value")
        shown = page.locator("#scored tbody tr").first.locator("td").all_text_contents()
        assert {"9.5", "4.5", "yes"} <= set(shown), (name, shown)
        assert name not in {"a.txt", "b.json"} or "12345678901234567890" in shown
    refused = {
        "f.xlsx": (
            b"PK\x03\x04...",
            "f.xlsx is in a format that is not read: save the sheet as CSV",
        ),
        "g.bin": (
            b"\0\1\2\0",
            "g.bin is in a format that is not read: drop CSV, JSON Lines or Parquet",
        ),
        "h.csv": (b"", "h.csv is empty"),
        "i.gz": (table[:20], "i.gz is not a complete gzip file"),
    }
    for name, (content, message) in refused.items():
        page.set_input_files("#file", {"name": name, "mimeType": "", "buffer": content})
        expect(page.locator("#table-error")).to_have_text(message)
        expect(page.locator("#results")).to_be_hidden()
    assert console_errors == []


def test_options_of_a_table(show: Show, server: Served, tmp_path: Path) -> None:
    """What an error asks for can be set on the page; the same file is then scored again."""
    table = tmp_path / "products.csv"
    table.write_text("price;rating;label\n9,5;4,5;a\n")
    page = show(server)
    expect(page.locator("#label")).to_have_text(PREDICTION)
    page.set_input_files("#file", table)
    expect(page.locator("#table-error")).to_contain_text("already has a column 'label'")
    page.fill("#prefix", "new_")
    page.keyboard.press("Tab")
    expect(page.locator("#table-status")).to_contain_text("1 row, 0 scored, 1 bad")
    page.select_option("#decimal", ",")
    expect(page.locator("#table-status")).to_contain_text("1 row, 1 scored, 0 bad")
    page.select_option("#proba", "all")
    expect(page.locator("#scored thead th").last).to_have_text("new_probability_yes")


def test_docs_describe_and_send_every_operation(
    show: Show, sales_server: Served, console_errors: list[str], urls: list[str]
) -> None:
    """A page of the OpenAPI document: nothing from elsewhere; examples are accepted as they are."""
    page = show(sales_server, 390)
    page.goto(f"{_home(sales_server)}docs#post_predict")
    operations = page.locator("details.operation")
    expect(operations).to_have_count(sum(map(len, OPERATIONS.values())))
    predict = page.locator("#post_predict")
    expect(predict).to_have_attribute("open", "")  # the linked one
    for media_type, answer in (
        ("application/json", '"label": "'),
        ("text/csv", "label,probability"),
    ):
        predict.locator(".body select").select_option(media_type)
        predict.locator("button").click()
        expect(predict.locator(".status")).to_contain_text("200 OK")
        expect(predict.get_by_label("body of the response")).to_contain_text(answer)
        command = predict.get_by_label("The request as a command")
        expect(command).to_contain_text(f"Content-Type: {media_type}")
    infer = page.locator("#post_v2_models_model_infer")
    infer.locator("summary").first.click()
    infer.locator("textarea").fill("{")
    infer.locator("button").click()
    expect(infer.locator(".status")).to_contain_text("400")
    infer.get_by_text("Schema of the body").click()
    expect(infer.get_by_label("schema").first).to_contain_text('"inputs": [{')
    version = page.locator("#get_v2_models_model_versions_version")
    version.locator("summary").first.click()
    version.locator("button").click()  # each parameter has an example, too
    expect(version.locator(".status")).to_contain_text("200 OK")
    assert _fits(page)
    assert not [one for one in console_errors if "400" not in one]
    assert all(url.startswith((_home(sales_server), "data:")) for url in urls)


def test_a_new_version_with_other_columns(
    show: Show,
    start_server: Callable[..., Served],
    make_bundle: Callable[..., Path],
    tmp_path: Path,
) -> None:
    """The open page takes the new version over, says what is new, and keeps what still fits."""
    made = make_bundle(["price", "rating"])
    folder = made.rename(tmp_path / "served")
    served = start_server("--bundle", f"m={folder}")
    page = show(served)
    expect(page.locator("#label")).to_have_text(PREDICTION)
    _set(page, "7.25", "3")
    other = make_bundle(["rating", "age", "price"], ["a", "b"])
    shutil.rmtree(folder)
    other.rename(folder)
    assert served.ask("/v2/repository/models/m/load", b"").status == 200
    expect(page.locator("#notice")).to_contain_text("; new: age.")
    assert [one.input_value() for one in page.locator("#fields input").all()] == ["3", "5", "7.25"]
    expect(page.locator("#label")).to_have_text(PREDICTION)
    expect(page.locator("#state")).to_have_class(re.compile(r"\bgood\b"))
    expect(page.locator("#regions")).to_be_hidden()
    assert served.end() == 0


def test_a_restart_with_another_model(
    show: Show,
    start_server: Callable[..., Served],
    bundle: Path,
    make_bundle: Callable[..., Path],
) -> None:
    """The open page reports that its model is gone, and offers the one that is served now."""
    served = start_server("--bundle", f"a={bundle}")
    page = show(served)
    expect(page.locator("#label")).to_have_text(PREDICTION)
    assert served.end() == 0
    again = start_server("--port", served.port, "--bundle", f"b={make_bundle(['age'])}")
    expect(page.locator("#models option")).to_have_text(["a", "b"])
    expect(page.locator("#state")).to_have_class(re.compile(r"\bbad\b"))
    page.select_option("#models", "b")
    expect(page.locator("#label")).to_have_text(PREDICTION)
    expect(page.locator("#fields label")).to_have_text(["age"])
    expect(page.locator("#notice")).to_be_hidden()
    assert again.end() == 0


def test_names_of_a_bundle_are_escaped(
    show: Show,
    start_server: Callable[..., Served],
    make_bundle: Callable[..., Path],
    console_errors: list[str],
) -> None:
    """Names of a bundle are shown as text and never executed, at any width."""
    names = [HOSTILE, "</script><script>document.title='injected'</script>", "c"]
    folder = make_bundle(names, [HOSTILE, "b"])
    served = start_server("--bundle", f"a/b ?#={folder}", "--bundle", f"other={folder}")
    page = show(served, 390)
    expect(page.locator("#label")).not_to_have_text("–")
    assert page.title() == "a/b ?#"
    expect(page.locator("img")).to_have_count(0)
    expect(page.locator("#regions")).to_be_hidden()
    assert _fits(page)
    expect(page.locator("#models option")).to_have_count(2)
    assert console_errors == []
    assert served.end() == 0


def test_page_shows_that_the_server_is_gone(
    show: Show, start_server: Callable[..., Served], bundle: Path
) -> None:
    """An open page draws the throughput and reports a lost server."""
    served = start_server("--bundle", bundle)
    page = show(served)
    expect(page.locator("#state")).to_have_class(re.compile(r"\bgood\b"))
    expect(page.locator("#graph .rate")).to_have_attribute("d", re.compile("L"))
    for end in ("from", "to"):
        expect(page.locator(f"#rate-{end}")).to_have_text(re.compile(r"^\d\d:\d\d:\d\d$"))
    top, middle = (float(page.inner_text(f"#rate-{at}")) for at in ("top", "middle"))
    assert top == 2 * middle >= 1
    assert served.end() == 0
    expect(page.locator("#state")).to_contain_text("does not respond")


def test_page_recovers_when_the_model_is_loaded_again(
    show: Show, start_server: Callable[..., Served], bundle: Path
) -> None:
    """Unloading and loading are shown; the form keeps its row."""
    served = start_server("--bundle", bundle)
    page = show(served)
    expect(page.locator("#label")).to_have_text(PREDICTION)
    served.ask("/v2/repository/models/simplenet/unload", b"")
    _set(page, "7.5", "3")
    expect(page.locator("#form-error")).to_contain_text("is not loaded")
    expect(page.locator("#state")).to_have_class(re.compile(r"\bbad\b"))
    served.ask("/v2/repository/models/simplenet/load", b"")
    expect(page.locator("#state")).to_have_class(re.compile(r"\bgood\b"))
    expect(page.locator("#label")).to_have_text("popular: yes")
    expect(page.locator("#form-error")).to_have_text("")


def test_page_works_with_an_api_key(
    browser: Browser, start_server: Callable[..., Served], bundle: Path, tmp_path: Path
) -> None:
    """The browser asks for the key as a password and sends it with every request."""
    key = "a-key-of-some-length"
    (tmp_path / "keys").write_text(f"{key}\n")
    served = start_server("--bundle", bundle, "--api-key-file", tmp_path / "keys")
    console_errors: list[str] = []
    with browser.new_context() as stranger:
        page = stranger.new_page()
        with pytest.raises(Error, match="INVALID_AUTH_CREDENTIALS"):
            page.goto(_home(served))
        expect(page.locator("#form")).to_have_count(0)
    with browser.new_context(http_credentials={"username": "me", "password": key}) as known:
        page = known.new_page()
        page.on("console", lambda message: console_errors.append(message.text))
        page.on("pageerror", lambda error: console_errors.append(str(error)))
        page.goto(_home(served))
        expect(page.locator("#label")).to_have_text(PREDICTION)
        page.goto(f"{_home(served)}docs")
        expect(page.locator("#security")).to_be_visible()
        page.click("#get_v2_models_stats summary")
        page.click("#get_v2_models_stats button")
        expect(page.locator("#get_v2_models_stats .status")).to_contain_text("200 OK")
        command = page.get_by_label("The request as a command")
        expect(command).to_contain_text('-H "X-API-Key: $KEY"')
    assert console_errors == []
    assert served.end() == 0
