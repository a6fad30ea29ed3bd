"""Check a tree as the command line does, and read what it prints."""

from __future__ import annotations

import json
from pathlib import Path

from somatrace.check.command import main


def verdict(capsys, root: Path) -> list[str]:
    """The codes of the findings; fails on any error."""
    code = main([str(root), "--json", "--no-cache"])
    printed = capsys.readouterr()
    assert printed.err == ""
    assert code in {0, 1}
    return [one["code"] for one in json.loads(printed.out)]
