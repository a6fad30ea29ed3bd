"""docs/troubleshooting.md explains exactly the messages of smoke and doctor, and each one is used."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from somatrace.doctor.findings import KINDS
from somatrace.smoke.outcomes import NOTES, OUTCOMES

ROOT = Path(__file__).resolve().parent.parent.parent
SOURCE = ROOT / "somatrace"
SECTIONS = re.split(r"^## ", (ROOT / "docs" / "troubleshooting.md").read_text(), flags=re.MULTILINE)


def rows(section: str, columns: int) -> list[list[str]]:
    [text] = [each for each in SECTIONS if each.startswith(section)]
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    cells = [
        [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines
    ]
    return [row for row in cells if len(row) == columns and not {"message", "what it means"} & set(row)]


def shown(template: str) -> str:
    return re.sub(r"\{\w+\}", "…", template)


def test_the_page_explains_exactly_the_outcomes_of_smoke():
    explained = [(int(code), message, advice) for code, message, _, advice in rows("somatrace smoke", 4)]

    assert explained == [
        (outcome.code, shown(outcome.message), shown(outcome.advice) or "nothing")
        for outcome in OUTCOMES.values()
    ]


def test_the_page_explains_exactly_the_notes_of_smoke():
    assert [note for note, _ in rows("somatrace smoke", 2)] == [shown(note) for note in NOTES.values()]


def test_the_page_explains_exactly_the_findings_of_doctor():
    explained = [(level, message, advice) for level, message, _, advice in rows("somatrace doctor", 4)]

    assert explained == [
        (kind.level, shown(kind.text), shown(kind.advice) or "nothing") for kind in KINDS.values()
    ]


def test_no_explanation_is_empty():
    everything = [*rows("somatrace smoke", 4), *rows("somatrace doctor", 4)]

    assert all(len(row[2]) > 20 for row in everything)


def test_the_exit_codes_are_stable():
    assert {outcome.code for outcome in OUTCOMES.values()} == {0, 1, 2, *range(10, 20)}


FAULTS = {"dns", "refused", "tls", "auth", "path", "server"}


@pytest.mark.parametrize(
    ("package", "names", "pattern"),
    [
        ("smoke", set(OUTCOMES) - FAULTS, r'(?:EndedError\(\s*|_expect\(.*?)"(\w+)"'),
        ("smoke", set(NOTES), r'note\(\s*"(\w+)"'),
        ("doctor", set(KINDS) - FAULTS, r'finding\(\s*"(\w+)"'),
    ],
)
def test_every_message_is_used_and_every_used_message_exists(package, names, pattern):
    source = "\n".join(path.read_text() for path in (SOURCE / package).glob("*.py"))

    assert set(re.findall(pattern, source)) - FAULTS == names
