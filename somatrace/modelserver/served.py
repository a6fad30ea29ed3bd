"""The server's own account of the calls it has answered, one JSON object a line."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from starlette.responses import Response

from somatrace.modelserver.protocol import EventStream


class ServedCalls:
    """Appends a line to `path` for each call with a model: `model`, `status`, `label`, `input`, `output`.

    `label` is what the regular expression `pattern` finds in the request, "" without a match, so that a
    caller can tell its requests apart. The counts are the tokens that the answer's usage states, 0 if it has
    none, as errors.
    """

    def __init__(self, path: Path, pattern: str) -> None:
        self._pattern = re.compile(pattern)
        self._file = path.open("a", encoding="utf-8")

    def add(self, asked: Mapping[str, Any], answer: Response) -> None:
        """Add the call that asked for `asked` and gets `answer`."""
        found = self._pattern.search(json.dumps(asked, ensure_ascii=False))
        usage = _usage(answer)
        line = {
            "model": str(asked.get("model")),
            "status": answer.status_code,
            "label": found[0] if found else "",
            "input": usage.get("prompt_tokens", usage.get("input_tokens", 0)),
            "output": usage.get("completion_tokens", usage.get("output_tokens", 0)),
        }
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()


def _usage(answer: Response) -> Mapping[str, int]:
    """The usage that an answer states; the last one of a stream."""
    if not isinstance(answer, EventStream):
        return json.loads(bytes(answer.body)).get("usage") or {}
    for event in reversed(answer.sent):
        data = event.partition(b"data: ")[2].strip()
        if data.startswith(b"{"):
            body = json.loads(data)
            usage: Mapping[str, int] | None = body.get("usage") or body.get("response", {}).get("usage")
            if usage:
                return usage
    return {}
