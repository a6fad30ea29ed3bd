"""What counts as a model call and as a workflow, in lists, sums and the demo; see docs/glossary.md."""

from __future__ import annotations

from typing import Final

from somatrace import semconv
from somatrace.local.otlp.row import SpanRow

#: The types of requests to a model.
CALLS: Final = frozenset(("GENERATION", "EMBEDDING"))
#: Usage is summed only over these types, since spans around them may repeat it. An agent that only sums up
#: its requests has none (`invoke_agent`): where it has, they made no spans.
USAGE_TYPES: Final = CALLS | {"AGENT"}
#: Values of the tenant tag that name no tenant.
UNNAMED: Final = frozenset(("", semconv.UNKNOWN_TENANT, semconv.SEVERAL_TENANTS))
#: In a span's metadata: another span of the same request has its usage, at least in part, and is the call.
_COUNTED_ELSEWHERE: Final = f'"attributes.{semconv.USAGE_COUNTED}":'


def is_call(span: SpanRow) -> bool:
    """Whether a span is a model call: a request of its own, not a framework's span around one."""
    return span.type in CALLS and _COUNTED_ELSEWHERE not in span.metadata


def has_usage(span: SpanRow) -> bool:
    """Whether tokens and cost of a span are its own: those of a call, or of requests without spans."""
    return span.type in USAGE_TYPES or _COUNTED_ELSEWHERE in span.metadata


def is_workflow(span: SpanRow) -> bool:
    """Whether a span is the outermost one of its workflow, which has its name."""
    return span.type == "CHAIN" and span.name == span.workflow_name
