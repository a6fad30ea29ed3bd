"""A guarded span on its way out: what the encoder writes, and exporters and processors of others read."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.util import types

from somatrace import semconv
from somatrace.context.tags import Tags

NONE_DROPPED: Final = (0, 0, 0)


class EncodedSpan(NamedTuple):
    """A guarded span that was encoded without a copy, and where it comes from."""

    resource: Resource
    scope: InstrumentationScope | None
    #: An OTLP Span.
    content: bytes
    #: As it is shown.
    tenant: str
    #: Made if somebody reads it.
    copy: OutgoingSpan | None = None


class OutgoingSpan(ReadableSpan):
    """A guarded copy of an ended span, with the original's counts of dropped attributes, events and links.

    Its attributes are in two parts, put together only for those who read them.
    """

    #: Without the tags.
    own: dict[str, Any]
    #: Those of the tags, the same mapping for all spans that share them. No key is in both.
    tagged: Mapping[str, Any]
    #: attributes, events and links
    dropped: tuple[int, ...] = NONE_DROPPED
    _instrumentation_info = None
    #: The guarded tags, as listeners receive them.
    tags: Tags

    @property
    def tenant(self) -> str:
        """As it is shown."""
        return str(self.tags.get(semconv.TENANT, semconv.UNKNOWN_TENANT))

    @property
    def _attributes(self) -> dict[str, Any]:
        if self.tagged:
            # into the part that is of this span alone; what a processor writes to it is read again
            self.own.update(self.tagged)
            self.tagged = {}
        return self.own

    @_attributes.setter
    def _attributes(self, attributes: Mapping[str, Any] | None) -> None:
        self.own, self.tagged = dict(attributes or {}), {}

    @property
    def attributes(self) -> types.Attributes:
        return MappingProxyType(self._attributes)

    @property
    def dropped_attributes(self) -> int:
        return self.dropped[0]

    @property
    def dropped_events(self) -> int:
        return self.dropped[1]

    @property
    def dropped_links(self) -> int:
        return self.dropped[2]
