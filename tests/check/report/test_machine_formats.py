"""Each format can be read back by a reader of that format."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from somatrace.check.command import main
from somatrace.check.rules.catalogue import RULES
from somatrace.semconv import VERSION
from tests.check.corpus import Sample, samples


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    """A tree with many findings, and paths and lines that need escaping."""
    root = tmp_path_factory.mktemp("tree")
    by_code: dict[str, list[Sample]] = {}
    for sample in samples():
        by_code.setdefault(sample.expected.partition(" ")[0], []).append(sample)
    del by_code["ok"]
    # each test judges them again
    for number, sample in enumerate(one for several in by_code.values() for one in several[:4]):
        sample.write(root / f"services/a, b:c%<&>' {number}")
    strange = root / 'services/"quoted" \u202e\n]]>/main.py'
    strange.parent.mkdir()
    strange.write_text("print('\x00'[0:0])\n".replace("\x00", "&<>%"))
    return root


def written(tree: Path, how: str, capsys) -> str:
    assert main([str(tree), "--no-cache", "--format", how]) == 1
    return capsys.readouterr().out


def test_json_has_every_finding_with_a_known_code(tree, capsys):
    found = json.loads(written(tree, "json", capsys))

    assert {one["code"] for one in found} >= set(RULES) - {"ST090", "ST091", "ST011", "ST040", "ST042"}
    assert all(one["line"] >= 1 and one["column"] >= 1 and one["message"] for one in found)


def test_concise_has_one_line_per_finding(tree, capsys):
    found = json.loads(written(tree, "json", capsys))
    *lines, last = written(tree, "concise", capsys).splitlines()

    assert len(lines) == len(found)
    assert all(re.match(r".+:\d+:\d+: ST\d{3} .", line) for line in lines)
    assert last.endswith(f"{len(found)} findings")


def test_sarif_names_rules_places_and_stable_fingerprints(tree, capsys):
    log = json.loads(written(tree, "sarif", capsys))

    [run] = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert log["version"] == "2.1.0"
    assert run["tool"]["driver"]["version"] == VERSION
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        [location] = result["locations"]
        place = location["physicalLocation"]
        assert re.fullmatch(r"[A-Za-z0-9._~/%-]+", place["artifactLocation"]["uri"])
        assert place["region"]["startLine"] >= 1
        assert re.fullmatch(r"[0-9a-f]{32}", result["partialFingerprints"]["somatrace/v1"])


def test_sarif_is_read_by_sarif_tools(tree, capsys, tmp_path):
    loader = pytest.importorskip("sarif.loader", reason="sarif-tools is not installed")
    path = tmp_path / "report.sarif"
    path.write_text(written(tree, "sarif", capsys))

    files = loader.load_sarif_files(str(path))

    assert files.get_result_count() == len(json.loads(path.read_text())["runs"][0]["results"])


def test_github_annotations_are_one_line_each_and_name_the_file(tree, capsys):
    found = json.loads(written(tree, "json", capsys))
    lines = written(tree, "github", capsys).splitlines()

    assert len(lines) == len(found)
    for line, one in zip(lines, found, strict=True):
        head = re.match(r"::error file=([^,:]+),line=(\d+),col=(\d+),title=(ST\d{3})::", line)
        assert head is not None, line
        assert (int(head[2]), head[4]) == (one["line"], one["code"])


def test_gitlab_entries_have_the_fields_of_code_quality_and_distinct_fingerprints(tree, capsys):
    entries = json.loads(written(tree, "gitlab", capsys))

    assert len({entry["fingerprint"] for entry in entries}) == len(entries)
    for entry in entries:
        assert entry["severity"] in {"info", "minor", "major", "critical", "blocker"}
        assert entry["location"]["lines"]["begin"] >= 1
        assert {"description", "check_name", "fingerprint", "location", "severity"} == set(entry)


def test_junit_is_xml_with_one_failure_per_finding(tree, capsys):
    found = json.loads(written(tree, "json", capsys))
    suite = ET.fromstring(written(tree, "junit", capsys)).find("testsuite")

    assert suite is not None
    assert int(suite.get("failures", "")) == len(suite.findall("testcase/failure")) == len(found)


@pytest.mark.parametrize("how", ["full", "concise", "json", "sarif", "github", "gitlab", "junit"])
def test_a_tree_without_findings_is_valid_in_every_format(how, tmp_path, capsys):
    assert main([str(tmp_path), "--no-cache", "--format", how]) == 0

    text = capsys.readouterr().out
    if how in {"json", "sarif", "gitlab"}:
        json.loads(text)
    if how == "junit":
        ET.fromstring(text)
