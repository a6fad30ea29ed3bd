"""Keep content out of the log records that OpenTelemetry exports, as `opentelemetry-instrument` sets it up.

Records are guarded before any of the provider's processors gets them. What the program writes into its own
log lines stays its own decision, apart from the texts of exceptions.
"""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Callable, Iterator
from typing import Any, Final

from somatrace.guard.redaction.redact import redact_text
from somatrace.instrumentation.content_capture import ContentCapture

log = logging.getLogger("somatrace")

_EXCEPTION_TEXTS: Final = ("exception.message", "exception.stacktrace")
_WITHHELD: Final = "a log message, withheld because it quotes content"
#: Shorter texts of exceptions occur in many messages.
_MIN_QUOTED: Final = 4
_MAX_CHAIN: Final = 8


def install(capture: ContentCapture) -> None:
    """Guard the log records of the logger provider that is set now; imports nothing."""
    module = sys.modules.get("opentelemetry._logs._internal")
    provider = getattr(module, "_LOGGER_PROVIDER", None)
    processor = getattr(provider, "_multi_log_record_processor", None)
    if processor is None or isinstance(processor.on_emit, functools.partial):
        return
    processor.on_emit = functools.partial(_emit, processor.on_emit, capture)


def _emit(emit: Callable[[Any], None], capture: ContentCapture, data: Any) -> None:
    try:
        record = data.log_record
        if capture.wanted():
            _redact(record)
        else:
            _close(record)
    except Exception as error:
        log.debug("a log record could not be guarded and is not exported: %s", type(error).__name__)
        return
    emit(data)


def _redact(record: Any) -> None:
    record.body = _redacted(record.body)
    record.attributes = {
        redact_text(key): _redacted(value) for key, value in (record.attributes or {}).items()
    }


def _close(record: Any) -> None:
    """While content is off, exceptions' texts and structured bodies are withheld, other texts redacted."""
    attributes = dict(record.attributes or {})
    texts = [value for name in _EXCEPTION_TEXTS[:1] if isinstance(value := attributes.pop(name, None), str)]
    attributes.pop(_EXCEPTION_TEXTS[1], None)
    texts += map(str, _chain(sys.exc_info()[1]))
    quoted = [text for text in texts if len(text) >= _MIN_QUOTED]
    kept: dict[str, Any] = {}
    for key, value in attributes.items():
        if isinstance(value, str) and not _quotes(value, quoted):
            kept[key] = redact_text(value)
        elif isinstance(value, (bool, int, float)):
            kept[key] = value
    record.attributes = kept
    body = record.body
    if body is not None:
        record.body = redact_text(body) if isinstance(body, str) and not _quotes(body, quoted) else _WITHHELD


def _quotes(text: str, quoted: list[str]) -> bool:
    return any(one in text for one in quoted)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An exception being handled and those behind it: a message may quote them without naming them."""
    for _ in range(_MAX_CHAIN):
        if error is None:
            return
        yield error
        error = error.__cause__ or error.__context__


def _redacted(value: Any) -> Any:
    if isinstance(value, str):
        return redact_text(value)
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, dict):
        return {redact_text(str(key)): _redacted(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_redacted(item) for item in value]
    return _WITHHELD
