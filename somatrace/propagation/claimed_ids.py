"""The ids that an untrusted caller has sent, which a program may pass on with its request's headers."""

from __future__ import annotations

from typing import Final

from opentelemetry import context as otel_context
from opentelemetry.context import Context

_CLAIMED: Final = otel_context.create_key("somatrace-claimed-ids")
_NONE: Final[frozenset[tuple[str, str]]] = frozenset()


def remember(claimed: frozenset[tuple[str, str]], context: Context) -> Context:
    """`context`, with the lower-case names and the values of the ids claimed in the current request."""
    if not claimed and not otel_context.get_value(_CLAIMED, context):
        return context
    return otel_context.set_value(_CLAIMED, claimed, context)


def is_claimed(name: str, value: str) -> bool:
    """Whether the caller of the current request has sent this header, and is not trusted."""
    claimed = otel_context.get_value(_CLAIMED)
    return (name, value.strip(" \t")) in (claimed if isinstance(claimed, frozenset) else _NONE)
