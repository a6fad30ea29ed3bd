"""Whether a span processor that the program added would send to the very target of the road."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from somatrace.config import Settings, Target
from somatrace.instrumentation.coexistence.traceloop import AssociationProcessor

log = logging.getLogger("somatrace")

#: Under these names processors and exporters keep the exporter they wrap.
_INNER: Final = ("span_exporter", "_exporter", "exporter", "_span_exporter")
_DEPTH: Final = 4
#: Headers that say nothing about where a span ends up.
_NOISE: Final = ("accept", "connection", "content-", "user-agent", "x-langfuse-")


def exports_elsewhere(settings: Settings) -> Callable[[object], bool]:
    """A test for foreign span processors: True when what they send does not reach the road's target anyway.

    One that has the same address and the same keys (the langfuse SDK's, or the exporter that
    `opentelemetry-instrument` made from the same variables) would make each span arrive twice.
    """

    def elsewhere(processor: object) -> bool:
        if isinstance(processor, AssociationProcessor):
            return False
        try:
            if not _is(_exporter_of(processor), settings.target):
                return True
            _mark_no_roots(processor)
        except Exception as error:  # whatever the program's processor does when it is asked
            log.debug("%s: %s while looking for its target", type(processor).__name__, type(error).__name__)
            return True
        return False

    return elsewhere


def _exporter_of(processor: object) -> Any:
    """The innermost OTLP exporter of a processor, or None."""
    found: Any = processor
    for _ in range(_DEPTH):
        if isinstance(getattr(found, "_endpoint", None), str):
            return found
        found = next((inner for name in _INNER if (inner := getattr(found, name, None)) is not None), None)
    return None


def _is(exporter: Any, target: Target) -> bool:
    if exporter is None or not target.url or _address(exporter._endpoint) != _address(target.url):
        return False
    headers = getattr(exporter, "_headers", None)
    if headers is None:  # since 1.45 the HTTP exporter's client has them
        headers = getattr(getattr(exporter, "_client", None), "_headers", None)
    theirs, ours = _keys(headers or {}), _keys(target.headers)
    if target.kind == "langfuse":  # where the key alone says which project it is
        return theirs.get("authorization") == ours.get("authorization")
    return theirs == ours


def _address(url: str) -> str:
    return url.partition("://")[2].rstrip("/").lower() or url.rstrip("/").lower()


def _keys(headers: Mapping[str, str] | Iterable[tuple[str, str]]) -> dict[str, str]:
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    return {name.lower(): str(value) for name, value in pairs if not name.lower().startswith(_NOISE)}


def _mark_no_roots(processor: Any) -> None:
    """Keep the langfuse SDK's processor from noting each started span for an end that it will not see.

    It also marks spans as roots whose parents it would not export; the road exports those as well.
    """
    if hasattr(processor, "_mark_app_root_candidate"):
        processor._mark_app_root_candidate = _nothing


def _nothing(**_: object) -> None:
    """In place of marking roots."""
