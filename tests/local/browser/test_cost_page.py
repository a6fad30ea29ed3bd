"""The page of `somatrace costs --html` in a browser: readable on every screen, and nothing in it acts."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest

from somatrace.costs import CostReport, CostRow
from tests.local.browser.conftest import AXE, DESK, PHONE

HOSTILE = ("<script>document.title = 'taken'</script>", "\u202ereversed", "x" * 10_000)


def report() -> CostReport:
    rows = tuple(
        CostRow(
            (label, "pay"), 1210, 3, 1_585_100, 267_410, Decimal(cost), 9, 840, 2310, 9120, {}, 40, Decimal(2)
        )
        for label, cost in zip(("acme", *HOSTILE), ("84.12", "31.4", "0.03", "0"), strict=True)
    )
    now = dt.datetime(2026, 12, 1, tzinfo=dt.UTC)
    total = CostRow(
        (), 4840, 12, 6_340_400, 1_069_640, Decimal("115.55"), 36, 840, 2310, 9120, {"EUR": Decimal(1)}
    )
    where = "https://langfuse.example.com"
    return CostReport("langfuse", ("tenant", "workflow"), now - dt.timedelta(7), now, where, "", rows, total)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", [DESK, PHONE], ids=["desk", "phone"])
def test_the_page_is_accessible_fits_the_screen_and_runs_nothing(chromium, scheme, screen):
    context = chromium.new_context(viewport=screen, color_scheme=scheme)
    page = context.new_page()
    problems: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))

    page.set_content(report().as_html())

    assert page.title() == "Costs by tenant, workflow"
    assert page.evaluate("document.documentElement.scrollWidth") <= screen["width"]
    assert page.locator(".bar").count() == 3
    assert (problems, requests) == ([], [])
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    assert [(each["id"], [node["target"] for node in each["nodes"]]) for each in found["violations"]] == []
    context.close()
