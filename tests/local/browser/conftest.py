"""Fixtures for browser tests: headless Chromium, a real server, and stores with realistic traces."""

from __future__ import annotations

import itertools
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from somatrace.guard.removal_notes import RemovalNote, note
from somatrace.local.access import auth
from somatrace.local.access.keys import LINK_SECONDS
from tests.support.local_server import NOW, Export, Running, start_lasting_server, start_server
from tests.support.waiting import HANG, Found, wait_until

__all__ = ["start_lasting_server", "start_server"]

SECOND = 1_000_000_000
#: an hour before the tests start, so that spans sent during a test are newer
EARLIER = NOW - 3600 * SECOND
#: Chromium's console messages for status codes that tests provoke on purpose
EXPECTED = re.compile(r"status of (404|503)")
AXE = Path(__file__).parent / "vendor" / "axe.min.js"
PHONE = {"width": 360, "height": 780}
DESK = {"width": 1280, "height": 900}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """The system's Chromium, without any download."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        # Chromium's sandbox needs privileges that containers lack; it only loads our loopback server
        running = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield running
        running.close()


@dataclass
class Visitor:
    """A signed-in browser, with its console errors and requests."""

    page: Any
    server: Running
    problems: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)

    def goto(self, path: str) -> Any:
        return self.page.goto(self.server.url + path)

    def text(self, selector: str) -> str:
        return " ".join(self.page.inner_text(selector).split())

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def becomes(self, expression: str) -> None:
        """Wait until a JavaScript expression is true; the page's CSP forbids evaluating it inside."""
        wait_until(lambda: self.page.evaluate(expression))

    def until(self, holds: Callable[[], Found]) -> Found:
        """Wait until `holds` returns a true value and return it; meanwhile, handlers receive events."""

        def look() -> Found:
            # Playwright calls handlers only while one of its functions runs
            self.page.wait_for_timeout(10)
            return holds()

        return wait_until(look)

    def start_recording(self) -> None:
        self.page.evaluate("performance.mark('start')")

    def recorded(self) -> list[str]:
        """Requests that the page began since `start_recording`, without those that are still on the way."""
        return self.page.evaluate(
            "performance.getEntriesByType('resource')"
            ".filter(entry => entry.startTime > performance.getEntriesByName('start')[0].startTime)"
            ".map(entry => entry.name)"
        )

    def charts_are_drawn(self) -> None:
        self.page.locator(".plot:not([data-drawn])").first.wait_for(state="detached")

    def arrives_at(self, pattern: str) -> None:
        self.page.wait_for_url(pattern)

    def fail_requests(self, pattern: str) -> None:
        """Abort requests until `unroute`; the console's report of each may arrive at any later time."""
        self.expected += ["net::ERR_FAILED", "htmx:error"]
        self.page.route(pattern, lambda route: route.abort())


@pytest.fixture
def visit(chromium: Any) -> Iterator[Callable[..., Visitor]]:
    """Opens browsers; console errors, CSP violations and requests to other hosts fail the test."""
    visitors: list[Visitor] = []

    def open_browser(
        server: Running, viewport: dict[str, int] = DESK, scheme: str = "light", **options: Any
    ) -> Visitor:
        context = chromium.new_context(
            viewport=viewport, color_scheme=scheme, timezone_id="Asia/Tokyo", **options
        )
        context.set_default_timeout(1000 * HANG)
        context.add_init_script(
            "document.addEventListener('securitypolicyviolation', "
            "event => console.error('CSP: ' + event.violatedDirective + ' ' + event.blockedURI))"
        )
        visitor = Visitor(context.new_page(), server)
        visitor.page.on("request", lambda request: visitor.requests.append(request.url))
        visitor.page.on("dialog", lambda dialog: visitor.problems.append(f"dialog: {dialog.message}"))
        visitor.page.on("pageerror", lambda error: visitor.problems.append(f"error: {error}"))
        visitor.page.on(
            "console",
            lambda message: (
                visitor.problems.append(message.text) if message.type in ("error", "warning") else None
            ),
        )
        visitors.append(visitor)
        visitor.page.goto(auth.link(server.keys, server.url, LINK_SECONDS))
        visitor.arrives_at(server.url + "/")
        return visitor

    yield open_browser
    for visitor in visitors:
        visitor.page.context.close()
        elsewhere = [url for url in visitor.requests if not url.startswith((visitor.server.url, "data:"))]
        assert elsewhere == []
        unexpected = [text for text in visitor.problems if not EXPECTED.search(text)]
        assert [text for text in unexpected if not any(part in text for part in visitor.expected)] == []


@pytest.fixture
def unscripted(chromium: Any, visit: Callable[..., Visitor]) -> Iterator[Callable[[Running, str], Any]]:
    """Opens a page in a browser with scripts disabled."""
    contexts = []

    def open_page(server: Running, address: str) -> Any:
        cookies = visit(server).page.context.cookies()
        context = chromium.new_context(java_script_enabled=False, viewport=DESK)
        contexts.append(context)
        context.set_default_timeout(1000 * HANG)
        context.add_cookies(cookies)
        page = context.new_page()
        page.goto(server.url + address)
        return page

    yield open_page
    for context in contexts:
        context.close()


def check_accessibility(visitor: Visitor) -> None:
    """Assert that axe-core finds no violations; the debugger injects it, so the CSP stays in force."""
    visitor.page.evaluate(AXE.read_text())
    found = visitor.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    problems = [
        f"{violation['id']}: {node['target']} {node['failureSummary']}"
        for violation in found["violations"]
        for node in violation["nodes"]
    ]
    assert problems == []


class Day(Export):
    """Workflows of several tenants as four services send them, one minute apart, starting at `begin`."""

    def __init__(self, begin: int = EARLIER) -> None:
        super().__init__("somatrace", **{"service.name": "orchestrator", "service.version": "1.4.2"})
        self._begin = begin
        self._number = itertools.count()

    def workflow(
        self,
        tenant: str,
        name: str = "answer-question",
        *,
        start_ns: int | None = None,
        seconds: float = 1.0,
        failed: str | None = None,
        tokens: int = 1200,
    ) -> Any:
        """Add a workflow with an agent, a retrieval that may fail, and a model call; returns its root."""
        start = self._begin + next(self._number) * 60 * SECOND if start_ns is None else start_ns
        tags = {
            "langfuse.trace.name": name,
            "langfuse.trace.metadata.tenant_id": tenant,
            "langfuse.trace.metadata.workflow_name": name,
            "langfuse.trace.metadata.correlation_id": f"corr-{tenant}-{start}",
            "langfuse.trace.tags": [f"tenant:{tenant}"],
        }

        def part(label: str, parent: Any, at: float, share: float, error: str | None, **more: Any) -> Any:
            return self.span(
                label,
                parent=parent,
                start_ns=start + int(at * seconds * SECOND),
                seconds=share * seconds,
                failed=error,
                attributes={**tags, **{key.replace("__", "."): value for key, value in more.items()}},
            )

        passed_up = f"{failed}, passed on" if failed else None
        root = part(name, None, 0, 1, passed_up, langfuse__observation__type="chain")
        agent = part(
            "plan-and-answer",
            root,
            0.05,
            0.9,
            passed_up,
            langfuse__observation__type="agent",
            agent_id="planner",
        )
        code = {"error__code": "shard_away", "error__type": "UpstreamError"} if failed else {}
        part("search articles", agent, 0.1, 0.3, failed, langfuse__observation__type="retriever", **code)
        part(
            "chat small-1",
            agent,
            0.45,
            0.45,
            None,
            gen_ai__operation__name="chat",
            gen_ai__request__model="small-1",
            gen_ai__usage__input_tokens=tokens,
            gen_ai__usage__output_tokens=60,
            somatrace__guard__removed=note([RemovalNote("gen_ai.prompt.0.content", 1204, "policy none")]),
        )
        return root


def a_day(begin: int = EARLIER) -> Day:
    """Three tenants; one workflow of globex failed."""
    day = Day(begin)
    for number in range(12):
        day.workflow("acme", seconds=0.5 + number / 10)
    for _ in range(4):
        day.workflow("initech", "summarise", seconds=3)
    for _ in range(3):
        day.workflow("globex", "triage-ticket", seconds=2)
    day.workflow("globex", "triage-ticket", seconds=2, failed="index shard 3 did not answer")
    return day


def large(spans: int = 10_000) -> tuple[Export, Any]:
    """A trace of that many spans, 40 per parent, three of them failed; also returns its root."""
    export = Export("somatrace", **{"service.name": "indexer"})
    made = [export.span("nightly-index", start_ns=EARLIER, seconds=60)]
    for number in range(1, spans):
        parent = made[(number - 1) // 40]
        failed = f"document {number} is not UTF-8" if number in (777, 4242, 9001) else None
        start = parent.start_time_unix_nano + number % 40 * 1000
        made.append(
            export.span(f"document {number}", parent=parent, start_ns=start, seconds=0.5, failed=failed)
        )
    return export, made[0]


@pytest.fixture(scope="session")
def day_server(
    start_lasting_server: Callable[..., Running], tmp_path_factory: pytest.TempPathFactory
) -> Running:
    """A server with one day of traces, which tests only read."""
    server = start_lasting_server(tmp_path_factory.mktemp("day"))
    server.send(a_day())
    return server


@pytest.fixture
def hour_server(server: Running) -> Running:
    """A server with the same traces in the last hour as the page sees it: `day_server`'s grow old
    while other tests run."""
    server.send(a_day(time.time_ns() - 3000 * SECOND))
    return server


@pytest.fixture(scope="session")
def scene_server(
    start_lasting_server: Callable[..., Running], tmp_path_factory: pytest.TempPathFactory
) -> Running:
    """A server with one day of several services, including their tracing reports."""
    from tests.local.browser.scene import set_up

    server = start_lasting_server(tmp_path_factory.mktemp("scene-day"))
    set_up(server)
    return server


@pytest.fixture
def server(start_server: Callable[..., Running], tmp_path: Path) -> Running:
    """A server with an empty store."""
    return start_server(tmp_path / "data")
