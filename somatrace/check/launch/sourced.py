"""Files that a shell script sources: `. env.sh`."""

from __future__ import annotations

import re

from somatrace.check.launch.around import LaunchContext

#: Files outside the tree that only set variables: environment files, virtual environments, profiles.
SETS_VARIABLES = re.compile(
    r"(?:^|/)\.?env(?:rc|[._-][\w.-]*)?$|\.env(?:[._-]\w+)*$|/activate$|^/etc/|profile$|rc$|^<|^/dev/|^\$"
)
_SOURCED = re.compile(r"^[ \t]*(?:\.|source)[ \t]+[\"']?([\w./-]+)[\"']?[ \t]*$", re.MULTILINE)
_MOST_SOURCED = 20


def inlined(command: str, around: LaunchContext) -> str:
    """Inline the files a script sources on the sourcing line, so later line numbers stay correct."""

    def text_of(match: re.Match[str]) -> str:
        path = around.file(match[1])
        lines = (around.tree.text(path) or "").split("\n") if path else []
        return (
            "; ".join(line for line in lines if line.strip() and not line.lstrip().startswith("#"))
            or match[0]
        )

    return _SOURCED.sub(text_of, command, count=_MOST_SOURCED)
