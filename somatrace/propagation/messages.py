"""Tags and trace context in the headers of queued messages.

A client that can write to the program's broker can already run any task, so message headers are trusted
after validation, within limits. They are not signed: a message may wait longer than a signature is valid.
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
    """The headers to add to a message sent from here."""
    headers: dict[str, str] = {}
    W3C.inject(headers)
    payload, _ = tag_header.encode(effective(), with_unbound=True)
    if payload:
        headers[semconv.HEADER_TAGS] = tag_header.join(payload, None)
    return headers


def received(headers: object) -> ContextSnapshot:
    """The context of a message's sender. Nothing of the previous message remains."""
    message = RequestHeaders(headers)
    context = W3C.extract(message.values, context=Context())
    if not get_current_span(context).get_span_context().is_valid:
        context = set_span_in_context(get_current_span(Context()), otel_context.get_current())
    return ContextSnapshot(context, _tags(message).over(current.get()))


def _tags(message: RequestHeaders) -> Tags:
    header = message[semconv.HEADER_TAGS]
    if not header:
        return EMPTY
    try:
        return tag_header.decode(tag_header.split(header)[0])
    except ValueError:
        ignore(f"{semconv.HEADER_TAGS}: malformed")
        return EMPTY
