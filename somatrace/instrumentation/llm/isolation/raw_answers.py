"""Answers that a client returned as HTTP responses: the instrumentor gets what the program reads of them.

`with_raw_response` and `with_streaming_response` return them. Nothing is read that the program does not read:
its bytes are looked at as they pass.
"""

from __future__ import annotations

import copy
import functools
import zlib
from typing import Any, Protocol

from somatrace.instrumentation.llm.isolation.answer_failures import failure_in
from somatrace.instrumentation.llm.isolation.body_text import BodyText
from somatrace.instrumentation.llm.isolation.feed import Feed, Observer
from somatrace.instrumentation.llm.isolation.postponed import Postponed
from somatrace.instrumentation.llm.isolation.pushed_stream import PushedStream, stream_class
from somatrace.runtime.fail_safe import fail_safe

#: Exceptions of HTTP clients about a second attempt to read. The first goes on.
_SECOND_READS = ("StreamConsumed",)


class _Call(Protocol):
    def answer_failed(self, error: BaseException | str) -> None: ...

    def close(self, error: BaseException | None = None) -> None: ...


def is_raw_response(answer: Any) -> bool:
    """Whether a client returned its HTTP response."""
    kind = type(answer)
    return hasattr(kind, "parse") and hasattr(answer, "http_response") and hasattr(answer, "_parsed_by_type")


def is_streamed(raw: Any) -> bool:
    """Whether the answer consists of events."""
    return bool(getattr(raw, "_is_sse_stream", getattr(raw, "_stream", True)))


def is_read(raw: Any) -> bool:
    """Whether the body of the response has been read."""
    return hasattr(raw.http_response, "_content")


def feed_of(raw: Any) -> Feed | None:
    """What an instrumentor gets in place of the stream of a raw answer."""
    kind = stream_class(raw)
    return None if kind is None else Feed(kind)


def copy_of_read(raw: Any) -> Any:
    """A copy that may be parsed. The program's own parser is left out: it may have effects."""
    given = copy.copy(raw)
    given.parse = functools.cache(functools.partial(_parsed, raw))
    return given


def _parsed(raw: Any) -> Any:
    typed = raw._client._process_response_data
    return typed(data=raw.http_response.json(), cast_to=raw._cast_to, response=raw.http_response)


class Bytes:
    """Follows the bytes of one response. `part` takes them, and is notified of their end."""

    def __init__(self, part: _Part) -> None:
        self._part = part
        self._done = False
        self.busy = False

    def item(self, data: Any) -> None:
        """The program has read some bytes."""
        if not self._done and isinstance(data, bytes):
            with fail_safe("raw answers"):
                self._done = self._part.take(data)

    def ended(self, error: BaseException | None = None) -> None:
        """The response is read or closed, has failed or was given up."""
        if self._done or type(error).__name__ in _SECOND_READS:
            return
        self._done = True
        self._part.end(error)

    def entered(self, _: object) -> None:
        """A response is no context manager."""

    def encoded(self, encoding: str) -> Encoded:
        """Follows the bytes before they are decoded."""
        return Encoded(self, encoding)


class Encoded:
    """Follows the bytes of a response as they were sent."""

    def __init__(self, decoded: Bytes, encoding: str) -> None:
        self._decoded = decoded
        self._decoder = zlib.decompressobj(zlib.MAX_WBITS | 32) if encoding in ("gzip", "deflate") else None
        self._is_known = self._decoder is not None or encoding in ("", "identity")
        self.busy = False

    def item(self, data: Any) -> None:
        """The program has read some bytes."""
        if not self._is_known or not isinstance(data, bytes):
            return
        try:
            plain = data if self._decoder is None else self._decoder.decompress(data)
        except zlib.error:
            self._is_known = False
        else:
            self._decoded.item(plain)

    def ended(self, error: BaseException | None = None) -> None:
        """The response is read."""
        self._decoded.ended(error)

    def entered(self, _: object) -> None:
        """A response is no context manager."""


class _Part(Protocol):
    def take(self, data: bytes) -> bool:
        """Take bytes. Returns True if all has been seen."""

    def end(self, error: BaseException | None) -> None: ...


class Events:
    """The events of a streamed answer, passed to the instrumentor's observer."""

    def __init__(self, raw: Any, observer: Observer) -> None:
        self._observer = observer
        self._stream = PushedStream(raw)

    def take(self, data: bytes) -> bool:
        """Pass on the events that are complete."""
        for event in self._stream.feed(data):
            self._observer.item(event)
        if self._stream.error is None:
            return False
        self._observer.ended(self._stream.error)
        return True

    def end(self, error: BaseException | None) -> None:
        """Pass on the end, and the events before it."""
        with fail_safe("raw answers"):
            for event in self._stream.end():
                self._observer.item(event)
        self._observer.ended(error or self._stream.error)


class Body:
    """The body of an answer, for the wrapper that waits for it."""

    def __init__(self, raw: Any, call: _Call, waiting: Postponed) -> None:
        self._call = call
        self._waiting = waiting
        self._text = BodyText()
        self._typed = functools.partial(
            raw._client._process_response_data, cast_to=raw._cast_to, response=None
        )
        self._feed = feed_of(raw)

    def take(self, data: bytes) -> bool:
        """Collect bytes."""
        self._text.add(data)
        return False

    def end(self, error: BaseException | None) -> None:
        """Let the wrapper record the answer. One that was not read is like a stream without an event."""
        with fail_safe("raw answers"):
            answer, is_known = (None, False) if error is not None else self._answer()
            if answer is not None:
                failure = failure_in(answer)
                if failure:
                    self._call.answer_failed(failure)
                self._waiting.resume(answer)
            if not is_known and not self._waiting.has_spans:
                self._waiting.resume(self._feed, error)
        self._call.close(error)

    def _answer(self) -> tuple[Any, bool]:
        """The answer, and whether all of it is known."""
        data, is_whole = self._text.value()
        if data is None or not is_whole:
            return data, False
        return self._typed(data=data), True
