"""ST091: a suppression or baseline entry no longer matches a finding."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from somatrace.check.project.file_tree import FileTree
from somatrace.check.project.source import Sources
from somatrace.check.rules.finding import Finding
from somatrace.check.rules.rule import APP, TRACED, Rule

RULE = Rule(
    code="ST091",
    name="stale",
    summary="a suppression or baseline entry no longer matches a finding",
    reason="It would hide the next finding.",
    message="{code} is suppressed here but no longer found",
    advice="remove it from the comment",
    broken=f'{APP}init_tracing("orders")  # noqa: ST003 -- behind a flag\napp = FastAPI()\n',
    kept=TRACED,
)


_BASELINE = "the baseline accepts {code} in {path}, which is no longer found"
_WRITE_BASELINE = "write the baseline again (--write-baseline)"
_COMMENT = re.compile(rb"#\s*noqa:[^\n#]*\bST\d{3}", re.IGNORECASE)


def comments(path: str, service: str, tree: FileTree, sources: Sources) -> Iterator[Finding]:
    """Every suppression comment of a file; each one is a finding if it turns out to be stale."""
    if not sources.matches(path, _COMMENT):
        return
    for number, line in enumerate((tree.text(path) or "").split("\n"), 1):
        if _COMMENT.search(line.encode("utf-8", "replace")):
            yield Finding(path, number, RULE.code, service=service, source=line)


def stale_comment(comment: Finding, code: str) -> Finding:
    """The finding for one code of a comment."""
    return replace(comment, message=RULE.message.format(code=code), help=RULE.advice)


def stale_baseline(name: str, code: str, path: str) -> Finding:
    """The finding for one entry of the baseline `name`."""
    return Finding(name, 1, RULE.code, 1, _BASELINE.format(code=code, path=path), _WRITE_BASELINE)
