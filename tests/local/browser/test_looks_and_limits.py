"""Every view with hostile spans, its size, and its accessibility with large amounts of data."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.local.browser.conftest import DESK, Day, Visitor, a_day, check_accessibility, large
from tests.support.local_server import NOW, Export, Running

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(1)>{{7*7}}<hx-partial hx-target="body">'
TURNED = "\u202e\u200b\u0000\x1b[31m"


def failed_trace(server: Running) -> str:
    (found,) = server.api.observations.get_many(name="search articles", level="ERROR", limit=1).data
    return f"/trace/{found.trace_id}"


def hostile(server: Running) -> tuple[str, str]:
    """Many spans with markup, direction marks, deep nesting and names of a megabyte."""
    request = Export("<script>alert(2)</script>", **{"service.name": HOSTILE, HOSTILE: HOSTILE})
    tags = {
        "langfuse.trace.metadata.tenant_id": HOSTILE,
        "langfuse.trace.metadata.workflow_name": HOSTILE + TURNED,
        "langfuse.trace.metadata.correlation_id": HOSTILE,
        "langfuse.trace.tags": [HOSTILE],
        "langfuse.observation.input": HOSTILE,
        "langfuse.observation.usage_details": '{"<script>": 1}',
        "gen_ai.request.model": HOSTILE,
        "somatrace.guard.removed": f'[{{"key": "<b>{"x" * 5000}", "length": 1}}]',
        "agent_id": HOSTILE,
        f"key {HOSTILE}": HOSTILE,
    }
    root = request.span(HOSTILE + TURNED, failed=HOSTILE, attributes=tags)
    request.span("n" * 1_000_000, parent=root, attributes=tags)
    root.events.add(name=HOSTILE).attributes.add(key=HOSTILE)
    deep = root
    for level in range(3000):
        deep = request.span(f"level {level}", parent=deep, start_ns=NOW + level)
    server.send(request)
    wide = Export()
    parent = wide.span(HOSTILE)
    for _ in range(10_000):
        wide.span(HOSTILE, parent=parent, failed="no")
    orphan = wide.span("orphan", trace=parent.trace_id)
    orphan.parent_span_id = b"\7" * 8
    server.send(wide)
    return root.trace_id.hex(), parent.trace_id.hex()


VIEWS: dict[str, Callable[[Running], str]] = {
    "overview": lambda server: "/",
    "traces": lambda server: "/traces",
    "failed-traces": lambda server: "/traces?status=failed&range=24h",
    "trace": failed_trace,
    "services": lambda server: "/services",
}


def test_axe_finds_no_violations_in_a_large_trace_a_search_and_the_help(server, visit):
    export, root = large(2000)
    server.send(export)
    visitor = visit(server)
    for query in ("", "?show=all", "?find=document 19", "?find=nothing-like-it", "?zoom=10-20"):
        visitor.goto(f"/trace/{root.trace_id.hex()}{query}")
        check_accessibility(visitor)
    visitor.press("?")
    check_accessibility(visitor)


def test_hostile_spans_are_harmless_legible_and_accessible(server, visit):
    deep, wide = hostile(server)
    visitor = visit(server)
    for path in ("/", "/traces", "/services", f"/trace/{deep}", f"/trace/{wide}", f"/trace/{deep}?show=all"):
        visitor.goto(path)
        assert visitor.page.locator("main script, main img, main b").count() == 0
        assert visitor.page.evaluate("document.querySelectorAll('*').length") < 10_000
        assert visitor.page.evaluate("document.documentElement.scrollWidth") <= DESK["width"]
        assert not set(visitor.page.content()) & {"\u202e", "\u200b", "\0", "\x1b"}
        check_accessibility(visitor)
    visitor.goto("/traces")
    assert r"\u202e\u200b\u0000\u001b[31m" in visitor.text("table")
    visitor.goto(f"/trace/{wide}")
    rows = visitor.page.locator("tr[data-row]").count()
    visitor.page.locator("tr.more a").first.click()
    visitor.becomes(f"document.querySelectorAll('tr[data-row]').length > {rows}")
    visitor.page.locator("tr[id] a[data-open]").last.click()
    visitor.page.locator("#pane", has_text="✕ no").wait_for()


def test_a_span_at_the_bottom_of_a_deep_trace_has_a_link_to_its_ancestors(server, visit):
    deep, _ = hostile(server)
    (found,) = server.api.observations.get_many(trace_id=deep, name="level 2999").data
    visitor = visit(server)
    visitor.goto(f"/trace/{deep}?span={found.id}")
    visitor.page.locator("tr[aria-selected]").wait_for()
    visitor.page.get_by_role("link", name="20 levels up").click()
    visitor.page.get_by_role("link", name="level 2960", exact=True).wait_for()


def load_counted(visitor: Visitor, address: str) -> tuple[list[int], set[str]]:
    """Load an address in a new tab; returns the bytes of the page and its parts, and all requests.

    The tab does not poll, and is not the one that signed in: on a busy machine, requests of both would count.
    """
    tab = visitor.page.context.new_page()
    tab.add_init_script("window.setInterval = () => 0")
    made: set[str] = set()
    tab.on("request", lambda request: made.add(request.url))
    tab.goto(visitor.server.url + address)
    sizes = tab.evaluate(
        "[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]"
        ".map(entry => entry.encodedBodySize)"
    )
    visitor.until(lambda: len(made) >= len(sizes))
    return sizes, made


@pytest.mark.parametrize(
    ("view", "kilobytes", "requests"),
    [("trace", 40, 6), ("failed-traces", 40, 6), ("services", 40, 6), ("overview", 60, 8)],
)
def test_a_page_needs_few_bytes_and_requests(day_server, visit, view, kilobytes, requests):
    visitor = visit(day_server)
    sizes, made = load_counted(visitor, VIEWS[view](day_server))
    assert 3 <= len(made) <= requests
    assert 5_000 < sum(sizes) <= kilobytes * 1024


def test_a_large_trace_needs_few_bytes(server, visit):
    export, root = large()
    server.send(export)
    visitor = visit(server)
    sizes, made = load_counted(visitor, f"/trace/{root.trace_id.hex()}")
    assert sizes[0] < 40 * 1024
    assert len(made) <= 6


def test_colors_follow_changes_of_the_color_scheme(day_server, visit):
    visitor = visit(day_server)
    colour = "getComputedStyle(document.body).backgroundColor"
    assert visitor.page.evaluate(colour) == "rgb(255, 255, 255)"
    visitor.page.emulate_media(color_scheme="dark")
    assert visitor.page.evaluate(colour) == "rgb(18, 22, 27)"


def test_the_page_works_without_scripts(day_server, unscripted):
    page = unscripted(day_server, "/")
    page.get_by_role("row", name="globex").get_by_role("link", name="✕ 1").click()
    page.wait_for_url("**/traces?**")
    page.get_by_role("link", name="triage-ticket").first.click()
    page.wait_for_url("**/trace/*")
    page.get_by_role("link", name="chat small-1").click()
    page.locator("#pane h2", has_text="chat small-1").wait_for()
    page.goto(day_server.url + "/traces?tenant=initech")
    assert page.locator("tr[data-row]").count() == 4


def test_a_zoomed_overview_agrees_with_the_list_behind_it(server, visit):
    server.send(a_day())
    later = Day()
    later.workflow("acme", failed="late failure", start_ns=NOW)
    server.send(later)
    visitor = visit(server)
    visitor.page.get_by_role("row", name="acme").get_by_role("link", name="✕ 1").click()
    visitor.arrives_at("**/traces?**")
    assert visitor.page.locator("tr[data-row]").count() == 1
    assert "late failure" in visitor.text("tbody")
