"""One answer to every library that asks whether prompts and completions may be recorded.

Each OpenLLMetry package has a `should_send_prompts` of its own, spelled differently, that reads
`TRACELOOP_TRACE_CONTENT` (unset means yes) and that a context key of traceloop can only open.
"""

from __future__ import annotations

from typing import Final

from somatrace.instruments.bodies import give_body

_QUESTIONS: Final = ("should_send_prompts", "_should_send_prompts")


def content_wanted() -> bool:
    """Whether libraries may record content on the span at hand. Nobody's may; the guard has the last word."""
    return False


def gate(package: str) -> None:
    """Put the question, wherever the loaded modules of `package` ask it, to `content_wanted`."""
    give_body(package, _QUESTIONS, _answer)


def _answer() -> bool:
    from somatrace.instruments.content import content_wanted

    return content_wanted()
