"""What an instrumentor gets to read in place of the program's answer."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from somatrace.instrumentation.llm.isolation.feed import Feed, is_stream
from somatrace.instrumentation.llm.isolation.passive import Unread


class StandIn:
    """`given` in place of the program's answer, with a feed for each stream in it.

    Answers of AWS are dicts that hold a stream; the key is None for an answer that is a stream itself.
    """

    def __init__(self, answer: Any) -> None:
        self.streams: dict[Any, tuple[Any, Feed]] = {}
        self.given = self._of(answer)

    def _of(self, answer: Any) -> Any:
        if type(answer) is dict:
            return {
                key: self._feed(key, value) if is_stream(value) else value for key, value in answer.items()
            }
        if is_raw_response(answer):
            return _copy_of_raw(answer)
        return self._feed(None, answer) if is_stream(answer) else answer

    def _feed(self, key: Any, stream: Any) -> Feed:
        feed = Feed(type(stream))
        self.streams[key] = stream, feed
        return feed

    def instrumented(self, outcome: Any) -> Iterator[tuple[Any, Feed, Any]]:
        """Each stream with its feed and what the instrumentor has made of the feed, if that is anything."""
        for key, (stream, feed) in self.streams.items():
            around = outcome if key is None else self.given.get(key)
            if around is not feed or "_parse_event" in vars(feed):
                yield stream, feed, around


def is_raw_response(answer: Any) -> bool:
    """Whether a client returned its HTTP response (`.with_raw_response`, `.with_streaming_response`)."""
    kind = type(answer)
    return hasattr(kind, "parse") and hasattr(answer, "http_response") and hasattr(answer, "_parsed_by_type")


def _copy_of_raw(answer: Any) -> Any:
    """A copy that may be parsed, if the response has been read. Else the instrumentor reads nothing."""
    if getattr(answer, "_is_sse_stream", getattr(answer, "_stream", True)):
        return Unread()
    if not getattr(answer.http_response, "is_stream_consumed", False) or not hasattr(
        answer.http_response, "_content"
    ):
        return Unread()
    given = copy.copy(answer)
    given._parsed_by_type = {}
    if inspect.iscoroutinefunction(given.parse):
        given.parse = functools.partial(_parsed, given.parse)
    return given


def _parsed(parse: Callable[..., Coroutine[Any, Any, Any]], *args: Any, **kwargs: Any) -> Any:
    """The outcome of an asynchronous `parse`, which awaits nothing after the response has been read.

    Instrumentors call it, but do not await it.
    """
    parsing = parse(*args, **kwargs)
    try:
        parsing.send(None)
    except StopIteration as done:
        return done.value
    parsing.close()
    return Unread()
