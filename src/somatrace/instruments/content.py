"""One answer to every library that asks whether prompts and completions may be recorded.

Each OpenLLMetry package has a `should_send_prompts` of its own, spelled differently, that reads
`TRACELOOP_TRACE_CONTENT` (unset means yes) and that a context key of traceloop can only open. Their
modules import it by name from one another, so not the name is replaced but what the function does.
"""

from __future__ import annotations

import sys
from types import FunctionType
from typing import Final

_QUESTIONS: Final = ("should_send_prompts", "_should_send_prompts")


def content_wanted() -> bool:
    """Whether libraries may record content on the span at hand. Nobody's may; the guard has the last word."""
    return False


def gate(package: str) -> None:
    """Put the question, wherever the loaded modules of `package` ask it, to `content_wanted`."""
    for name, module in list(sys.modules.items()):
        if name == package or name.startswith(package + "."):
            for question in _QUESTIONS:
                asked = getattr(module, "__dict__", {}).get(question)
                if isinstance(asked, FunctionType):
                    asked.__code__ = _answer.__code__


def _answer(*_: object) -> bool:
    # runs with the globals of the module it was put into, so it can rely on none of ours
    from somatrace.instruments.content import content_wanted

    return content_wanted()
