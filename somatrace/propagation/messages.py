"""Tags and trace context in the headers of a queued message.

Whoever may write to the program's own broker may have any task run, so what comes from there is taken
as it is, validated and bounded. It is not signed: a message waits longer than a signature holds.
"""

from __future__ import annotations

from opentelemetry import context as otel_context
from opentelemetry.context import Context
from opentelemetry.trace import set_span_in_context
from opentelemetry.trace.propagation import get_current_span

from somatrace import semconv
from somatrace.context.tags import EMPTY, Tags, current
from somatrace.propagation import tag_header
from somatrace.propagation.headers import RequestHeaders
from somatrace.propagation.inject import effective
from somatrace.propagation.snapshot import W3C, ContextSnapshot
from somatrace.propagation.trust import ignore


def message_headers() -> dict[str, str]:
    """What a message takes along from here."""
    headers: dict[str, str] = {}
    W3C.inject(headers)
    payload, _ = tag_header.encode(effective())
    if payload:
        headers[semconv.HEADER_TAGS] = tag_header.join(payload, None)
    return headers


def received(headers: object) -> ContextSnapshot:
    """Where the sender of a message was. Nothing of the message before it remains."""
    read = RequestHeaders(headers)
    context = W3C.extract(read.found, context=Context())
    if not get_current_span(context).get_span_context().is_valid:
        context = set_span_in_context(get_current_span(Context()), otel_context.get_current())
    sent, around = _tags(read), current.get()
    return ContextSnapshot(context, Tags({**around.bound, **sent.bound}, {**around.derived, **sent.derived}))


def _tags(read: RequestHeaders) -> Tags:
    header = read[semconv.HEADER_TAGS]
    if not header:
        return EMPTY
    try:
        return tag_header.decode(tag_header.split(header)[0])
    except ValueError:
        ignore(f"{semconv.HEADER_TAGS}: malformed")
        return EMPTY
