"""What an instrumentor gets to read in place of the program's answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from somatrace.instrumentation.llm.isolation.feed import Feed, is_stream
from somatrace.instrumentation.llm.isolation.passive import Unread
from somatrace.instrumentation.llm.isolation.raw_answers import (
    copy_of_read,
    feed_of,
    is_raw_response,
    is_read,
    is_streamed,
)


class StandIn:
    """`given` in place of the program's answer, with a feed for each stream in it.

    Answers of AWS are dicts that hold a stream; the key is None for an answer that is a stream itself.
    """

    def __init__(self, answer: Any) -> None:
        self.streams: dict[Any, tuple[Any, Feed]] = {}
        #: Whether the answer is the response to a request, whose body the program is going to read.
        self.is_unread = False
        self.given = self._of(answer)

    def _of(self, answer: Any) -> Any:
        if type(answer) is dict:
            return {
                key: self._feed(key, value) if is_stream(value) else value for key, value in answer.items()
            }
        if is_raw_response(answer):
            return self._of_raw(answer)
        return self._feed(None, answer) if is_stream(answer) else answer

    def _of_raw(self, answer: Any) -> Any:
        if is_streamed(answer):
            feed = feed_of(answer)
            if feed is None:
                return Unread()
            self.streams[None] = answer, feed
            return feed
        if is_read(answer):
            return copy_of_read(answer)
        self.is_unread = True
        return Unread()

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
