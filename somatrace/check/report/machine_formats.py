"""Machine-readable formats: JSON, SARIF 2.1.0, GitHub annotations, GitLab code quality, JUnit."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from somatrace.check import foreign_text
from somatrace.check.checker import CheckReport
from somatrace.check.foreign_text import shown
from somatrace.check.rules.catalogue import RULES
from somatrace.check.rules.finding import Finding
from somatrace.semconv import VERSION

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_URL = "https://github.com/somatrace/somatrace/blob/main/docs/checking.md#{}"


def as_json(report: CheckReport, _: Path, __: bool) -> str:
    """A list of findings."""
    return foreign_text.as_json([_plain(finding) for finding in report.findings])


def _plain(finding: Finding) -> dict[str, Any]:
    return {
        "code": finding.code,
        "name": RULES[finding.code].name,
        "path": finding.path,
        "line": finding.line,
        "column": finding.column,
        "message": finding.message,
        "help": finding.help,
        "chain": list(finding.chain),
        "service": finding.service,
        "fingerprint": finding.fingerprint(),
    }


def sarif(report: CheckReport, _: Path, __: bool) -> str:
    """SARIF 2.1.0, for code scanning."""
    rules = [
        {
            "id": rule.code,
            "name": rule.name,
            "shortDescription": {"text": rule.summary},
            "fullDescription": {"text": rule.reason},
            "helpUri": _URL.format(rule.code.lower()),
        }
        for rule in RULES.values()
    ]
    driver = {
        "name": "somatrace check",
        "version": VERSION,
        "informationUri": _URL.format(""),
        "rules": rules,
    }
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": [_result(one) for one in report.findings],
    }
    return foreign_text.as_json({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]})


def _result(finding: Finding) -> dict[str, Any]:
    region = {"startLine": finding.line, "startColumn": finding.column}
    location = {
        "artifactLocation": {"uri": quote(shown(finding.path)), "uriBaseId": "%SRCROOT%"},
        "region": region,
    }
    return {
        "ruleId": finding.code,
        "ruleIndex": list(RULES).index(finding.code),
        "level": "error",
        "message": {"text": f"{finding.message}. {finding.help}"},
        "locations": [{"physicalLocation": location}],
        "partialFingerprints": {"somatrace/v1": finding.fingerprint()},
    }


def github(report: CheckReport, _: Path, __: bool) -> str:
    """GitHub annotations for a pull request."""
    lines = []
    for finding in report.findings:
        where = (
            f"file={_property(finding.path)},line={finding.line},col={finding.column},title={finding.code}"
        )
        lines.append(f"::error {where}::{_data(f'{finding.code} {finding.message}. {finding.help}')}\n")
    return "".join(lines)


def _data(text: str) -> str:
    return shown(text).replace("%", "%25")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def gitlab(report: CheckReport, _: Path, __: bool) -> str:
    """GitLab's code quality report."""
    entries: list[dict[str, Any]] = []
    seen: dict[str, int] = {}
    for finding in report.findings:
        key = finding.fingerprint()
        seen[key] = seen.get(key, 0) + 1
        entries.append(
            {
                "description": f"{finding.code} {finding.message}",
                "check_name": finding.code,
                "fingerprint": key if seen[key] == 1 else f"{key}-{seen[key]}",
                "severity": "major",
                "location": {"path": finding.path, "lines": {"begin": finding.line}},
            }
        )
    return foreign_text.as_json(entries)


def junit(report: CheckReport, _: Path, __: bool) -> str:
    """JUnit XML: one failed case per finding, or one passed case."""
    cases = []
    for finding in report.findings:
        name = _quoted(f"{finding.code} {finding.path}:{finding.line}")
        lines = map(shown, (finding.message, *finding.chain, finding.help))
        cases.append(
            f"    <testcase classname={_quoted(finding.path)} name={name}>\n"
            f"      <failure message={_quoted(finding.message)} type={_quoted(finding.code)}>"
            f"{escape(chr(10).join(lines))}</failure>\n"
            "    </testcase>"
        )
    cases = cases or ['    <testcase classname="somatrace.check" name="every process is traced"/>']
    count, failed = len(cases), len(report.findings)
    head = '<?xml version="1.0" encoding="UTF-8"?>\n<testsuites>\n'
    suite = (
        f'  <testsuite name="somatrace check" tests="{count}" failures="{failed}" errors="0" skipped="0">\n'
    )
    return head + suite + "\n".join(cases) + "\n  </testsuite>\n</testsuites>\n"


def _quoted(text: str) -> str:
    """A quoted XML attribute. `xml.sax.saxutils` would import a network client."""
    return f'"{escape(shown(text))}"'
