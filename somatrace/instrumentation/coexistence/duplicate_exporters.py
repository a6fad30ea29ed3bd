"""Detect third-party span processors that would send spans to somatrace's own target."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from somatrace.config import Settings, Target
from somatrace.instrumentation.coexistence.traceloop import AssociationProcessor

log = logging.getLogger("somatrace")

#: The attributes in which processors and exporters keep the exporter they wrap.
_INNER: Final = ("span_exporter", "_exporter", "exporter", "_span_exporter")
_DEPTH: Final = 4
#: Headers that do not affect where a span ends up.
_IGNORED_HEADERS: Final = ("accept", "connection", "content-", "user-agent", "x-langfuse-")


def exports_elsewhere(settings: Settings) -> Callable[[object], bool]:
    """A test for third-party span processors: whether they send to another target than somatrace does.

    One with the same address and keys (the langfuse SDK's, or the exporter that `opentelemetry-instrument`
    made from the same variables) would make each span arrive twice.
    """

    def elsewhere(processor: object) -> bool:
        if isinstance(processor, AssociationProcessor):
            return False
        try:
            if not _sends_to(_exporter_of(processor), settings.target):
                return True
            _disable_root_marking(processor)
        except Exception as error:  # raised by the program's processor
            log.debug("%s: %s while looking for its target", type(processor).__name__, type(error).__name__)
            return True
        return False

    return elsewhere


def _exporter_of(processor: object) -> Any:
    """The innermost OTLP exporter of a processor, or None."""
    current: Any = processor
    for _ in range(_DEPTH):
        if isinstance(getattr(current, "_endpoint", None), str):
            return current
        current = next(
            (inner for name in _INNER if (inner := getattr(current, name, None)) is not None), None
        )
    return None


def _sends_to(exporter: Any, target: Target) -> bool:
    if exporter is None or not target.url or _address(exporter._endpoint) != _address(target.url):
        return False
    headers = getattr(exporter, "_headers", None)
    if headers is None:  # since 1.45 they are in the HTTP exporter's client
        headers = getattr(getattr(exporter, "_client", None), "_headers", None)
    theirs, ours = _keys(headers or {}), _keys(target.headers)
    if target.kind == "langfuse":  # its key alone identifies the project
        return theirs.get("authorization") == ours.get("authorization")
    return theirs == ours


def _address(url: str) -> str:
    return url.partition("://")[2].rstrip("/").lower() or url.rstrip("/").lower()


def _keys(headers: Mapping[str, str] | Iterable[tuple[str, str]]) -> dict[str, str]:
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    return {
        name.lower(): str(value) for name, value in pairs if not name.lower().startswith(_IGNORED_HEADERS)
    }


def _disable_root_marking(processor: Any) -> None:
    """Keep the langfuse SDK's processor from remembering started spans whose end it will not see.

    It also marks spans as roots if it would not export their parents; somatrace's pipeline exports those too.
    """
    if hasattr(processor, "_mark_app_root_candidate"):
        processor._mark_app_root_candidate = _nothing


def _nothing(**_: object) -> None:
    """Replaces the marking of roots."""
