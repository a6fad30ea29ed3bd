"""Screenshots of every view, light and dark, wide and narrow, with an accessibility check of each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.local.browser.conftest import DESK, Visitor, a_day, check_accessibility, large
from tests.local.browser.scene import set_up
from tests.support.local_server import Running
from tests.support.waiting import HANG

PICTURES = Path(__file__).parents[3] / "build" / "screenshots"
NARROW = {"width": 375, "height": 780}


@pytest.fixture(params=["wide-light", "wide-dark", "narrow-light", "narrow-dark"])
def look(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Browser options: the window size and the color scheme."""
    size, scheme = request.param.split("-")
    return {"viewport": DESK if size == "wide" else NARROW, "scheme": scheme, "reduced_motion": "reduce"}


@pytest.fixture(scope="module")
def scene(
    start_lasting_server: Callable[..., Running], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Running, str]:
    """A server with one day of traces, and the path of a failed trace."""
    server = start_lasting_server(tmp_path_factory.mktemp("scene"))
    return server, set_up(server)


@pytest.fixture(scope="module")
def large_trace(
    start_lasting_server: Callable[..., Running], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Running, str]:
    server = start_lasting_server(tmp_path_factory.mktemp("large"))
    export, root = large()
    server.send(export)
    return server, f"/trace/{root.trace_id.hex()}"


def shoot(visitor: Visitor, name: str) -> None:
    """Save a screenshot, full-length on narrow screens, and check accessibility."""
    page = visitor.page
    visitor.charts_are_drawn()
    width = page.viewport_size["width"]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    PICTURES.mkdir(parents=True, exist_ok=True)
    size = "narrow" if width < 600 else "wide"
    dark = page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    picture = PICTURES / f"{name}-{size}-{'dark' if dark else 'light'}.png"
    whole = size == "narrow" and not page.locator("dialog[open]").count()
    if whole:
        page.evaluate("scrollTo(0, 0)")
    page.screenshot(path=picture, full_page=whole)
    check_accessibility(visitor)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("overview", "/"),
        ("traces", "/traces"),
        ("failed", "/traces?tenant=globex&status=failed&range=24h"),
        ("filters", "/traces?model=large-2&min=2000&sort=duration"),
        ("nomatch", "/traces?tenant=globex&q=nowhere"),
        ("services", "/services"),
        ("missing", "/trace/" + "ab" * 16),
        ("trace", ""),
        ("critical", "?show=critical"),
        ("zoomed", "?zoom=25-60"),
    ],
)
def test_a_view_of_one_day(scene, visit, name, path, look):
    server, trace = scene
    visitor = visit(server, **look)
    visitor.goto(path if path.startswith("/") else trace + path)
    shoot(visitor, name)


def test_values_removed_by_the_guard(scene, visit, look):
    server, trace = scene
    visitor = visit(server, **look)
    visitor.goto(trace)
    visitor.page.get_by_role("link", name="chat large-2").click()
    visitor.page.locator("#removed").wait_for()
    shoot(visitor, "removed")


def test_the_trace_preview_and_the_shortcuts(scene, visit, look):
    server, _ = scene
    visitor = visit(server, **look)
    visitor.goto("/traces?status=failed")
    visitor.press("j", "Space")
    visitor.page.locator("#peek[open] h2").wait_for()
    shoot(visitor, "peek")
    visitor.press("Escape")
    visitor.page.locator("#peek").wait_for(state="hidden")
    visitor.press("?")
    visitor.page.locator("#help[open]").wait_for()
    shoot(visitor, "help")


@pytest.mark.parametrize(("name", "query"), [("large", ""), ("found", "?find=document 50")])
def test_a_trace_of_ten_thousand_spans(large_trace, visit, name, query, look):
    server, trace = large_trace
    visitor = visit(server, **look)
    visitor.goto(trace + query)
    shoot(visitor, name)


def test_empty_views(server, visit, look):
    visitor = visit(server, **look)
    for name, path in (("overview", "/"), ("traces", "/traces"), ("services", "/services")):
        visitor.goto(path)
        shoot(visitor, f"empty-{name}")


def test_a_browser_that_is_not_signed_in(server, chromium, look):
    context = chromium.new_context(viewport=look["viewport"], color_scheme=look["scheme"])
    context.set_default_timeout(1000 * HANG)
    visitor = Visitor(context.new_page(), server)
    visitor.goto("/")
    shoot(visitor, "open")
    context.close()


def test_a_store_that_cannot_be_read(start_server, visit, tmp_path, look):
    server = start_server(tmp_path / "data")
    server.send(a_day())
    visitor = visit(server, **look)
    visitor.goto("/")
    (tmp_path / "data").rename(tmp_path / "elsewhere")
    visitor.goto("/")
    assert "The store cannot be read" in visitor.text("h1")
    assert "Last known figures" in visitor.text("main")
    shoot(visitor, "broken")
    (tmp_path / "elsewhere").rename(tmp_path / "data")
