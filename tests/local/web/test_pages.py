"""The web pages as served to a browser, with hostile span content."""

from __future__ import annotations

import json
import re
import time
from html.parser import HTMLParser

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from somatrace.local import formatting
from somatrace.local.access import auth
from somatrace.local.trace_view import span_tree, window
from tests.support.local_server import NOW
from tests.support.waiting import HANG

SCRIPT = '"><script>alert(1)</script><img src=x onerror=alert(1)>'
RIGHT_TO_LEFT = "user\u202egnp.exe"


class Document(HTMLParser):
    """The tags and the text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def links(self) -> list[str]:
        return [attributes["href"] for tag, attributes in self.tags if tag == "a"]


def list_names(page: str) -> list[str]:
    return re.findall(r'<a href="/trace/[0-9a-f]{32}[^"]*" data-open>([^<]*)</a>', page)


#: the plural nouns that views count
NOUNS = "spans|traces|calls|tokens|values|characters|points|requests|attributes|processes|versions|services"


def cells(page: str, label: str) -> list[str]:
    """The texts in a column of a table."""
    found = re.findall(rf'<td data-label="{label}"[^>]*>(.*?)</td>', page, re.DOTALL)
    return [Document(cell).text.strip() for cell in found]


@pytest.fixture
def browser(server):
    with server.browser() as client:
        yield client


def tagged(tenant, workflow="pay", **more):
    return {
        "langfuse.trace.metadata.tenant_id": tenant,
        "langfuse.trace.metadata.workflow_name": workflow,
        **more,
    }


@pytest.fixture
def filled(server, export):
    request = export()
    tags = tagged("acme", agent_id="orchestrator")
    root = request.span("checkout", seconds=4, failed="no answer", attributes=tags)
    request.span(
        "ask",
        parent=root,
        seconds=1,
        attributes=tagged(
            "acme",
            **{
                "gen_ai.request.model": "small-1",
                "gen_ai.usage.input_tokens": 1234,
                "gen_ai.usage.output_tokens": 56,
            },
        ),
    )
    request.span(
        "search",
        parent=root,
        failed="index away",
        start_ns=NOW + 1,
        attributes=tagged("acme", **{"gen_ai.tool.name": "search"}),
    )
    request.span("refund", seconds=0.5, attributes=tagged("globex", "refunds"))
    server.send(request)
    server.root = root
    return server


def test_an_empty_store_shows_setup_instructions(browser):
    assert "init_tracing(" in Document(browser.get("/").text).text


def test_the_list_shows_tenants_workflows_failures_durations_and_tokens(filled, browser):
    page = Document(browser.get("/traces").text)
    for expected in (
        "acme",
        "pay",
        "✕ failed, 2 errors",
        "4 s",
        "1,234 in / 56 out",
        "globex",
        "refunds",
        "500 ms",
    ):
        assert expected in page.text
    assert "search: index away" in page.text


def test_the_overview_counts_traces_failures_and_tokens_by_tenant_and_workflow(filled, browser):
    page = Document(browser.get("/").text)
    for expected in ("acme", "pay", "globex", "refunds", "✕ 1", "1,234 in / 56 out"):
        assert expected in page.text


def test_the_overview_links_to_the_failed_traces_of_a_figure(filled, browser):
    links = [link for link in Document(browser.get("/").text).links() if "status=failed" in link]
    found = Document(browser.get(next(link for link in links if "tenant=acme" in link)).text)
    assert "checkout" in found.text
    assert "refund" not in found.text


@pytest.mark.parametrize(
    ("query", "shown", "hidden"),
    [
        ("tenant=globex", "refund", "checkout"),
        ("tenant=acme&workflow=pay", "checkout", "refund"),
        ("status=failed", "checkout", "refund"),
        ("status=ok", "refund", "checkout"),
        ("status=nonsense", "refund", "nothing-hidden"),
        ("model=small-1", "checkout", "refund"),
        ("agent=orchestrator", "checkout", "refund"),
        ("service=checkout", "refund", "nothing-hidden"),
        ("q=INDEX+away", "checkout", "refund"),
        ("q=ref", "refund", "checkout"),
        ("q=100%25", "no-such-name", "refund"),
        ("min=3000", "checkout", "refund"),
        ("max=3000", "refund", "checkout"),
        ("tokens=1000", "checkout", "refund"),
        ("to=1000", "no-such-name", "refund"),
        ("min=nonsense&tokens=-4&from=x&sort=y&before=z", "refund", "nothing-hidden"),
    ],
)
def test_the_list_is_filtered_by_properties_of_traces(filled, browser, query, shown, hidden):
    page = browser.get(f"/traces?{query}").text
    names = list_names(page)
    if shown == "no-such-name":
        assert names == []
        return
    assert shown in names
    assert hidden not in names


def test_the_list_of_the_last_hour_leaves_out_what_began_before_it(server, browser, export):
    now = time.time_ns()
    request = export()
    request.span("new", start_ns=now)
    request.span("old", start_ns=now - 2 * 3600 * 10**9)
    server.send(request)

    assert list_names(browser.get("/traces?range=1h").text) == ["new"]


@pytest.mark.parametrize(
    ("query", "notice"),
    [
        ("status=fialed", "status fialed (expected failed, recovered, errors, ok or open)."),
        ("tokens=-1", "tokens -1 (expected a whole number, at most 13 digits)."),
        ("min=12345678901234", "min 12345678901234 (expected whole milliseconds, at most 13 digits)."),
        ("range=nonsense", "range nonsense (expected 1h, 24h, 7d or all)."),
        ("from=xyz", "from xyz (expected milliseconds since 1970, at most 13 digits)."),
        ("sort=name", "sort name (expected start, duration, tokens, spans or cost)."),
        ("no_tenant=acme", "no_tenant acme (expected 1)."),
        ("before=9_zz", "before 9_zz (expected a value from an “older” link)."),
        ("duration=abc", "duration abc (valid names: tenant, workflow, agent, model, service, q, "),
        ("range=x&from=y", "from y (expected milliseconds since 1970, at most 13 digits), range x ("),
    ],
)
@pytest.mark.parametrize("path", ["/traces", "/"])
def test_an_invalid_part_of_an_address_is_reported_and_the_rest_kept(filled, browser, path, query, notice):
    page = browser.get(f"{path}?tenant=acme&{query}").text
    text = " ".join(Document(page).text.split())
    assert f"▲ Ignored parts of the address: {notice}" in text
    assert "refund" not in list_names(page)
    assert any("tenant=acme" in link for link in Document(page).links())


@pytest.mark.parametrize(
    "query", ["", "min=0&status=&tenant=+", "tenant=acme&tokens=007&sort=cost&range=all"]
)
def test_a_valid_address_shows_no_notice(filled, browser, query):
    for path in ("/traces", "/"):
        assert "Ignored parts" not in browser.get(f"{path}?{query}").text


def test_the_notice_of_ignored_parts_is_short_and_escaped(filled, browser):
    query = {f"{SCRIPT}{number}": f"{SCRIPT}\u202e{'x' * 400}" for number in range(20)}
    plain = len(browser.get("/traces").text)
    page = browser.get("/traces", params=query).text
    assert not {tag for tag, _ in Document(page).tags} & {"img", "b"}
    assert "and 15 more." in Document(page).text
    assert "\u202e" not in page
    assert len(page) < plain + 3000


def suggested(page: str) -> dict[str, list[str]]:
    """The values suggested by the fields of a page, by field."""
    lists = re.findall(r'<datalist id="(\w+)-names">(.*?)</datalist>', page)
    return {
        name: [attributes["value"] for tag, attributes in Document(options).tags if tag == "option"]
        for name, options in lists
    }


def test_the_fields_of_the_list_suggest_stored_names(filled, browser):
    page = browser.get("/traces?tenant=acme").text
    assert suggested(page) == {
        "tenant": ["acme", "globex"],
        "workflow": ["pay", "refunds"],
        "agent": ["orchestrator"],
        "model": ["small-1"],
        "service": ["checkout"],
    }
    fields = {attributes.get("list") for tag, attributes in Document(page).tags if tag == "input"}
    assert fields >= {f"{name}-names" for name in suggested(page)}


def test_suggestions_are_bounded_and_each_one_finds_its_traces(server, export, browser):
    request = export(**{"service.name": SCRIPT})
    for number in range(70):
        request.span(attributes=tagged(f"tenant {number:02}", f"{SCRIPT} {number:02}"))
    for name in (RIGHT_TO_LEFT, "n" * 101, " around ", "two\nlines"):
        request.span(attributes=tagged(name, name, **{"gen_ai.request.model": name, "agent_id": name}))
    server.send(request)
    page = browser.get("/traces").text
    found = suggested(page)
    assert len(found["tenant"]) == len(found["workflow"]) == 50
    for name in ("tenant", "workflow", "agent", "model", "service"):
        for value in found[name][:3]:
            assert list_names(browser.get("/traces", params={name: value}).text), (name, value)
    assert "\u202e" not in page
    assert all("n" * 101 not in names for names in found.values())
    assert not {tag for tag, _ in Document(page).tags} & {"img", "b"}


def test_a_filter_without_matches_offers_to_remove_it(filled, browser):
    page = Document(browser.get("/traces?tenant=nobody&status=failed").text)
    assert "No traces match" in page.text
    assert "/traces?status=failed" in page.links()
    assert "/traces" in page.links()


def test_every_kind_of_link_on_the_pages_resolves(filled, browser):
    # most of a thousand links combine the same parameters: one link of each combination is followed, and one
    # of each value
    followed: set[object] = set()
    todo = [httpx.URL(filled.url + "/")]
    while todo:
        address = todo.pop()
        # times differ from second to second
        given = {
            (name, "" if name in ("from", "to") else value) for name, value in address.params.multi_items()
        }
        kinds = {(address.path, frozenset(address.params)), *((address.path, one) for one in given)}
        if kinds <= followed:
            continue
        followed |= kinds
        answer = browser.get(address)
        assert answer.status_code == 200, address
        todo += [answer.url.join(link).copy_with(fragment=None) for link in Document(answer.text).links()]
    assert len(followed) > 8


def test_a_trace_is_a_tree_with_timings_tokens_and_failures(filled, browser):
    answer = browser.get(f"/trace/{filled.root.trace_id.hex()}")
    rows = re.findall(r'depth-(\d+)">.*?<a [^>]*href="\?span=[0-9a-f]{16}"[^>]*>([^<]*)</a>', answer.text)
    assert rows[0] == ("0", "checkout")
    assert sorted(rows[1:]) == [("1", "ask"), ("1", "search")]
    page = Document(answer.text)
    for expected in ("1,234 / 56", "1,234 in / 56 out", "in 1 model call ", "✕ search"):
        assert expected in " ".join(page.text.split())
    bars = [attributes for tag, attributes in page.tags if tag == "rect"]
    assert {"x": "0.00000", "width": "100.00000"}.items() <= bars[0].items()
    assert bars[0]["class"].split()[0] == "error"


def test_without_a_model_call_there_are_no_tokens_to_count(server, export, browser):
    request = export()
    root = request.span("quiet", attributes=tagged("acme"))
    server.send(request)
    trace = f"/trace/{root.trace_id.hex()}"
    for path in ("/", "/traces", trace):
        assert "0 in / 0 out" not in browser.get(path).text, path
    assert "no model calls" in Document(browser.get(trace).text).text
    for path in ("/", "/traces"):
        assert cells(browser.get(path).text, "Tokens") == ["–"]
    assert "Tokens in–\nTokens out–\n" in Document(browser.get("/").text).text


def test_calls_without_reported_tokens_are_not_shown_as_zero(server, export, browser):
    request = export()
    root = request.span("chat", attributes=tagged("acme", **{"gen_ai.operation.name": "chat"}))
    server.send(request)
    trace = Document(browser.get(f"/trace/{root.trace_id.hex()}").text).text
    assert "▲ 1 ? in 1 model call" in " ".join(trace.split())
    for path in ("/", "/traces"):
        assert cells(browser.get(path).text, "Tokens") == ["▲ 1 ?"]
    assert "Tokens in?\nTokens out?\n" in Document(browser.get("/").text).text


def test_a_count_of_one_is_singular_on_every_view(server, export, browser):
    request = export(**{"service.instance.id": "a"})
    call = {"gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 1}
    removed = {"somatrace.guard.removed": '[{"key": "note", "length": 1}]'}
    span = request.span("chat", failed="no", attributes={**call, **removed})
    span.dropped_attributes_count = 1
    server.send(request)
    server.post(b"", Authorization="Basic nobody")
    trace = f"/trace/{span.trace_id.hex()}"
    shown = ""
    for path in ("/", "/?from=1&to=2", "/traces", "/services", trace, f"{trace}?find=chat"):
        page = browser.get(path).text
        labels = [attributes.get("aria-label") or "" for _, attributes in Document(page).tags]
        text = " ".join([*Document(page).text.split(), *labels])
        assert not re.findall(rf"(?<![\d,.])1 (?:model |failed |new )?(?:{NOUNS})\b", text), path
        shown += text
    shown += browser.get(f"{trace}/new?spans=0").text
    for expected in (
        "1 span without a tenant",
        "1 span lost attributes, events or links to a limit",
        "1 request: wrong or missing key",
        "1 span service checkout 1 in / 0 out in 1 model call ",
        "1 attribute, event or link over a limit",
        "The guard removed 1 value, 1 character",
        "1 of 1 span matches",
        "input1 token",
        "1 new span: reload",
    ):
        assert expected in shown


def test_a_span_of_a_trace_shows_its_tags_attributes_and_error(filled, browser):
    trace_id = filled.root.trace_id.hex()
    (found,) = filled.api.observations.get_many(trace_id=trace_id, name="search").data
    page = Document(browser.get(f"/trace/{trace_id}?span={found.id}").text)
    for expected in ("index away", "resourceAttributes.service.name", "checkout", "tenant_id"):
        assert expected in page.text


def test_a_failed_span_shows_where_it_failed(server, export, browser):
    place = "KeyError\n  at shop.cart:total:12\n  at shop.api:pay:40"
    request = export()
    failed = request.span("pay", failed="KeyError", attributes={"exception.stacktrace": place})
    server.send(request)
    page = Document(browser.get(f"/trace/{failed.trace_id.hex()}?span={failed.span_id.hex()}").text)
    assert "Failed at" in page.text
    assert page.text.count(place) == 2  # below the status, and among the attributes


def test_an_unknown_trace_is_a_404_page(browser):
    answer = browser.get("/trace/" + "ab" * 16)
    assert answer.status_code == 404
    assert "Not found" in answer.text


def test_older_traces_are_one_link_away(server, export, browser):
    request = export()
    for number in range(120):
        request.span(f"trace {number}")
    server.send(request)
    page = browser.get("/traces").text
    names = list_names(page)
    for _ in range(2):
        page = browser.get(re.search(r'<a href="([^"]*)" id="older"', page)[1].replace("&amp;", "&")).text
        names += list_names(page)
    assert 'id="older"' not in page
    assert sorted(names) == sorted(f"trace {number}" for number in range(120))


def test_span_content_is_escaped_everywhere(server, export, browser):
    request = export(**{"service.name": SCRIPT, SCRIPT: SCRIPT})
    hostile = {
        SCRIPT: SCRIPT,
        "langfuse.trace.tags": [SCRIPT],
        "langfuse.observation.input": SCRIPT,
        "langfuse.observation.usage_details": '{"<script>": 1}',
        "agent_id": SCRIPT,
        "gen_ai.request.model": SCRIPT,
        f"langfuse.trace.metadata.{SCRIPT}": SCRIPT,
    }
    span = request.span(SCRIPT, failed=SCRIPT, attributes=tagged(SCRIPT, SCRIPT, **hostile))
    span.events.add(name=SCRIPT).attributes.add(key=SCRIPT)
    span.links.add(trace_id=b'"><script>alert(1', span_id=b'"><b>')
    server.send(request)
    trace_id, span_id = span.trace_id.hex(), span.span_id.hex()
    for path in (
        "/",
        "/traces",
        "/services",
        f"/trace/{trace_id}",
        f"/trace/{trace_id}?span={span_id}",
        f"/trace/{trace_id}/span/{span_id}",
        f"/trace/{trace_id}/rows",
        f"/?tenant={SCRIPT}&workflow={SCRIPT}&range={SCRIPT}&from={SCRIPT}",
        f"/traces?tenant={SCRIPT}&workflow={SCRIPT}&status={SCRIPT}&range={SCRIPT}&before={SCRIPT}&q={SCRIPT}",
        f"/traces/new?since={SCRIPT}&tenant={SCRIPT}",
        f"/trace/{SCRIPT.replace('/', '%2F')}",
        f"/trace/{trace_id}?span={SCRIPT}&find={SCRIPT}&under={SCRIPT}&show={SCRIPT}&zoom={SCRIPT}",
    ):
        page = Document(browser.get(path).text)
        assert not {tag for tag, _ in page.tags} & {"img", "b"}, path
        scripts = [attributes for tag, attributes in page.tags if tag == "script"]
        assert all(attributes["src"].startswith("/static/") for attributes in scripts), path
        for _, attributes in page.tags:
            assert not [name for name in attributes if name.startswith("on") or name == "style"]
            assert (attributes.get("href") or "/").startswith(("/", "?", "#"))


def test_direction_and_control_characters_are_visible_as_escapes(server, export, browser):
    request = export()
    span = request.span(RIGHT_TO_LEFT + "\u200b\0\x1b[31m")
    server.send(request)
    page = browser.get(f"/trace/{span.trace_id.hex()}").text
    assert r"user\u202egnp.exe\u200b\u0000\u001b[31m" in page
    assert not set(page) & set("\u202e\u200b\0\x1b")


@pytest.mark.parametrize("size", [1_000_000, 1_000])
def test_a_name_of_any_length_leaves_a_page_of_bounded_size(server, export, browser, size):
    request = export()
    span = request.span("n" * size, attributes={"a" * size: "v" * size})
    server.send(request)
    answer = browser.get(f"/trace/{span.trace_id.hex()}?span={span.span_id.hex()}")
    assert answer.status_code == 200
    assert len(answer.text) < 30_000


def test_a_thousand_children_come_in_pieces(server, export, browser):
    request = export()
    root = request.span("root")
    for number in range(1000):
        last = request.span(f"child {number}", parent=root, start_ns=root.start_time_unix_nano + number)
    server.send(request)
    trace = f"/trace/{root.trace_id.hex()}"
    first = browser.get(trace).text
    assert len(re.findall(r"<tr", first)) < 220
    assert "more: show" in Document(first).text
    assert "child 999" in browser.get(f"{trace}?span={last.span_id.hex()}").text
    more = re.search(r'href="(\?[^"]*part=[^"]*)"', first)[1].replace("&amp;", "&")
    assert len(re.findall(r"<tr", browser.get(f"{trace}/rows{more}").text)) == window.ROWS + 1


def test_a_chain_of_spans_deeper_than_recursion_is_shown(server, export, browser):
    request = export()
    span = root = request.span("root")
    for number in range(3000):
        span = request.span(f"level {number}", parent=span)
    server.send(request)
    assert "level 2999" in browser.get(f"/trace/{root.trace_id.hex()}?span={span.span_id.hex()}").text


def test_spans_without_an_end_and_clocks_that_differ_are_marked_and_shown_as_sent(server, export, browser):
    request = export()
    root = request.span("root")
    request.span("early", parent=root, start_ns=NOW - 3_000_000)
    request.span("backwards", parent=root, start_ns=NOW + 5, seconds=-1)
    request.span("unfinished", parent=root).end_time_unix_nano = 0
    server.send(request)
    path = f"/trace/{root.trace_id.hex()}"

    page = browser.get(path).text

    rows = {re.search(r"(\w+)</a>", row)[1]: row for row in re.findall(r"<tr id=.*?</tr>", page, re.DOTALL)}
    assert "skew" in rows["early"]
    assert "skew" in rows["backwards"]
    assert "◌ no end" in rows["unfinished"]
    assert "▲" not in rows["root"]
    assert "starts 3 ms before its parent" in page
    (sent,) = [
        span
        for scope in json.loads(browser.get(f"{path}/file").text)["resourceSpans"]
        for span in scope["scopeSpans"][0]["spans"]
        if span["name"] == "unfinished"
    ]
    assert sent["endTimeUnixNano"] == "0"


def test_orphans_of_one_parent_share_a_placeholder_row(server, export, browser):
    request = export()
    first = request.span("first")
    second = request.span("second", trace=first.trace_id)
    first.parent_span_id = second.parent_span_id = b"\7" * 8
    server.send(request)

    page = Document(browser.get(f"/trace/{first.trace_id.hex()}").text)

    levels = [
        attributes["aria-level"]
        for tag, attributes in page.tags
        if tag == "tr" and "aria-level" in attributes
    ]
    assert levels == ["1", "2", "2"]
    assert "2 spans" in page.text


def test_cycles_and_missing_parents_are_shown_and_marked(server, export, browser):
    request = export()
    orphan = request.span("orphan")
    orphan.parent_span_id = b"\7" * 8
    one, other = request.span("one", trace=orphan.trace_id), request.span("other", trace=orphan.trace_id)
    one.parent_span_id, other.parent_span_id = other.span_id, one.span_id
    itself = request.span("itself", trace=orphan.trace_id)
    itself.parent_span_id = itself.span_id
    server.send(request)
    page = Document(browser.get(f"/trace/{orphan.trace_id.hex()}").text).text
    assert page.count("▲ parent 07070707 never arrived") == 1
    assert page.count("▲ cycle") == 2
    for name in ("orphan", "one", "other", "itself"):
        assert name in page


ids = st.sampled_from("abcdefg")
forests = st.dictionaries(
    ids, st.tuples(st.none() | ids, st.integers(0, 9), st.integers(0, 9), st.booleans())
)


LEVELS = {True: "ERROR", False: "DEFAULT"}


def tree_of(spans) -> span_tree.SpanTree:
    by_start = sorted(spans.items(), key=lambda item: (item[1][1], item[0]))
    return span_tree.build(
        span_tree.LightSpan(
            name, parent, name, "GENERATION", LEVELS[failed], start, start + long, 1, 2, "s", None, None, "ok"
        )
        for name, (parent, start, long, failed) in by_start
    )


@settings(deadline=None)
@given(forests)
def test_for_any_parents_each_span_is_shown_once_and_below_its_parent(spans):
    found = tree_of(spans)
    absent = {parent for parent, *_ in spans.values() if parent and parent not in spans}
    assert sorted(node.span.span_id for node in found.nodes) == sorted({*spans, *absent})
    assert found.missing == len(absent)
    assert [node.position for node in found.nodes] == list(range(1, len(found.nodes) + 1))
    above: dict[int, str] = {}
    for node in found.nodes:
        above[node.depth] = node.span.span_id
        if node.depth:
            assert above[node.depth - 1] == node.span.parent_id
            assert node.parent.children[node.place] is node
        else:
            assert node.defect == "cycle" or node.span.parent_id is None
            assert (node.defect == "missing parent") == (node.span.span_id in absent)


@settings(deadline=None)
@given(forests)
def test_the_sums_of_a_branch_equal_the_sums_of_its_spans(spans):
    found = tree_of(spans)
    assert sum(top.spans for top in found.tops) == len(spans)
    assert sum(top.failed for top in found.tops) == sum(failed for *_, failed in spans.values())
    assert sum(top.input_tokens for top in found.tops) == len(spans)
    for node in found.nodes:
        assert 0 <= node.self_ns <= node.span.end_ns - node.span.start_ns


@settings(deadline=None)
@given(
    forests,
    st.sampled_from(["", *"abcdefg"]),
    st.sampled_from(["", "errors", "critical", "all"]),
    st.sampled_from(["", "a", "nothing"]),
)
def test_for_any_view_the_rows_are_distinct_and_include_the_chosen_span(spans, span, show, find):
    found = tree_of(spans)
    rows = window.choose(found, window.ViewRequest(span, "", show, find)).rows
    lines = [row.node.span.span_id for row in rows if isinstance(row, window.SpanLine)]
    assert len(lines) == len(set(lines))
    if span in spans:
        assert span in lines
    if show == "all" and not find:
        assert set(lines) >= set(spans)


def test_the_rows_of_a_trace_of_any_shape_are_bounded_and_account_for_every_span():
    spans = {
        f"{number:05}": (f"{number // 3:05}" if number else None, number, 5, number % 7 == 0)
        for number in range(3000)
    }
    spans |= {f"x{number}": ("00000", number, 1, True) for number in range(3000)}
    found = tree_of(spans)
    rows = window.choose(found, window.ViewRequest(span="x2999")).rows
    assert len(rows) <= 2 * window.ROWS
    closed = [row.node.spans - 1 for row in rows if isinstance(row, window.SpanLine) and not row.is_open]
    shown = sum(isinstance(row, window.SpanLine) for row in rows)
    assert (
        shown + sum(closed) + sum(row.spans for row in rows if isinstance(row, window.FoldedSiblings)) == 6000
    )


def of_names(names: str, failed: str = "") -> span_tree.SpanTree:
    """A root with one child per letter, named after it; those at the places in `failed` have failed."""
    rows = [("root", None, "root", "CHAIN", "DEFAULT", 0, 1000, 1, 2, "s", None, None, "ok")]
    for place, name in enumerate(names):
        level = LEVELS[str(place) in failed]
        rows.append(
            (f"{place:03}", "root", name, "TOOL", level, place, place + 1, 1, 2, "s", None, None, "ok")
        )
    return span_tree.build(map(span_tree.LightSpan._make, rows))


@pytest.mark.parametrize(
    ("names", "failed", "span", "shown"),
    [
        ("aaaa", "", "", "aaaa"),
        ("aaaaa", "", "", "a(4 a)"),
        ("aaaaab", "", "", "a(4 a)b"),
        ("baaaaaac", "", "", "ba(5 a)c"),
        ("aaaaabbbbb", "", "", "a(4 a)b(4 b)"),
        ("aaaaaaaaaa", "2", "", "aaaa(6 a)"),
        ("aaaaaaaaaa", "", "007", "a(6 a)aaa"),
    ],
)
def test_five_equal_siblings_fold_except_the_first_the_failed_and_the_chosen(names, failed, span, shown):
    rows = window.choose(of_names(names, failed), window.ViewRequest(span)).rows

    def word(row: window.SpanLine | window.FoldedSiblings) -> str:
        return row.node.span.name if isinstance(row, window.SpanLine) else f"({row.spans} {row.name})"

    assert "".join(map(word, rows[1:])) == shown


def test_folded_siblings_are_shown_on_request_and_in_the_full_view():
    found = of_names("a" * 9)
    (more,) = [
        row
        for row in window.choose(found, window.ViewRequest()).rows
        if isinstance(row, window.FoldedSiblings)
    ]

    rows = window.below(found, window.ViewRequest(under="root", part=(more.start, more.stop)))

    assert [row.node.span.span_id for row in rows] == [f"{place:03}" for place in range(1, 9)]
    assert len(window.choose(found, window.ViewRequest(show="all")).rows) == 10
    assert [type(row) for row in window.below(found, window.ViewRequest(under="root"))] == [
        window.SpanLine,
        window.FoldedSiblings,
    ]


@pytest.mark.parametrize(("spans", "lines", "folded"), [(200, 200, 0), (201, 201, 0), (202, 200, 2)])
def test_a_single_remaining_span_gets_its_own_row_instead_of_a_folded_row(spans, lines, folded):
    found = of_names("".join(chr(0x4E00 + place) for place in range(spans)))

    rows = window.below(found, window.ViewRequest(under="root"))

    assert sum(isinstance(row, window.SpanLine) for row in rows) == lines
    assert sum(row.spans for row in rows if isinstance(row, window.FoldedSiblings)) == folded


@pytest.mark.parametrize(
    "path", ["/", "/open", "/static/page.css", "/api/public/health", "/no/such", "/v1/traces"]
)
def test_every_response_has_the_security_headers(server, path):
    headers = server.client.get(server.url + path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"


def test_pages_load_nothing_from_elsewhere_and_have_nothing_inline(filled, browser):
    for path in ("/", "/traces", "/services", "/open", f"/trace/{filled.root.trace_id.hex()}"):
        for tag, attributes in Document(browser.get(path).text).tags:
            assert tag != "style"
            source = attributes.get("src") or (attributes.get("href") if tag == "link" else "/")
            assert source is None or source.startswith("/"), tag
            assert tag != "script" or attributes["src"].startswith("/static/")


@pytest.mark.parametrize("path", ["/", "/trace/" + "ab" * 16])
def test_without_the_cookie_nothing_is_shown(filled, path):
    answer = filled.client.get(filled.url + path)
    assert answer.status_code == 401
    assert "acme" not in answer.text


def test_a_link_opens_the_page_once(server):
    token = auth.link(server.keys, server.url, 60).partition("#")[2]
    first = server.client.post(server.url + "/open", data={"token": token})
    cookie = first.headers["set-cookie"]
    assert first.status_code == 303
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    again = server.client.post(server.url + "/open", data={"token": token})
    assert again.status_code == 403
    assert "set-cookie" not in again.headers
    server.client.cookies.clear()


@pytest.mark.parametrize("used", [True, False])
def test_a_link_ends_with_the_server_that_printed_it(start_server, tmp_path, used):
    before = start_server(tmp_path / "data")
    token = auth.link(before.keys, before.url, 60).partition("#")[2]
    if used:
        with httpx.Client(base_url=before.url, timeout=HANG) as client:
            assert client.post("/open", data={"token": token}).status_code == 303
    after = start_server(tmp_path / "data")
    answer = after.client.post(after.url + "/open", data={"token": token})
    assert (answer.status_code, "set-cookie" in answer.headers) == (403, False)


def test_a_session_outlives_a_restart(start_server, tmp_path):
    before = start_server(tmp_path / "data")
    with before.browser() as client:
        value = next(iter(client.cookies.values()))
    after = start_server(tmp_path / "data")
    name = f"somatrace_{after.url.rpartition(':')[2]}"
    assert httpx.get(after.url, headers={"Cookie": f"{name}={value}"}, timeout=HANG).status_code == 200


@pytest.mark.parametrize("token", ["", "x", "1.2.3", "9999999999.aaaa.bbbb", "\u20ac", "a" * 5000])
def test_an_invalid_token_does_not_sign_in(shared_server, token):
    answer = shared_server.client.post(shared_server.url + "/open", data={"token": token})
    assert answer.status_code in (403, 413)
    assert "set-cookie" not in answer.headers


def test_an_expired_link_does_not_sign_in(shared_server):
    token = auth.link(shared_server.keys, shared_server.url, -1).partition("#")[2]
    assert shared_server.client.post(shared_server.url + "/open", data={"token": token}).status_code == 403


def test_session_and_link_tokens_are_not_interchangeable(server, browser):
    (name,) = browser.cookies
    answer = server.client.post(server.url + "/open", data={"token": browser.cookies[name]})
    assert answer.status_code == 403
    token = auth.link(server.keys, server.url, 60).partition("#")[2]
    assert httpx.get(server.url, headers={"Cookie": f"{name}={token}"}, timeout=HANG).status_code == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 200),
        ({"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"}, 401),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, 401),
    ],
)
def test_a_page_on_another_port_cannot_use_the_cookie(browser, headers, status):
    assert browser.get("/", headers=headers).status_code == status


def test_a_page_elsewhere_cannot_spend_the_link(shared_server):
    token = auth.link(shared_server.keys, shared_server.url, 60).partition("#")[2]
    answer = shared_server.client.post(
        shared_server.url + "/open", data={"token": token}, headers={"Sec-Fetch-Site": "cross-site"}
    )
    assert answer.status_code == 403


def test_the_cookie_does_not_grant_api_access(filled, browser):
    assert browser.get("/api/public/v2/observations").status_code == 401
    assert browser.post("/v1/traces").status_code == 401


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "localhost.evil", "0.0.0.0"])
@pytest.mark.parametrize("path", ["/", "/open", "/api/public/health", "/v1/traces", "/static/page.css"])
def test_an_unknown_host_header_is_rejected_against_dns_rebinding(shared_server, host, path):
    answer = shared_server.client.get(shared_server.url + path, headers={"Host": host})
    assert answer.status_code == 400


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:4318", "LOCALHOST", "[::1]:4318"])
def test_this_machines_own_names_are_served(shared_server, host):
    answer = shared_server.client.get(shared_server.url + "/api/public/health", headers={"Host": host})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "path", ["/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py", "/static/"]
)
def test_only_static_files_are_served_from_static(shared_server, path):
    assert shared_server.client.get(shared_server.url + path).status_code == 404


@pytest.mark.parametrize(
    ("nanoseconds", "expected"),
    [
        (0, "0 µs"),
        (840_000, "840 µs"),
        (8_310_000, "8.31 ms"),
        (500_000_000, "500 ms"),
        (999_900_000, "1 s"),
        (1_280_000_000, "1.28 s"),
        (59_990_000_000, "60 s"),
        (125_000_000_000, "2 min 05 s"),
        (3_599_400_000_000, "59 min 59 s"),
        (28_861_000_000_000, "8 h 01 min"),
        (47 * 3_600_000_000_000, "47 h 00 min"),
        (76 * 3_600_000_000_000, "3 d 04 h"),
        (-5, "negative"),
    ],
)
def test_durations_are_human_readable(nanoseconds, expected):
    assert formatting.duration(nanoseconds) == expected


def test_counts_are_human_readable():
    assert [formatting.count(number) for number in (0, 12_480, 1_280_000, None)] == [
        "0",
        "12,480",
        "1.28 M",
        "?",
    ]
    assert [formatting.counted(number, "span") for number in (0, 1, 1200)] == [
        "0 spans",
        "1 span",
        "1,200 spans",
    ]
    assert formatting.counted(2, "process", "processes") == "2 processes"


@pytest.mark.parametrize("name", ["from", "to", "min", "max"])
def test_a_number_beyond_the_stores_integers_filters_like_the_largest(filled, browser, name):
    answer = browser.get("/traces", params={name: "9" * 13})
    assert answer.status_code == 200
    assert bool(list_names(answer.text)) is (name in ("to", "max"))
