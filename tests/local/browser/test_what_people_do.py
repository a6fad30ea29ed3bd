"""User tasks on the page, performed in a real browser."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from somatrace.local.store.database import FILE
from tests.local.browser.conftest import DESK, EARLIER, PHONE, Day, check_accessibility, large
from tests.support.local_server import NOW, Export

#: the visual style of a value's box
LOOK = "box => [getComputedStyle(box).borderTopStyle, getComputedStyle(box).fontStyle].join()"


def test_the_failed_workflow_of_a_tenant_is_found_with_its_reason(day_server, visit):
    visitor = visit(day_server)
    visitor.page.get_by_role("row", name="globex").get_by_role("link", name="✕ 1").click()
    visitor.arrives_at("**/traces?**status=failed**")
    assert visitor.page.locator("tr[data-row]").count() == 1

    visitor.press("Enter")
    visitor.arrives_at("**/trace/*")

    assert visitor.text("#pane h2") == "search articles"
    assert "✕ index shard 3 did not answer" in visitor.text("#pane")
    assert "Error code shard_away" in visitor.text("#pane")


def test_the_slowest_trace_and_its_critical_path_are_one_click_and_one_key_away(day_server, visit):
    visitor = visit(day_server)
    visitor.page.get_by_role("row", name="acme").get_by_title("slowest first").click()
    visitor.arrives_at("**/traces?**sort=duration**")
    visitor.press("Enter")
    visitor.arrives_at("**/trace/*")

    assert "1.6 s" in visitor.text(".summary")
    assert visitor.page.locator("tr.critical").count() == 4
    assert "160 ms" in visitor.text("tr[aria-level='1'] td.self")


def test_tokens_and_unmeasured_calls_are_visible_without_a_click(server, visit):
    day = Day()
    root = day.workflow("acme")
    day.span("chat", parent=root, attributes={"gen_ai.operation.name": "chat"})
    server.send(day)
    visitor = visit(server)
    assert "Tokens in 1,200 Tokens out 60" in visitor.text(".tiles")
    assert "▲ 1 ?" in visitor.text("#overview tbody tr[data-row]")


def test_links_lead_to_other_traces_and_back(server, visit):
    export = Export()
    producer, consumer = export.span("publish"), export.span("consume")
    consumer.links.add(trace_id=producer.trace_id, span_id=producer.span_id)
    server.send(export)
    visitor = visit(server)
    visitor.goto(f"/trace/{consumer.trace_id.hex()}?span={consumer.span_id.hex()}")
    visitor.page.locator("#pane", has_text="Links to").get_by_role("link", name="span").click()
    visitor.arrives_at(f"**/trace/{producer.trace_id.hex()}?span={producer.span_id.hex()}")
    assert visitor.text("#pane h2") == "publish"
    visitor.page.locator("#pane", has_text="Linked from").get_by_role("link", name="span").click()
    visitor.arrives_at(f"**/trace/{consumer.trace_id.hex()}**")
    assert visitor.text("#pane h2") == "consume"


@pytest.mark.parametrize(
    ("label", "value", "found"),
    [
        ("Agent", "planner", 20),
        ("Agent", "nobody", 0),
        ("Model", "small-1", 20),
        ("Service", "orchestrator", 20),
        ("Min ms", "2500", 4),
        ("Max ms", "900", 5),
        ("Min tokens", "99999", 0),
        ("Workflow", "summarise", 4),
    ],
)
def test_each_filter_narrows_the_list_and_is_in_the_link(day_server, visit, label, value, found):
    visitor = visit(day_server)
    visitor.goto("/traces")
    visitor.page.get_by_text("More", exact=True).click()
    visitor.page.get_by_label(label, exact=True).fill(value)
    visitor.press("Enter")
    visitor.arrives_at(f"**/traces?**{value}**")
    visitor.becomes(f"document.querySelectorAll('tr[data-row]').length === {found}")
    if not found:
        assert f"Remove {label.split()[0].lower()}" in visitor.text(".empty")


def test_a_new_trace_is_announced_without_a_reload_and_nothing_shifts(server, visit):
    day = Day()
    day.workflow("acme")
    server.send(day)
    visitor = visit(server)
    visitor.goto("/traces")
    before = visitor.text("#results tbody")

    later = Day()
    later.workflow("globex")
    server.send(later)
    visitor.page.get_by_role("link", name="1 new").wait_for()
    assert visitor.text("#results tbody") == before

    visitor.page.get_by_role("link", name="1 new").click()
    visitor.page.get_by_role("cell", name="globex").wait_for()


def test_a_listed_trace_that_continues_is_updated_in_place(server, visit):
    export, later = Export(), Export()
    root = later.span("answer-question", failed="too late")
    export.span("child", parent=root)
    export.span("other", start_ns=NOW - 10_000_000)
    server.send(export)
    visitor = visit(server)
    visitor.goto("/traces")
    assert "◌ no root yet" in visitor.text("#results tbody tr:first-child")
    visitor.press("j")

    server.send(later)
    visitor.page.locator("#results tr", has_text="✕ failed").wait_for()

    names = visitor.page.locator("a[data-open]").all_inner_texts()
    assert names == ["answer-question", "other"]
    assert visitor.page.locator("#new").count() == 0
    visitor.becomes("document.activeElement.matches('#results tr')")


def test_a_late_error_is_announced_on_the_list_of_errors(server, visit):
    export, later = Export(), Export()
    root = export.span("root")
    server.send(export)
    visitor = visit(server)
    visitor.goto("/traces?status=errors")

    later.span("late", parent=root, failed="no")
    server.send(later)

    visitor.page.locator("#announcement", has_text="1 changed").wait_for(state="attached")
    visitor.page.get_by_role("link", name="1 changed").click()
    visitor.page.locator("#results tr", has_text="▲ 1 recovered").wait_for()


def test_a_paused_list_sends_no_requests(server, visit):
    visitor = visit(server)
    visitor.goto("/traces")
    visitor.press("p")
    visitor.page.get_by_role("button", name="resume").wait_for()
    visitor.start_recording()
    # by the page's own clock, it would have polled at least twice
    visitor.becomes(f"seconds >= {visitor.page.evaluate('seconds')} + 5")
    assert visitor.recorded() == []


def test_an_empty_page_updates_when_the_first_spans_arrive(server, visit):
    visitor = visit(server)
    assert "No spans have arrived yet" in visitor.text("#overview")
    day = Day()
    day.workflow("acme")
    server.send(day)
    visitor.page.get_by_role("link", name="acme").wait_for()


def test_a_page_without_spans_shows_the_settings_for_this_store(server, visit):
    visitor = visit(server)
    for path in ("/", "/traces", "/services"):
        visitor.goto(path)
        assert f"SOMATRACE_DATA_DIR={server.data_dir}" in visitor.text(".empty")
        assert f"LANGFUSE_BASE_URL={server.url}" in visitor.text(".empty")
        assert server.keys.secret_key not in visitor.page.content()


def test_a_store_set_aside_as_damaged_is_reported_on_every_page(start_server, visit, tmp_path):
    (tmp_path / FILE).write_bytes(b"no database" * 1000)
    server = start_server(tmp_path)
    (aside,) = tmp_path.glob(f"{FILE}.corrupt-*")
    visitor = visit(server)
    for path in ("/", "/traces", "/trace/" + "ab" * 16):
        visitor.goto(path)
        assert "▲ a store was set aside: it was damaged" in visitor.text("#status")
        assert f"because it was damaged, and a new one was created. Its data is in {aside.name}" in (
            visitor.text("main")
        )
        assert "No spans have arrived yet" not in visitor.text("main")
    aside.unlink()
    visitor.goto("/")
    assert "No spans have arrived yet" in visitor.text("main")
    assert "set aside" not in visitor.text("body")


def test_a_filtered_link_shows_a_colleague_the_same_list(day_server, visit):
    visitor = visit(day_server)
    visitor.goto("/traces")
    visitor.page.get_by_label("Tenant", exact=True).fill("initech")
    visitor.page.get_by_label("Sort").select_option("duration")
    visitor.arrives_at("**/traces?**sort=duration**")
    # the address changes before the list does
    visitor.page.get_by_role("columnheader", name="Duration").and_(
        visitor.page.locator("[aria-sort]")
    ).wait_for()
    assert visitor.page.locator("tr[data-row]").count() == 4

    colleague = visit(day_server)
    colleague.page.goto(visitor.page.url)

    assert colleague.text("#results tbody") == visitor.text("#results tbody")
    assert colleague.page.get_by_label("Tenant", exact=True).input_value() == "initech"
    assert colleague.page.get_by_label("Sort").input_value() == "duration"


def test_fields_suggest_stored_names_without_extra_requests(day_server, visit):
    visitor = visit(day_server)
    visitor.goto("/traces")
    offered = "field => [...field.list.options].map(option => option.value).join()"
    visitor.start_recording()
    visitor.page.get_by_text("More", exact=True).click()
    for label, names in (
        ("Tenant", "acme,globex,initech"),
        ("Workflow", "answer-question,summarise,triage-ticket"),
        ("Agent", "planner"),
        ("Model", "small-1"),
        ("Service", "orchestrator"),
    ):
        field = visitor.page.get_by_label(label, exact=True)
        assert field.evaluate(offered) == names
    assert [url for url in visitor.recorded() if "/traces/new" not in url] == []

    with visitor.page.expect_request("**/traces?tenant=acme**") as part:
        visitor.page.get_by_label("Tenant", exact=True).fill("acme")
        visitor.press("Enter")
    asked = part.value  # once more, as the browser forgets an answer when it has navigated
    assert "datalist" not in visitor.page.request.get(asked.url, headers=asked.headers).text()
    visitor.becomes("document.querySelectorAll('tr[data-row]').length === 12")
    assert visitor.page.get_by_label("Tenant", exact=True).evaluate(offered) == "acme,globex,initech"


SORTED = "headers => headers.map(header => header.innerText.trim() + ' ' + header.ariaSort)"


def test_a_header_sorts_the_filtered_list_and_agrees_with_the_field(day_server, visit):
    visitor = visit(day_server)
    visitor.goto("/traces?tenant=globex&tokens=100")
    headers = visitor.page.locator("th[aria-sort]")
    assert headers.evaluate_all(SORTED) == ["Start descending"]
    visitor.page.get_by_role("columnheader", name="Duration").get_by_role("link").click()
    visitor.arrives_at("**/traces?tenant=globex&tokens=100&sort=duration")
    assert headers.evaluate_all(SORTED) == ["Duration descending"]
    assert visitor.page.get_by_label("Sort").input_value() == "duration"
    check_accessibility(visitor)

    visitor.page.get_by_label("Sort").select_option("spans")
    visitor.becomes("document.querySelector('th[aria-sort]')?.innerText.trim() === 'Spans'")
    visitor.page.get_by_role("columnheader", name="Start").get_by_role("link").click()
    visitor.page.wait_for_url(lambda url: "sort" not in url)
    assert "tenant=globex&tokens=100" in visitor.page.url
    assert visitor.page.get_by_label("Sort").input_value() == "start"

    visitor.goto("/traces?sort=cost")
    assert headers.count() == 0, "cost has no column"


def test_a_header_sorts_without_a_script(day_server, unscripted):
    page = unscripted(day_server, "/traces?tenant=acme")
    for header, name in (("Tokens", "tokens"), ("Spans", "spans"), ("Duration", "duration")):
        page.get_by_role("columnheader", name=header).get_by_role("link").click()
        page.wait_for_url(f"**/traces?tenant=acme&sort={name}")
    found = page.locator("td[data-label=Duration]").all_inner_texts()
    assert (len(found), found[0], found[-1]) == (12, "1.6 s", "500 ms")
    assert page.get_by_label("Sort").input_value() == "duration"


def test_traces_without_a_tenant_are_separate_from_all_others(server, visit):
    day = Day()
    day.workflow("acme")
    day.workflow("acme", "")
    for _ in range(3):
        day.workflow("", "", failed="no")
    day.workflow("not set")
    server.send(day)
    visitor = visit(server)

    visitor.page.get_by_role("row", name="not set not set").get_by_role("link", name="✕ 3").click()
    visitor.arrives_at("**/traces?**no_tenant=1**")
    visitor.becomes("document.querySelectorAll('tr[data-row]').length === 3")

    visitor.goto("/")
    visitor.page.get_by_role("row", name="acme not set").get_by_role("link", name="not set").click()
    visitor.page.get_by_role("link", name="no workflow ✕").wait_for()
    visitor.page.locator(".tiles", has_text=re.compile(r"^\s*Traces\s*1(?!\d)")).wait_for()
    visitor.page.get_by_role("link", name="tenant: acme ✕").click()
    visitor.page.locator(".tiles", has_text=re.compile(r"^\s*Traces\s*4(?!\d)")).wait_for()

    visitor.goto("/traces")
    visitor.page.get_by_label("Tenant", exact=True).fill("acme")
    visitor.page.get_by_text("More", exact=True).click()
    visitor.page.get_by_label("no tenant").check()
    visitor.becomes("document.querySelectorAll('tr[data-row]').length === 3")
    assert visitor.page.get_by_label("Tenant", exact=True).input_value() == ""
    visitor.page.get_by_label("Tenant", exact=True).fill("acme")
    visitor.press("Enter")
    visitor.becomes("document.querySelectorAll('tr[data-row]').length === 2")
    assert not visitor.page.get_by_label("no tenant").is_checked()


def test_a_new_time_range_replaces_the_one_from_a_chart(day_server, visit):
    visitor = visit(day_server)
    begin = EARLIER // 60_000_000_000 * 60_000
    visitor.goto(f"/traces?from={begin}&to={begin + 300_000}")
    assert visitor.page.locator("tr[data-row]").count() < 6
    visitor.page.locator("select[name=range]").select_option("all")
    visitor.becomes("document.querySelectorAll('tr[data-row]').length === 20")
    assert "from=" not in visitor.page.url
    assert "to=" not in visitor.page.url


def test_a_list_shows_the_time_range_from_a_chart_in_the_readers_time_zone(day_server, visit):
    visitor = visit(day_server)
    visitor.goto("/traces?from=1795788300000&to=1795788600000")
    chosen = visitor.page.locator("select[name=range] option:checked")
    assert chosen.inner_text() == "11-27 14:05 to 14:10"
    visitor.press("u")
    assert chosen.inner_text() == "11-27 23:05 to 23:10"
    visitor.goto("/traces?from=1795788300000")
    assert chosen.inner_text() == "from 11-27 23:05"


@pytest.mark.parametrize("look", [(DESK, "light"), (PHONE, "dark")], ids=["wide", "narrow"])
def test_ignored_parts_of_an_address_are_reported_until_another_filter_is_chosen(day_server, visit, look):
    visitor = visit(day_server, *look)
    for path in ("/", "/traces"):
        visitor.goto(f"{path}?tenant=globex&status=fialed&{'x' * 100}={'y' * 100}")
        assert visitor.text("#ignored").startswith(
            "▲ Ignored parts of the address: "
            "status fialed (expected failed, recovered, errors, ok or open), xxxx"
        )
        assert visitor.page.evaluate("document.documentElement.scrollWidth") <= look[0]["width"]
        check_accessibility(visitor)
    assert visitor.page.locator("tr[data-row]").count() == 4
    visitor.page.get_by_label("Status").select_option("failed")
    visitor.becomes("document.querySelectorAll('tr[data-row]').length === 1")
    assert visitor.page.locator("#ignored").count() == 0
    assert "xxxx" not in visitor.page.url


def test_text_filters_while_it_is_typed_and_the_field_keeps_the_focus(day_server, visit):
    visitor = visit(day_server)
    visitor.goto("/traces")
    visitor.page.get_by_label("Text", exact=True).press_sequentially("shard")
    # between two slow keys, the list is filtered by the beginning of the word
    visitor.arrives_at("**q=shard**")
    visitor.becomes("document.querySelectorAll('tr[data-row]').length === 1")
    assert visitor.page.evaluate("document.activeElement.id") == "filter-q"


def test_of_two_quick_choices_the_list_shows_the_later(day_server, visit):
    visitor = visit(day_server)
    visitor.goto("/traces")
    held: list[Any] = []
    visitor.page.route("**/traces?**", lambda route: route.continue_() if held else held.append(route))
    status = visitor.page.get_by_label("Status")
    status.select_option("failed")
    visitor.until(lambda: held)
    status.select_option("ok")
    held[0].continue_()

    visitor.arrives_at("**/traces?**status=ok**")
    visitor.becomes("document.querySelectorAll('tr[data-row]').length === 19")


def test_going_back_from_a_trace_returns_to_the_filtered_list(day_server, visit):
    visitor = visit(day_server)
    visitor.goto("/traces?tenant=globex")
    visitor.press("j", "j", "Enter")
    visitor.arrives_at("**/trace/*")
    visitor.press("Escape")
    visitor.arrives_at("**/traces?tenant=globex")
    assert visitor.page.locator("tr[data-row]").count() == 4


def test_the_next_trace_respects_the_filter(day_server, visit):
    visitor = visit(day_server)
    visitor.goto("/traces?tenant=initech")
    visitor.page.locator("a[data-open]").first.click()
    visitor.arrives_at("**/trace/*")
    for _ in range(3):
        first = visitor.page.url
        visitor.press("]")
        visitor.page.wait_for_url(lambda url, before=first: url != before)
        assert "tenant initech" in visitor.text(".summary")
    assert visitor.page.locator("#older").count() == 0


def arrives_at_heading(visitor, name):
    visitor.page.get_by_role("heading", name=name).wait_for()
    # what follows the heading may arrive later
    visitor.page.wait_for_load_state()


def test_a_pasted_id_opens_its_trace_or_reports_that_it_is_not_found(day_server, visit):
    visitor = visit(day_server)
    visitor.goto("/traces?status=failed")
    trace_id = re.search("[0-9a-f]{32}", visitor.page.locator("a[data-open]").get_attribute("href"))[0]

    visitor.press("/")
    visitor.page.keyboard.type(f" {trace_id.upper()} ")
    visitor.press("Enter")
    visitor.arrives_at(f"**/trace/{trace_id}")

    visitor.press("/")
    visitor.page.keyboard.type("ab" * 16)
    visitor.press("Enter")
    arrives_at_heading(visitor, "Not found")
    assert "Last span accepted" in visitor.text("main")


def find(visitor, text):
    visitor.press("/")
    visitor.page.fill("#find", text)
    visitor.press("Enter")


def test_a_correlation_id_opens_its_traces(day_server, visit):
    visitor = visit(day_server)
    visitor.goto("/traces?status=failed")
    visitor.press("j", "Enter")
    visitor.arrives_at("**/trace/*")
    correlation = visitor.page.locator(".summary a", has_text="corr-globex").inner_text()
    find(visitor, correlation)
    visitor.arrives_at("**/traces?correlation=*")
    assert visitor.page.locator("tr[data-row]").count() == 1


@pytest.mark.parametrize(
    "form", [str, str.upper, lambda text: f" {text} "], ids=["as sent", "upper", "spaced"]
)
@pytest.mark.parametrize("correlation", ["c0ffee00" * 4, "9c2e4b1a-77d0-4f3e-8a15-0123456789ab"])
def test_a_correlation_id_that_looks_like_a_trace_id_is_recognized(server, visit, correlation, form):
    export = Export()
    export.span("asked", attributes={"langfuse.trace.metadata.correlation_id": correlation})
    server.send(export)
    visitor = visit(server)
    find(visitor, form(correlation))
    visitor.arrives_at(f"**/traces?correlation={correlation}")
    assert visitor.page.locator("tr[data-row]").count() == 1


def test_the_traceparent_of_a_call_opens_its_span(server, visit):
    export = Export()
    root = export.span("root")
    span = export.span("call", parent=root)
    server.send(export)
    trace_id, span_id = span.trace_id.hex(), span.span_id.hex()
    visitor = visit(server)

    find(visitor, f"traceparent: 00-{trace_id}-{span_id}-01")
    visitor.arrives_at(f"**/trace/{trace_id}?span={span_id}")
    assert visitor.text("#pane h2") == "call"

    find(visitor, f"00-{trace_id}-{'ab' * 8}-00")
    visitor.arrives_at(f"**/trace/{trace_id}")

    find(visitor, f"00-{'ab' * 16}-{span_id}-01")
    arrives_at_heading(visitor, "Not found")
    assert "ab" * 16 in visitor.text("main")


def test_a_span_id_or_a_trace_id_prefix_opens_the_trace(server, visit):
    export = Export()
    span = export.span("call", parent=export.span("root", trace=b"\xab\xcd\x12\x34" + b"\x01" * 12))
    export.span("twin", trace=b"\xab\xcd\x12\x34" + b"\x02" * 12)
    server.send(export)
    trace_id, span_id = span.trace_id.hex(), span.span_id.hex()
    visitor = visit(server)

    find(visitor, span_id)
    visitor.arrives_at(f"**/trace/{trace_id}?span={span_id}")
    find(visitor, trace_id[:12])
    visitor.arrives_at(f"**/trace/{trace_id}")
    find(visitor, trace_id[:8])
    arrives_at_heading(visitor, "Several traces match this ID prefix")
    assert visitor.page.locator("main a").count() == 2

    find(visitor, "ab" * 8)
    arrives_at_heading(visitor, "Not found")
    assert "none of the newest 100,000 spans" in visitor.text("main")
    find(visitor, "deadbeef")
    visitor.arrives_at("**/traces?q=deadbeef")


def test_dragging_over_a_chart_zooms_and_a_click_lists_the_traces_of_a_point(hour_server, visit):
    visitor = visit(hour_server)
    visitor.goto("/?range=1h")
    visitor.charts_are_drawn()
    chart = visitor.page.locator("[data-chart=traces] .u-over")
    # under the mouse, no refresh replaces it
    chart.hover()
    box = chart.bounding_box()
    middle = box["y"] + box["height"] / 2
    visitor.page.mouse.move(box["x"] + 5, middle)
    visitor.page.mouse.down()
    visitor.page.mouse.move(box["x"] + box["width"] * 0.6, middle, steps=4)
    visitor.page.mouse.up()
    visitor.page.wait_for_url("**/?**from=*")
    visitor.page.get_by_role("link", name="reset zoom").wait_for()

    visitor.charts_are_drawn()
    points = visitor.page.eval_on_selector_all(
        "[data-point]", "rows => rows.map(row => +row.dataset.point.split(',')[0])"
    )
    edges = visitor.page.eval_on_selector(".charts", "box => [+box.dataset.since, +box.dataset.until]")
    box = chart.bounding_box()
    share = (points[0] - edges[0] + 30) / (edges[1] - edges[0])
    visitor.page.mouse.move(box["x"] + box["width"] * share, middle)
    visitor.page.mouse.click(box["x"] + box["width"] * share, middle)
    visitor.page.wait_for_url("**/traces?**")
    assert visitor.page.locator("tr[data-row]").count() == 1


def test_a_point_of_the_duration_chart_lists_its_slowest_traces(hour_server, visit):
    visitor = visit(hour_server)
    visitor.goto("/?range=1h")
    visitor.charts_are_drawn()
    chart = visitor.page.locator("[data-chart=latency] .u-over")
    # under the mouse, no refresh moves the points that are read here
    chart.hover()
    points = visitor.page.eval_on_selector_all(
        "[data-point]", "rows => rows.map(row => +row.dataset.point.split(',')[0])"
    )
    edges = visitor.page.eval_on_selector(".charts", "box => [+box.dataset.since, +box.dataset.until]")
    box = chart.bounding_box()
    share = (points[-1] - edges[0] + 30) / (edges[1] - edges[0])

    chart.click(position={"x": box["width"] * share, "y": box["height"] / 2})

    visitor.page.wait_for_url("**/traces?**sort=duration**")
    assert visitor.page.locator("tr[data-row]").count() >= 1


def test_arrow_keys_navigate_collapse_and_expand_the_tree(day_server, visit):
    visitor = visit(day_server)
    visitor.goto("/traces?tenant=acme")
    visitor.press("j", "Enter")
    visitor.arrives_at("**/trace/*")
    shown = "[...document.querySelectorAll('tr[aria-level]')].filter(row => !row.hidden).length"
    assert visitor.page.evaluate(shown) == 4

    visitor.press("j", "ArrowLeft")
    assert visitor.page.evaluate(shown) == 1
    assert visitor.page.locator("tr[aria-level='1']").get_attribute("aria-expanded") == "false"
    visitor.press("ArrowRight", "ArrowRight")
    assert visitor.page.evaluate(shown) == 4
    assert visitor.page.evaluate("document.activeElement.ariaLevel") == "2"

    visitor.press("ArrowDown", "ArrowDown", "Enter")
    visitor.page.locator("#pane h2", has_text="chat small-1").wait_for()
    assert "span=" in visitor.page.url
    assert "The guard removed 1 value, 1,204 characters, policy none" in visitor.text("#pane")
    visitor.page.reload()
    assert visitor.text("#pane h2") == "chat small-1"


def test_removed_empty_and_absent_values_look_different(server, visit):
    export = Export()
    root = export.span("chain")
    notes = [
        {"key": "gen_ai.prompt.0.content", "length": 1204, "rule": "policy none"},
        {"key": "gen_ai.completion.0.content", "length": 6200, "rule": "policy none"},
        {"key": "?", "length": 3, "rule": "fault"},
    ]
    for name, more in (
        ("removed", {"somatrace.guard.removed": json.dumps(notes)}),
        ("empty", {"langfuse.observation.input": "", "langfuse.observation.output": "", "note": ""}),
        ("absent", {}),
    ):
        export.span(name, parent=root, attributes={"gen_ai.operation.name": "chat", **more})
    server.send(export)
    visitor = visit(server)
    visitor.goto(f"/trace/{root.trace_id.hex()}")

    def shown(name: str) -> str:
        visitor.page.get_by_role("link", name=name, exact=True).click()
        visitor.page.locator("#pane h2", has_text=name).wait_for()
        return visitor.text("#pane")

    removed = shown("removed")
    visitor.press("g")
    assert visitor.page.evaluate("document.activeElement.tagName") == "SUMMARY"
    assert "The guard removed 3 values, 7,407 characters, policy none, fault" in removed
    table = visitor.text("#removed table")
    assert "gen_ai.prompt.0.content 1,204 characters policy none" in table
    assert "? the key is withheld too 3 characters fault" in table
    assert "Input ▨ removed, 1,204 characters Output ▨ removed, 6,200 characters" in removed
    looks = {visitor.page.eval_on_selector(".value-removed", LOOK)}

    assert "Input “” empty: recorded without content" in shown("empty")
    assert "note “” empty" in visitor.text("#pane")
    looks.add(visitor.page.eval_on_selector("p.value-empty", LOOK))

    assert "Input – absent: not recorded" in shown("absent")
    looks.add(visitor.page.eval_on_selector(".value-absent", LOOK))
    visitor.press("g")
    visitor.page.locator("#announcement", has_text="nothing was removed").wait_for(state="attached")
    assert len(looks) == 3


def test_equal_siblings_are_one_row_until_expanded(server, visit):
    export = Export()
    root = export.span("agent")
    for number in range(40):
        export.span("embed chunk", parent=root, start_ns=NOW + number * 1000)
    server.send(export)
    visitor = visit(server)
    visitor.goto(f"/trace/{root.trace_id.hex()}")
    assert visitor.page.locator("tr[data-row]").count() == 3
    visitor.page.get_by_role("link", name="39 more “embed chunk”: show").click()
    visitor.becomes("document.querySelectorAll('tr[data-row]').length === 41")


def test_a_trace_of_ten_thousand_spans_stays_usable(server, visit):
    export, root = large()
    server.send(export)
    visitor = visit(server)
    visitor.goto(f"/trace/{root.trace_id.hex()}")
    assert "10,000 spans" in visitor.text(".summary")
    assert "is not UTF-8" in visitor.text("#pane")
    assert visitor.page.evaluate("document.querySelectorAll('*').length") < 10_000

    first = visitor.text("#pane h2")
    visitor.press("n")
    visitor.arrives_at("**span=**")
    visitor.page.locator("#pane h2").filter(has_not_text=first).wait_for()

    rows = visitor.page.locator("tr[data-row]").count()
    visitor.page.locator("tr.more a").first.click()
    visitor.becomes(f"document.querySelectorAll('tr[data-row]').length > {rows}")

    visitor.press("f")
    visitor.page.keyboard.type("document 5000")
    visitor.press("Enter")
    visitor.arrives_at("**find=document*")
    assert visitor.text("#hits") == "1 of 10,000 spans matches"
    visitor.page.get_by_role("link", name="document 5000").wait_for()

    visitor.goto(f"/trace/{root.trace_id.hex()}?show=errors")
    assert visitor.page.locator("tr.failed").count() == 3


def test_a_collapsed_branch_is_loaded_once_when_it_is_expanded(server, visit):
    export, root = large()
    server.send(export)
    visitor = visit(server)
    visitor.goto(f"/trace/{root.trace_id.hex()}")
    row = visitor.page.locator("tr[aria-expanded=false]").first
    identity = row.get_attribute("id")
    before = visitor.page.locator("tr[data-row]").count()
    row.locator("a.toggle").click()
    visitor.becomes(f"document.querySelectorAll('tr[data-row]').length > {before}")
    loads = "performance.getEntriesByType('resource').filter(entry => entry.name.includes('/rows?')).length"
    # an entry follows the response
    visitor.becomes(f"{loads} === 1")
    for _ in range(2):
        visitor.page.locator(f"#{identity} a.toggle").click()
    assert visitor.page.locator(f"#{identity}").get_attribute("aria-expanded") == "true"
    assert visitor.page.locator("[aria-busy]").count() == 0
    assert visitor.page.evaluate(loads) == 1


def test_the_keys_zoom_and_the_zoom_is_in_the_link(day_server, visit):
    visitor = visit(day_server)
    visitor.goto("/traces?tenant=acme")
    visitor.press("j", "Enter")
    visitor.arrives_at("**/trace/*")
    edges = "part => (box => [box.left, box.right])(part.getBoundingClientRect())"
    bar = visitor.page.locator("tr[aria-level='1'] rect").evaluate(edges)
    assert bar == visitor.page.locator("tr[aria-level='1'] svg").evaluate(edges)
    visitor.press("w")
    visitor.arrives_at("**zoom=25.000-75.000*")
    visitor.press("d")
    visitor.arrives_at("**zoom=37.500-87.500*")
    visitor.press("0")
    visitor.page.wait_for_url(lambda url: "zoom" not in url)


def test_copying_ids_and_links_is_announced(day_server, visit):
    visitor = visit(day_server, permissions=["clipboard-read", "clipboard-write"])
    visitor.goto("/traces?status=failed")
    visitor.press("j", "Enter")
    visitor.arrives_at("**/trace/*")
    visitor.press("y")
    visitor.page.locator("#announcement", has_text="copied ID").wait_for(state="attached")
    clipboard = "navigator.clipboard.readText()"
    span = visitor.page.locator("#pane [data-span]").get_attribute("data-span")
    assert visitor.page.evaluate(clipboard) == span
    button = visitor.page.get_by_role("button", name="copy ID of the trace")
    # the button says so for a moment only
    button.evaluate(
        "button => { window.said = [];"
        " new MutationObserver(() => said.push(button.textContent)).observe(button, {childList: true}); }"
    )
    button.click()
    visitor.becomes("said[0] === 'copied'")
    assert visitor.page.evaluate(clipboard) in visitor.page.url
    visitor.press("Y")
    visitor.page.locator("#announcement", has_text="copied link").wait_for(state="attached")
    assert visitor.page.evaluate(clipboard) == visitor.page.url


def test_a_trace_saved_as_a_file_opens_on_another_machine(day_server, server, visit, tmp_path):
    visitor = visit(day_server)
    visitor.goto("/traces?status=failed")
    visitor.press("j", "Enter")
    visitor.arrives_at("**/trace/*")
    with visitor.page.expect_download() as saved:
        visitor.page.get_by_role("link", name="save as file").click()
    file = tmp_path / saved.value.suggested_filename
    saved.value.save_as(file)
    assert "resourceSpans" in json.loads(file.read_text())

    other = visit(server)
    other.goto("/traces")
    other.page.set_input_files("#file", file)
    other.arrives_at("**/trace/*")
    assert other.text("table.tree") == visitor.text("table.tree")
    assert other.text("#pane") == visitor.text("#pane")


def test_a_file_that_is_not_a_trace_is_rejected_with_a_reason_that_stays(server, visit, tmp_path):
    (tmp_path / "holiday.json").write_text('{"photos": []}')
    visitor = visit(server)
    visitor.goto("/traces")
    visitor.expected.append("status of 400")
    visitor.page.set_input_files("#file", tmp_path / "holiday.json")
    visitor.page.locator(".fault", has_text="✕ Could not open the file: ").wait_for()
    # by the page's own clock, it would have polled at least twice
    visitor.becomes(f"seconds >= {visitor.page.evaluate('seconds')} + 5")
    assert "✕ Could not open the file: " in visitor.text(".titled")


def test_times_are_utc_until_the_reader_switches_to_local(day_server, visit):
    visitor = visit(day_server)
    visitor.goto("/traces")
    shown = visitor.page.locator("tbody time").first
    utc = shown.inner_text()
    assert shown.get_attribute("datetime").replace("T", " ").rstrip("Z") == utc
    visitor.press("u")
    local = shown.inner_text()
    assert (int(local[11:13]) - int(utc[11:13])) % 24 == 9
    visitor.page.reload()
    assert shown.inner_text() == local
    assert visitor.text("#zone") == "local"


def test_single_keys_can_be_turned_off(day_server, visit):
    visitor = visit(day_server)
    visitor.press("?")
    visitor.page.get_by_label("single-key shortcuts").uncheck()
    visitor.press("Escape")
    before = visitor.page.url
    visitor.press("2", "3")
    assert visitor.page.url == before


def test_previewing_a_trace_does_not_leave_the_list(day_server, visit):
    visitor = visit(day_server)
    visitor.goto("/traces?status=failed")
    visitor.press("j", "Space")
    visitor.page.locator("#peek[open]").wait_for()
    assert "index shard 3 did not answer" in visitor.text("#peek")
    visitor.press("Escape")
    visitor.page.locator("#peek").wait_for(state="hidden")
    assert "/traces" in visitor.page.url


def test_an_unreachable_server_is_reported_and_the_last_figures_stay(start_server, visit, tmp_path):
    server = start_server(tmp_path / "gone")
    day = Day()
    day.workflow("acme")
    server.send(day)
    visitor = visit(server)
    visitor.goto("/traces")
    visitor.fail_requests("**/traces/new**")
    visitor.page.locator("#status.error").wait_for()
    assert "did not respond" in visitor.text("#status")
    visitor.page.get_by_role("cell", name="acme").wait_for()


@pytest.mark.parametrize("path", ["/", "/services", "/traces"])
def test_the_header_updates_with_the_page_and_an_error_disappears_with_its_cause(server, visit, path):
    day = Day()
    day.workflow("acme")
    server.send(day)
    visitor = visit(server)
    visitor.goto(path)
    visitor.fail_requests("**/*")
    visitor.page.locator("#status.error", has_text="did not respond").wait_for()
    server.post(b"", Authorization="Basic nobody")

    visitor.page.unroute("**/*")

    visitor.page.locator("#status:not(.error)", has_text="rejected 1 (wrong or missing key)").wait_for()
    if path == "/services":
        visitor.page.get_by_text("1 request: wrong or missing key").wait_for()


def test_a_refresh_keeps_the_table_open_and_waits_for_the_mouse_to_leave_a_chart(server, visit):
    day = Day()
    day.workflow("acme")
    server.send(day)
    visitor = visit(server)
    visitor.page.locator("#figures summary").click()
    visitor.page.evaluate("document.activeElement.blur()")
    visitor.page.locator(".plot").first.hover()
    later = Day()
    later.workflow("globex")
    server.send(later)
    visitor.becomes(f"seconds >= {visitor.page.evaluate('seconds')} + 6")
    assert visitor.page.get_by_role("row", name="globex").count() == 0
    visitor.page.locator("#figures table").wait_for()

    visitor.page.locator("h1").hover()
    visitor.page.get_by_role("row", name="globex").wait_for()
    # the script reopens the table after the swap that adds the row
    visitor.page.locator("#figures table").wait_for()


@pytest.mark.parametrize("refresh", ["answered during the click", "due during the click"])
def test_a_refresh_does_not_replace_what_is_being_clicked(server, visit, refresh):
    day = Day()
    day.workflow("acme")
    server.send(day)
    visitor = visit(server)
    visitor.goto("/traces")
    later = Day()
    later.workflow("globex")
    server.send(later)
    link = visitor.page.get_by_role("link", name="1 new")
    link.wait_for()
    held: list[Any] = []
    if refresh == "answered during the click":
        visitor.page.evaluate(
            "document.addEventListener('htmx:finally:request', () => performance.mark('arrived'))"
        )
        visitor.page.route("**/traces/new**", lambda route: held.append(route))  # noqa: PLW0108
        visitor.until(lambda: held)

    link.hover()
    visitor.page.mouse.down()
    if held:
        held.pop().continue_()
        visitor.becomes("performance.getEntriesByName('arrived').length > 0")
    else:
        # by the page's own clock, it would have polled at least twice
        visitor.becomes(f"seconds >= {visitor.page.evaluate('seconds')} + 5")
    visitor.page.mouse.up()

    visitor.page.get_by_role("cell", name="globex").wait_for()


def test_two_refreshes_that_overlap_keep_the_table_open(server, visit):
    day = Day()
    day.workflow("acme")
    server.send(day)
    visitor = visit(server)
    visitor.page.locator("#figures summary").click()
    visitor.page.locator("#figures table").wait_for()

    visitor.page.evaluate(
        """() => {
          const happens = (name) => document.dispatchEvent(new CustomEvent(name, {detail: {ctx: {}}}));
          const table = document.getElementById("figures");
          const replaced = table.cloneNode(true);
          replaced.open = false;
          happens("htmx:before:swap");
          table.replaceWith(replaced);
          happens("htmx:before:swap");
          happens("htmx:after:swap");
        }"""
    )

    visitor.page.locator("#figures table").wait_for()


@pytest.mark.parametrize("path", ["/", "/traces", "/services", "/traces?tenant=nobody"])
@pytest.mark.parametrize("width", [320, 360, 641, 768, 901, 1001, 1024, 1280])
def test_no_view_is_wider_than_the_screen_and_tables_keep_names_on_one_line(scene_server, visit, path, width):
    visitor = visit(scene_server, {"width": width, "height": 900})
    visitor.goto(path)
    assert visitor.page.evaluate("document.documentElement.scrollWidth") <= width
    lines = "cells => cells.map(cell => cell.getClientRects().length)"
    names = visitor.page.locator("td[data-label=Workflow], td[data-label=Tenant]").locator("a, span")
    is_table = visitor.page.locator("thead:visible").count() > 0
    assert not is_table or set(names.evaluate_all(lines)) <= {1}


def test_a_failure_is_found_and_read_on_a_phone(day_server, visit):
    visitor = visit(day_server, PHONE, has_touch=True)
    visitor.goto("/traces?status=failed")
    visitor.page.locator("a[data-open]").tap()
    visitor.arrives_at("**/trace/*")
    assert visitor.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    visitor.page.get_by_role("link", name="chat small-1").tap()
    visitor.page.locator("#pane h2", has_text="chat small-1").wait_for()
    visitor.page.locator("#pane h2").wait_for()
