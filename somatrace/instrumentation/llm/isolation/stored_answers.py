"""Record each answer of the Responses API once: when it is over, whether it was completed or not.

An answer that is fetched was billed with the request that created it, unless that has left it in the
background. The instrumentor records all finished answers that it sees, but none that ends early, and none of
the tokens of those in the background.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Final

from opentelemetry import trace

from somatrace import semconv
from somatrace.instrumentation.llm.isolation.answer_failures import mark_failed
from somatrace.instrumentation.llm.isolation.feed import Feed
from somatrace.instrumentation.llm.isolation.postponed import LeftError
from somatrace.runtime.fail_safe import fail_safe

#: States in which an answer is over without being complete.
_ENDED_EARLY: Final = ("incomplete", "failed", "cancelled")
#: States of answers in progress; all others are final.
_UNFINISHED: Final = ("queued", "in_progress")
#: Unfinished background answers to keep, and finished ones to know; beyond it, the oldest are dropped.
_MOST_UNFINISHED: Final = 256
_MOST_KNOWN: Final = 4096
_WRAPPERS: Final = "opentelemetry.instrumentation.openai.v1.responses_wrappers"


class UnfinishedAnswers(dict[str, Any]):
    """Keeps what the instrumentor knows of answers in progress, and the ids of those that are over."""

    def __init__(self) -> None:
        super().__init__()
        self._over: dict[str, None] = {}

    def __setitem__(self, key: str, value: Any) -> None:
        if getattr(value, "response_status", None) not in _UNFINISHED:
            self.pop(key, None)
            self._over[key] = None
            while len(self._over) > _MOST_KNOWN:
                self._over.pop(next(iter(self._over)), None)
            return
        super().__setitem__(key, value)
        while len(self) > _MOST_UNFINISHED:
            self.pop(next(iter(self)), None)

    def get(self, key: str, default: Any = None) -> Any:
        """The known fields of an answer, without those that only a finished answer has."""
        found = super().get(key, default)
        return found if found is default else _Request(found)

    def is_over(self, key: Any) -> bool:
        """Whether the answer of this id is recorded."""
        return key in self._over


class _Request:
    """The known fields of the request for an answer."""

    def __init__(self, known: Any) -> None:
        self._known = known

    def model_dump(self) -> dict[str, Any]:
        """The fields that are known, for the instrumentor."""
        fields: dict[str, Any] = self._known.model_dump()
        return {
            name: value
            for name, value in fields.items()
            if value not in (None, "") and name not in ("usage", "output_text", "response_service_tier")
        }


def forget_finished() -> None:
    """Drop finished answers, which the instrumentor keeps with their texts for the life of the process
    (traceloop/openllmetry#4473). It needs only those that are fetched later."""
    wrappers: Any = sys.modules.get(_WRAPPERS)
    if isinstance(getattr(wrappers, "responses", None), dict):
        wrappers.responses = UnfinishedAnswers()


def recorded_once(wrapper: Callable[..., Any], name: str) -> Callable[..., Any]:
    """The instrumentor's wrapper of the method `name`, with each answer recorded once."""
    fetches = name.endswith(".retrieve")

    def called(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        key = (args[0] if args else kwargs.get("response_id")) if fetches else None
        return wrapper(_Answering(wrapped, key), instance, args, kwargs)

    return called


class _Answering:
    """The call of a method, whose answer the instrumentor gets only if it is to record it.

    `key`: the id of the answer that is fetched. None for a request that creates one.
    """

    def __init__(self, wrapped: Any, key: Any) -> None:
        self._wrapped = wrapped
        self._key = key

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wrapped, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        answer = self._wrapped(*args, **kwargs)
        return self._awaited(answer) if hasattr(answer, "__await__") else self._to_record(answer)

    async def _awaited(self, pending: Any) -> Any:
        return self._to_record(await pending)

    def _to_record(self, answer: Any) -> Any:
        with fail_safe("stored answers"):
            known: Any = getattr(sys.modules.get(_WRAPPERS), "responses", None)
            if self._key is not None and isinstance(known, UnfinishedAnswers):
                if known.is_over(self._key):
                    raise LeftError
                is_new = type(answer) is Feed or known.get(self._key) is not None
                if not is_new and not getattr(_parsed(answer), "background", None):
                    raise LeftError
            if (
                type(answer) is not Feed
                and getattr(parsed := _parsed(answer), "status", None) in _ENDED_EARLY
            ):
                return parsed.model_copy(update={"status": _Over(parsed.status)})
        return answer


def _parsed(answer: Any) -> Any:
    """The answer itself, of one that was requested raw."""
    parse = getattr(answer, "parse", None)
    return parse() if callable(parse) else answer


class _Over(str):
    """The status of an answer that has ended early: it is over like a completed one."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return other == "completed" or str.__eq__(self, other)

    def __hash__(self) -> int:
        return str.__hash__(self)


def complete_span(answer: Any, span: trace.Span) -> None:
    """Name the requested model of an answer that was fetched, and how an answer has ended early."""
    model = getattr(answer, "request_model", None)
    if isinstance(model, str) and model:
        span.set_attribute(semconv.REQUEST_MODEL, model)
    status = getattr(answer, "response_status", None)
    if status == "failed":
        mark_failed(span, "failed")
    elif status == "cancelled":
        span.set_attribute(semconv.OUTCOME, "cancelled")
