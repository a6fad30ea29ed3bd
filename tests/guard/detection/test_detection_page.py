"""The detection and policy pages match the code."""

from __future__ import annotations

import datetime as dt
import re
import subprocess
import sys

from somatrace.guard.policy.file_source import parse_text
from somatrace.guard.redaction.redact import ERROR, MAX_LENGTH, OVERFLOW, detectors

NOW = dt.datetime(2026, 11, 21, tzinfo=dt.UTC)


def test_the_detector_table_matches_the_code(root):
    done = subprocess.run(
        [sys.executable, root / "ci" / "tools" / "detection-table", "--check"],
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )

    assert done.returncode == 0, done.stderr


def test_the_table_lists_every_marker(root):
    page = (root / "docs" / "detection.md").read_text()

    assert all(f"`[{type_}]`" in page for detector in detectors() for type_ in detector.types)
    assert ERROR in page
    assert OVERFLOW in page
    assert f"{MAX_LENGTH // 1024} K characters" in page


def test_the_documented_policy_file_is_valid(root):
    [example] = re.findall(r"```yaml\n(.*?)```", (root / "docs" / "policy.md").read_text(), re.DOTALL)

    policy = parse_text(example, ".yaml", now=NOW)

    assert policy.grant("acme", now=NOW).mode == "redacted"
    assert policy.grant("acme", now=NOW).categories == {"secrets", "pii", "financial"}
    assert policy.grant("globex", now=NOW).mode == "full"
    assert policy.grant("anybody", now=NOW).mode == "none"
