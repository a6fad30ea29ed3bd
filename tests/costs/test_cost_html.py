"""`somatrace costs --html`: one page with the figures of the JSON, in which no label is more than a text."""

from __future__ import annotations

import json
from decimal import Decimal
from html.parser import HTMLParser

import pytest

from tests.costs.test_costs_command import START, call, costs, env

__all__ = ["costs", "env"]

HOSTILE = [
    "<script>alert(1)</script>",
    "\"onmouseover='alert(1)' &lt;b&gt;",
    "</td></table><img src=//elsewhere.example/x>",
    "$title ${table}",
    "left\u202eright\u200f",
    "x" * 10_000,
]
#: Every element that a page consists of.
ELEMENTS = {"html", "head", "meta", "title", "style", "body", "main", "h1", "p", "div", "span", "i"} | {
    "table", "thead", "tbody", "tfoot", "tr", "th", "td",
}  # fmt: skip
ATTRIBUTES = {"lang", "charset", "name", "content", "http-equiv", "scope", "class", "style", "role"} | {
    "aria-label",
    "tabindex",
}


class Page(HTMLParser):
    """The elements and attributes of a page, and the texts of its table by row."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.attributes: set[str] = set()
        self.rows: list[list[str]] = []
        self._in_cell = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append("")
            self._in_cell = True

    def handle_endtag(self, tag):
        if tag in ("th", "td"):
            self._in_cell = False

    def handle_data(self, data):
        if self._in_cell:
            self.rows[-1][-1] += data


def figures(cells: list[str], headings: list[str]) -> dict[str, str]:
    return {name: cell.replace(",", "") for name, cell in zip(headings, cells, strict=True)}


def test_the_figures_are_those_of_the_json(costs, env):
    page, report = costs("--html", **env), json.loads(costs("--json", **env).stdout)

    headings, acme, _, total = Page(page.stdout).rows
    assert (page.returncode, page.stderr) == (0, "")
    assert headings[:3] == ["tenant", "cost USD", "share"]
    for cells, wanted in ((acme, report["rows"][0]), (total, report["total"])):
        shown = figures(cells, headings)
        assert Decimal(shown["cost USD"]) == Decimal(wanted["cost_usd"])
        assert [int(shown[name]) for name in ("calls", "errors", "unknown")] == [
            wanted[name] for name in ("calls", "errors", "unknown")
        ]
        assert int(shown["input"]) == wanted["input_tokens"]
        assert int(shown["output"]) == wanted["output_tokens"]
    assert figures(acme, headings)["share"] == "100.0 %"


def test_hostile_labels_are_texts_and_the_page_refers_to_nothing(costs, env, server, export):
    request = export()
    for label in HOSTILE:
        request.span(start_ns=START, attributes=call(label, label, 1))
    server.send(request)

    page = costs("--html", "--by", "tenant,model", **env).stdout

    found = Page(page)
    labels = {cells[0] for cells in found.rows}
    assert {HOSTILE[0], HOSTILE[1], HOSTILE[2], HOSTILE[3], r"left\u202eright\u200f"} <= labels
    assert found.elements <= ELEMENTS
    assert found.attributes <= ATTRIBUTES
    assert "url(" not in page
    assert "@import" not in page
    assert len(page) < 50_000
    assert {len(cells) for cells in found.rows} == {len(found.rows[0])}


def test_a_page_without_figures_says_why(costs):
    done = costs("--html")

    assert done.returncode == 1
    assert "<table" not in done.stdout
    assert "unavailable: no span is stored on this machine" in done.stdout


@pytest.mark.parametrize("other", ["--json", "--csv"])
def test_a_page_excludes_other_forms(costs, other):
    done = costs("--html", other)

    assert (done.returncode, done.stdout) == (2, "")
    assert "--json, --csv and --html exclude each other" in done.stderr
