"""The page of one trace in a real browser."""

from __future__ import annotations

import pytest

from somatrace.local.trace_view import spans as detail
from tests.local.browser.conftest import DESK, PHONE, SECOND, Day, check_accessibility, large
from tests.support.local_server import NOW, Export

ROWS = "document.querySelectorAll('tr[data-row]').length"
SHOWN = "[...document.querySelectorAll('tr[aria-level]')].filter(row => row.offsetParent).length"


def path(span, query=""):
    return f"/trace/{span.trace_id.hex()}{query}"


def row(visitor, name):
    return visitor.page.locator("tr[id]", has=visitor.page.get_by_role("link", name=name, exact=True))


@pytest.fixture(scope="module")
def large_trace(start_lasting_server, tmp_path_factory):
    """A server with a trace of 2,000 spans that tests only read, and its root."""
    server = start_lasting_server(tmp_path_factory.mktemp("large"))
    export, root = large(2000)
    server.send(export)
    return server, root


# -- rows loaded on demand --------------------------------------------------------------------------------


@pytest.mark.parametrize("link", ["tr.more a", "tr[aria-expanded=false] a.toggle"])
def test_rows_load_on_a_click_before_the_page_is_complete(large_trace, visit, link):
    server, root = large_trace
    visitor = visit(server)
    visitor.goto(path(root))
    rows = visitor.page.evaluate(ROWS)
    visitor.page.add_init_script(
        f"addEventListener('DOMContentLoaded', () => document.querySelector('{link}').click())"
    )
    visitor.goto(path(root))
    visitor.becomes(f"{ROWS} > {rows}")
    assert "under=" not in visitor.page.url


def test_a_branch_that_fails_to_load_stays_collapsed_with_an_error_and_opens_on_retry(large_trace, visit):
    server, root = large_trace
    visitor = visit(server)
    visitor.goto(path(root))
    rows = visitor.page.evaluate(ROWS)
    closed = visitor.page.locator("tr[aria-expanded=false]").first
    branch = visitor.page.locator(f"#{closed.get_attribute('id')}")
    visitor.fail_requests("**/rows?**")
    branch.locator("a.toggle").click()
    branch.locator("text=✕ not loaded: the server did not respond").wait_for()
    assert branch.get_attribute("aria-expanded") == "false"

    visitor.page.unroute("**/rows?**")
    branch.locator("a.toggle").click()
    visitor.becomes(f"{ROWS} > {rows}")
    assert branch.get_attribute("aria-expanded") == "true"
    assert branch.locator(".fault").count() == 0


def test_more_rows_and_branches_open_without_a_script(large_trace, unscripted):
    server, root = large_trace
    page = unscripted(server, path(root, "?show=all&zoom=0-90"))
    name = page.locator("tr.more").first.locator("a").inner_text()
    page.locator("tr.more a").first.click()
    page.wait_for_url("**part=**")
    assert name not in page.locator("table.tree").inner_text()
    assert "zoom=0-90" in page.url
    page.get_by_role("link", name="from the top").click()
    page.wait_for_url(lambda url: "part" not in url)

    page.goto(server.url + path(root))
    closed = page.locator("tr[aria-expanded=false]").first
    name = closed.locator("a[data-open]").inner_text()
    closed.locator("a.toggle").click()
    page.wait_for_url("**under=**")
    first = page.locator("tr[id]").first
    assert first.locator("a[data-open]").inner_text() == name
    assert first.get_attribute("aria-expanded") == "true"
    assert page.locator("tr[id]").count() > 1


def test_keyboard_focus_moves_to_the_first_loaded_row(large_trace, visit):
    server, root = large_trace
    visitor = visit(server)
    visitor.goto(path(root))
    more = visitor.page.locator("tr.more").first
    rows = visitor.page.evaluate(ROWS)
    before = more.evaluate("row => row.previousElementSibling.id")
    more.focus()
    visitor.press("Enter")
    visitor.becomes(f"{ROWS} > {rows}")
    visitor.becomes(f"document.activeElement.previousElementSibling?.id === '{before}'")
    visitor.press("j")
    assert (
        visitor.page.evaluate("document.activeElement.previousElementSibling.previousElementSibling.id")
        == before
    )


@pytest.mark.parametrize(
    ("query", "matches", "name"), [("?find=even", 300, "even"), ("?show=errors", 250, "odd")]
)
def test_folded_rows_under_a_filter_count_and_show_only_matching_spans(server, visit, query, matches, name):
    export = Export()
    root = export.span("root", start_ns=NOW)
    for number in range(600):
        even = number % 2 == 0
        failed = "no" if not even and number < 500 else None
        export.span("even" if even else "odd", parent=root, start_ns=NOW + number * 1000, failed=failed)
    server.send(export)
    visitor = visit(server)
    visitor.goto(path(root, query))
    shown = visitor.page.locator("tr[id]").count() - 1
    visitor.page.get_by_role("link", name=f"{matches - shown} more “{name}”: show").click()
    visitor.becomes(f"{ROWS} === {matches + 1}")
    assert set(visitor.page.locator("tr[id] a[data-open]").all_inner_texts()) == {"root", name}


# -- the contents of a row ---------------------------------------------------------------------------------


@pytest.fixture
def deep_trace(server):
    """Thirty levels, each of which starts before its parent; returns the root."""
    export = Export()
    span = root = export.span("the root of a deep trace", start_ns=NOW)
    for level in range(30):
        span = export.span(
            f"chat completions at level {level}", parent=span, start_ns=NOW - (level + 1) * 1_000_000
        )
    orphan = export.span("orphan", parent=root)
    orphan.parent_span_id = b"\7" * 8
    server.send(export)
    return root


@pytest.mark.parametrize(("viewport", "least"), [(DESK, 100), (PHONE, 50)], ids=["1280", "360"])
def test_names_and_warnings_of_deeply_nested_spans_are_visible(server, visit, deep_trace, viewport, least):
    visitor = visit(server, viewport)
    visitor.goto(path(deep_trace, "?show=all"))
    names = (
        "[...document.querySelectorAll('tr[id] .label')].filter(name => name.textContent.length > 20)"
        ".map(name => name.getBoundingClientRect().width)"
    )
    assert min(visitor.page.evaluate(names)) >= (least)
    beyond = (
        "[...document.querySelectorAll('td.depth .warning')].map(mark => mark.getBoundingClientRect().right"
        " - mark.closest('td').getBoundingClientRect().right)"
    )
    assert max(visitor.page.evaluate(beyond)) <= 0
    assert visitor.page.locator(".warning", has_text="▲ skew").count() == 30
    assert visitor.page.locator("tr[aria-level='21'] .level").inner_text() == "20"


def test_a_span_without_a_name_is_shown_and_selectable(server, visit):
    export = Export()
    root = export.span("root")
    export.span(" \t", parent=root)
    server.send(export)
    visitor = visit(server)
    visitor.goto(path(root))
    visitor.page.get_by_role("link", name="unnamed").click()
    visitor.page.locator("#pane h2", has_text="unnamed").wait_for()


def test_a_child_that_starts_after_its_parent_ended_is_marked_late(server, visit):
    export = Export()
    root = export.span("root", seconds=1)
    export.span("after", parent=root, start_ns=NOW + 3 * SECOND)
    export.span("within", parent=root, start_ns=NOW + SECOND // 2)
    server.send(export)
    visitor = visit(server)
    visitor.goto(path(root))
    assert row(visitor, "after").get_by_title("starts 2 s after its parent ended").inner_text() == "▲ late"
    assert row(visitor, "within").locator(".warning").count() == 0


@pytest.fixture
def two_services(server):
    """A gateway request that calls another service twice; returns the root."""
    gateway, other = Export(**{"service.name": "gateway"}), Export(**{"service.name": "recall"})
    root = gateway.span("POST", start_ns=NOW, seconds=4)
    for second in (1, 2):
        other.span("POST", parent=root, start_ns=NOW + second * SECOND, seconds=1)
    server.send(gateway)
    server.send(other)
    return root


def test_a_trace_lists_its_services_in_the_header_and_on_each_span(server, visit, two_services):
    visitor = visit(server)
    visitor.goto(path(two_services))
    assert visitor.text("#services") == "services recall 2, gateway 1"
    assert visitor.page.locator("td.service").all_inner_texts() == ["gateway", "recall", "recall"]
    visitor.page.locator("#services").get_by_role("link", name="recall").click()
    visitor.arrives_at("**find=recall**")
    assert visitor.text("#hits") == "2 of 3 spans match"


def test_a_trace_of_one_service_has_no_service_column(day_server, visit):
    visitor = visit(day_server)
    visitor.goto("/traces?tenant=initech")
    visitor.press("j", "Enter")
    visitor.arrives_at("**/trace/*")
    assert visitor.text("#services") == "service orchestrator"
    assert visitor.page.locator(".service").count() == 0


def test_the_time_scale_follows_the_zoom_and_a_span_shows_its_offset(server, visit, two_services):
    visitor = visit(server)
    visitor.goto(path(two_services))
    assert visitor.text("#ticks") == "0 2 s 4 s"
    visitor.press("w")
    assert visitor.text("#ticks") == "1 s 2 s 3 s"
    visitor.page.reload()
    assert visitor.text("#ticks") == "1 s 2 s 3 s"
    visitor.page.locator("tr[id]").last.locator("a[data-open]").click()
    visitor.page.locator("#pane", has_text="+2 s from the trace's start").wait_for()


# -- searching ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["UpstreamError", "shard_away", "SHARD 3 did not", "error.code"])
def test_a_search_finds_text_in_failures_and_attributes(day_server, visit, text):
    visitor = visit(day_server)
    visitor.goto("/traces?status=failed")
    visitor.press("j", "Enter")
    visitor.arrives_at("**/trace/*")
    visitor.press("f")
    visitor.page.keyboard.type(text)
    visitor.press("Enter")
    visitor.arrives_at("**find=**")
    assert row(visitor, "search articles").locator(".hit").count() == 1
    assert row(visitor, "triage-ticket").count() == 1


def test_a_search_treats_wildcards_and_quotes_literally(server, visit):
    export = Export()
    root = export.span("root", attributes={"answer": 'he said "100%"'})
    export.span("other", parent=root, attributes={"answer": "he said 1000"})
    server.send(export)
    visitor = visit(server)
    for text in ('said "100%"', "0%"):
        visitor.goto(path(root, f"?find={text.replace('%', '%25')}"))
        assert visitor.text("#hits") == "1 of 2 spans matches"


def test_stepping_through_matches_shows_the_current_position(server, visit):
    export = Export()
    root = export.span("root")
    for number in range(6):
        name = "wanted" if number % 2 else "other"
        export.span(f"{name} {number}", parent=root, start_ns=NOW + number * 1000)
    server.send(export)
    visitor = visit(server)
    visitor.goto(path(root, "?find=wanted"))
    assert visitor.text("#pane h2") == "wanted 1"
    assert visitor.text("#marks").startswith("1 / 3")
    for press, name in (("n", "wanted 3"), ("n", "wanted 5"), ("n", "wanted 1"), ("N", "wanted 5")):
        visitor.press(press)
        visitor.page.locator("#pane h2", has_text=name).wait_for()
    assert visitor.text("#marks").startswith("3 / 3")
    visitor.page.get_by_role("link", name="previous match").click()
    visitor.page.locator("#pane h2", has_text="wanted 3").wait_for()
    assert visitor.text("#marks").startswith("2 / 3")


def test_failed_spans_can_be_stepped_through_without_a_script(large_trace, unscripted):
    server, root = large_trace
    page = unscripted(server, path(root, "?show=errors"))
    name = page.locator("#pane h2").inner_text()
    assert page.locator("#mark").inner_text() == "1"
    page.get_by_role("link", name="next failed span").click()
    page.wait_for_url("**span=**")
    assert page.locator("#pane h2").inner_text() == name, "it is the only one"


# -- the minimap and the search stay visible ----------------------------------------------------------------

#: whether nothing covers the middle and the edges of the focused row
UNCOVERED = """(() => {
  const row = document.activeElement.closest('tr');
  const box = row.getBoundingClientRect();
  return [box.top + 2, box.top + box.height / 2, box.bottom - 2].every(
    (height) => row.contains(document.elementFromPoint(box.left + 100, height)));
})()"""


@pytest.mark.parametrize("query", ["", "?find=document 1&zoom=10-60"], ids=["one line", "marks and zoom"])
@pytest.mark.parametrize("width", [902, 1280])
def test_the_minimap_and_the_search_stay_visible_and_never_cover_the_focused_row(
    large_trace, visit, width, query
):
    server, root = large_trace
    visitor = visit(server, {"width": width, "height": 700})
    visitor.goto(path(root, query))
    # it is set in the first frame, and rows scroll to below that height
    visitor.becomes("document.documentElement.style.getPropertyValue('--held-height') !== ''")
    visitor.page.evaluate("scrollTo(0, document.body.scrollHeight)")
    visitor.page.evaluate("find('tr[data-row]:last-child').focus()")
    assert visitor.page.evaluate(UNCOVERED)
    for _ in range(40):
        visitor.press("k")
        assert visitor.page.evaluate(UNCOVERED)
    assert visitor.page.evaluate("scrollY") > 0
    for part in ("#minimap", "#find-within", "table.tree th:first-child"):
        box = visitor.page.locator(part).bounding_box()
        assert 0 <= box["y"] <= 200
    check_accessibility(visitor)

    visitor.press("f")
    assert visitor.page.evaluate("document.activeElement.id") == "find-within"
    visitor.page.locator("#pane h2").hover()
    assert visitor.page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("viewport", [PHONE, {"width": 900, "height": 900}, {"width": 1280, "height": 500}])
def test_on_small_screens_nothing_is_sticky_above_the_tree(large_trace, visit, viewport):
    server, root = large_trace
    visitor = visit(server, viewport)
    visitor.goto(path(root))
    visitor.page.evaluate("scrollTo(0, 1500)")
    assert visitor.page.locator("#find-within").bounding_box()["y"] < 0
    visitor.press("j", "j", "k")
    assert visitor.page.evaluate(UNCOVERED)


# -- selecting a span --------------------------------------------------------------------------------------


def test_a_click_anywhere_in_a_row_selects_its_span(day_server, visit):
    visitor = visit(day_server)
    visitor.goto("/traces?tenant=acme")
    visitor.press("j", "Enter")
    visitor.arrives_at("**/trace/*")
    for name, cell in (("chat small-1", "td.time"), ("search articles", "td.kind")):
        row(visitor, name).locator(cell).click()
        visitor.page.locator("#pane h2", has_text=name).wait_for()
        assert row(visitor, name).get_attribute("aria-selected") == "true"


def test_a_loading_span_is_marked_busy_and_selected_when_loaded(day_server, visit):
    visitor = visit(day_server)
    visitor.goto("/traces?tenant=acme")
    visitor.press("j", "Enter")
    visitor.arrives_at("**/trace/*")
    held = []
    # playwright sets an attribute on the handler, which a list's bound method does not allow
    visitor.page.route("**/span/*", lambda route: held.append(route))  # noqa: PLW0108
    row(visitor, "search articles").locator("a[data-open]").click()
    visitor.page.locator("#pane[aria-busy=true]").wait_for()
    assert visitor.page.locator("tr[aria-selected]").count() == 0
    # the page marks the pane when it sends the request, which may not have arrived here yet
    visitor.until(lambda: held)
    held.pop().continue_()
    visitor.page.locator("#pane h2", has_text="search articles").wait_for()
    assert visitor.page.locator("#pane[aria-busy]").count() == 0
    assert row(visitor, "search articles").get_attribute("aria-selected") == "true"


def test_a_span_that_fails_to_load_is_reported_in_the_pane_until_one_loads(day_server, visit):
    visitor = visit(day_server)
    visitor.goto("/traces?status=failed")
    visitor.press("j", "Enter")
    visitor.arrives_at("**/trace/*")
    address = visitor.page.url
    visitor.fail_requests("**/span/*")
    row(visitor, "chat small-1").locator("a[data-open]").click()
    visitor.page.locator("#pane .fault").wait_for()
    assert visitor.text("#pane .fault") == "✕ “chat small-1” was not loaded: the server did not respond"
    assert row(visitor, "search articles").get_attribute("aria-selected") == "true"
    assert visitor.page.url == address

    visitor.page.unroute("**/span/*")
    row(visitor, "chat small-1").locator("a[data-open]").click()
    visitor.page.locator("#pane h2", has_text="chat small-1").wait_for()
    assert visitor.page.locator(".fault").count() == 0


def test_a_trace_opens_at_the_top_unless_a_span_is_requested(large_trace, visit):
    server, root = large_trace
    visitor = visit(server)
    visitor.goto(path(root))
    assert visitor.page.locator("#pane h2").inner_text() == "document 777"
    assert visitor.page.evaluate("scrollY") == 0
    (last,) = server.api.observations.get_many(trace_id=root.trace_id.hex(), name="document 1999").data
    visitor.goto(path(root, f"?span={last.id}"))
    visitor.page.locator("tr[aria-selected]").wait_for()
    assert visitor.page.evaluate("scrollY") > 0


# -- zoom, the list's filter, and the way back -------------------------------------------------------------


def test_the_list_filter_and_the_zoom_survive_view_changes_and_escape_returns_to_the_list(day_server, visit):
    visitor = visit(day_server)
    visitor.goto("/traces?tenant=acme&tokens=100")
    visitor.press("j", "Enter")
    visitor.arrives_at("**/trace/*")
    visitor.press("w")
    for key, shown in (("e", "errors"), ("c", "critical")):
        visitor.press(key)
        visitor.arrives_at(f"**show={shown}**")
        visitor.arrives_at("**tenant=acme**zoom=25.000-75.000**")
    visitor.press("f")
    visitor.page.keyboard.type("chat")
    visitor.press("Enter")
    visitor.arrives_at("**find=chat**")
    assert all(part in visitor.page.url for part in ("tenant=acme", "tokens=100", "zoom=25.000-75.000"))
    visitor.press("]")
    visitor.page.wait_for_url(lambda url: "find" not in url)
    visitor.press("Escape")
    visitor.arrives_at("**/traces?tenant=acme&tokens=100")


def test_a_zoom_keeps_expanded_branches_and_adds_no_history_entry(large_trace, visit):
    server, _ = large_trace
    visitor = visit(server)
    visitor.goto("/traces")
    visitor.press("j", "Enter")
    visitor.arrives_at("**/trace/*")
    visitor.page.locator("tr[aria-expanded=false] a.toggle").first.click()
    visitor.becomes("!document.querySelector('[aria-busy]')")
    visitor.page.evaluate("scrollTo(0, 300)")
    before = visitor.page.evaluate(f"[{SHOWN}, scrollY, history.length]")
    width = "document.querySelector('tr[aria-level=\"2\"] rect').getBoundingClientRect().width"
    narrow = visitor.page.evaluate(width)

    visitor.press("w", "w", *"aaaaaa")

    visitor.arrives_at("**zoom=0.000-25.000**")
    assert visitor.page.evaluate(f"[{SHOWN}, scrollY, history.length]") == before
    assert visitor.page.evaluate(width) > narrow
    assert visitor.text("#ticks") == "0 7.5 s 15 s"
    visitor.page.locator("#whole").click()
    visitor.page.wait_for_url(lambda url: "zoom" not in url)
    visitor.press("Escape")
    visitor.arrives_at("**/traces")


def test_rows_loaded_after_a_zoom_use_the_same_range(large_trace, visit):
    server, root = large_trace
    visitor = visit(server)
    visitor.goto(path(root))
    rows = visitor.page.evaluate(ROWS)
    visitor.press("w")
    visitor.page.locator("tr.more a").first.click()
    visitor.becomes(f"{ROWS} > {rows}")
    boxes = (
        "[...new Set([...document.querySelectorAll('.time svg')].map(bar => bar.getAttribute('viewBox')))]"
    )
    assert visitor.page.evaluate(boxes) == ["25 0 50 12"]


# -- incomplete traces, and traces over the limit ----------------------------------------------------------


def test_a_trace_without_a_root_announces_new_spans_without_changing_the_page(server, visit):
    early = Day()
    root = early.span("root", start_ns=NOW)
    first = Export()
    first.span("first step", parent=root, start_ns=NOW)
    server.send(first)
    visitor = visit(server)
    visitor.goto(path(root))
    assert "◌ no root yet" in visitor.text(".summary")
    before = visitor.text("table.tree")

    server.send(early)
    visitor.page.get_by_role("link", name="1 new span: reload").wait_for()
    assert visitor.text("table.tree") == before

    visitor.page.get_by_role("link", name="1 new span: reload").click()
    row(visitor, "root").wait_for()
    assert "no root yet" not in visitor.text(".summary")


@pytest.fixture
def over_the_limit(server, monkeypatch):
    """A trace of 300 spans under a limit of 100; returns the spans."""
    monkeypatch.setattr(detail, "MAX_SPANS", 100)
    export = Export()
    spans = [export.span("root", start_ns=NOW, seconds=9)]
    for number in range(1, 300):
        parent = spans[0] if number < 290 else spans[number - 1]
        failed = "late failure" if number == 295 else None
        spans.append(
            export.span(f"item {number}", parent=parent, start_ns=NOW + number * 1000, failed=failed)
        )
    server.send(export)
    return spans


def test_a_trace_over_the_limit_includes_failed_spans_and_their_ancestors(server, visit, over_the_limit):
    visitor = visit(server)
    visitor.goto(path(over_the_limit[0]))
    assert "107 of 300 spans (limit)" in visitor.text("main")
    assert "late failure" in visitor.text("#pane")
    row(visitor, "item 295").wait_for()
    assert "never arrived" not in visitor.text("main")


def test_a_span_beyond_the_limit_is_shown_on_request(server, visit, over_the_limit):
    visitor = visit(server)
    asked = over_the_limit[299]
    visitor.goto(path(asked, f"?span={asked.span_id.hex()}"))
    assert visitor.text("#pane h2") == "item 299"
    assert row(visitor, "item 299").get_attribute("aria-selected") == "true"
    visitor.goto(path(asked, "?span=" + "ab" * 8))
    assert "is not in this trace: it never arrived" in visitor.text("main")
