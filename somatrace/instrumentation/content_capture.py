"""One switch for all instrumentors: whether prompts and completions may be recorded.

Each OpenLLMetry package has its own variant of `should_send_prompts`. It reads `TRACELOOP_TRACE_CONTENT`
(unset means yes), and traceloop's context key can turn content on but not off.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from opentelemetry import trace

from somatrace.context.span_state import state_of
from somatrace.context.tags import current
from somatrace.instrumentation.function_bodies import replace_body

_SWITCHES: Final = ("should_send_prompts", "_should_send_prompts")


class ContentCapture:
    """Whether prompts and completions may be recorded. `allowed` decides for each tenant."""

    def __init__(self, allowed: Callable[[str | None], bool]) -> None:
        self._allowed = allowed

    def wanted(self) -> bool:
        """Whether libraries may record content on the current span. The guard decides how much leaves."""
        try:
            return self._allowed(current_tenant())
        except Exception:
            return False

    def gate(self, package: str) -> None:
        """Make the content switches in the loaded modules of `package` return `wanted()`."""
        replace_body(package, _SWITCHES, _should_send_prompts, wanted=self.wanted)


def current_tenant() -> str | None:
    """The tenant for whom the calling code works."""
    tags = current.get()
    state = None if tags.names_tenant else state_of(trace.get_current_span())
    return tags.tenant if state is None else state.tags.tenant


def _should_send_prompts(*, wanted: Callable[[], bool]) -> bool:
    return wanted()
