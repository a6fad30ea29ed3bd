"""One answer to every library that asks whether prompts and completions may be recorded.

Each OpenLLMetry package has a `should_send_prompts` of its own, spelled differently, that reads
`TRACELOOP_TRACE_CONTENT` (unset means yes) and that a context key of traceloop can only open.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from opentelemetry import trace

from somatrace.context.span_state import state_of
from somatrace.context.tags import current
from somatrace.instrumentation.function_bodies import give_body

_QUESTIONS: Final = ("should_send_prompts", "_should_send_prompts")

_allowed: Callable[[str | None], bool] = lambda _: False  # noqa: E731 - the answer until `allow`


def allow(allowed: Callable[[str | None], bool]) -> None:
    """Ask `allowed` of each tenant from now on."""
    global _allowed  # noqa: PLW0603 - the instrumentors ask a function, which has to ask something
    _allowed = allowed


def content_wanted() -> bool:
    """Whether libraries may record content on the span at hand; the guard decides what of it leaves."""
    tenant = current.get().tenant
    if tenant is None:
        state = state_of(trace.get_current_span())
        tenant = state.tags.tenant if state is not None else None
    try:
        return _allowed(tenant)
    except Exception:
        return False


def gate(package: str) -> None:
    """Put the question, wherever the loaded modules of `package` ask it, to `content_wanted`."""
    give_body(package, _QUESTIONS, _answer)


def _answer() -> bool:
    from somatrace.instrumentation.content_capture import content_wanted

    return content_wanted()
