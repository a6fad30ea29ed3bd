"""The text of an answer that rejects a batch: whether it blames spans, and a part of it that can be kept."""

from __future__ import annotations

import re
from typing import Final

#: Characters that are kept of an answer.
MAX_TEXT: Final = 500

_NOT_PRINTABLE: Final = re.compile(r"[^\x20-\x7e]+")
#: IDs of spans and traces as text.
_ID: Final = re.compile(r"(?<![0-9a-zA-Z])(?:[0-9a-fA-F]{32}|[0-9a-fA-F]{16})(?![0-9a-zA-Z])")
#: Langfuse: "Invalid OTLP trace export: 1 of 512 span(s) cannot be processed (traceId:absent, ...".
_COUNTED: Final = re.compile(r"\b[1-9]\d* of \d+ span")


def answer_text(content: bytes) -> str:
    """The beginning of an answer as one line of printable ASCII. It may contain anything: do not log it."""
    text = content[: 4 * MAX_TEXT].decode("utf-8", "replace")
    return _NOT_PRINTABLE.sub(" ", text)[:MAX_TEXT].strip()


def names_spans(answer: bytes, body: bytes) -> bool:
    """Whether an answer blames spans of the batch `body`: by their IDs, or by their number."""
    text = answer.decode("utf-8", "replace")
    ids = (bytes.fromhex(found) for found in _ID.findall(text))
    return _COUNTED.search(text) is not None or any(one in body for one in ids)
