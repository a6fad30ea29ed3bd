"""Mark the spans of calls that a library answers from its cache.

Cached answers hold the tokens of the request that was once billed, and the instrumentors record them again.
"""

from __future__ import annotations

import functools
import sys
import weakref
from contextvars import ContextVar
from typing import Any, Final

from somatrace import semconv
from somatrace.context.collector_safety import context_variable
from somatrace.instrumentation.import_hooks import wrap_method
from somatrace.runtime.fail_safe import fail_safe

#: The method of litellm's cache that combines the cached embeddings of a call with those it has requested.
_COMBINE: Final = "combine_cached_embedding_response_with_api_result"
#: The function by which litellm marks an answer of its cache.
_MARK: Final = "_set_cached_hidden_param"
#: Whether the call that runs in this context was answered from litellm's cache.
_is_hit: ContextVar[bool] = context_variable("somatrace-cache-hit", False)
#: The combined answer that this context has just been given, and the usage of its request.
_fresh: ContextVar[tuple[weakref.ref[Any], Any] | None] = context_variable("somatrace-fresh", None)


def mark_langchain(package: str) -> None:
    """Mark answers of langchain's caches (`set_llm_cache`, `cache=`)."""
    handler = getattr(sys.modules.get(f"{package}.callback_handler"), "TraceloopCallbackHandler", None)
    if handler is not None:
        wrap_method(handler, "on_llm_end", _ended)


def mark_litellm(package: str) -> None:
    """Mark answers of `litellm.cache`."""
    module: Any = sys.modules.get(package)
    finalize = getattr(module, "_finalize", None)
    if finalize is not None:

        def finalized(
            span: Any, metrics: Any, events: Any, kind: Any, response: Any, *args: Any, **kwargs: Any
        ) -> Any:
            billed = _billed_part(response)
            if billed is response:
                _mark_if_cached(span, response)
            return finalize(span, metrics, events, kind, billed, *args, **kwargs)

        module._finalize = finalized
    caching: Any = sys.modules.get("litellm.caching.caching_handler")
    if hasattr(getattr(caching, "LLMCachingHandler", None), _COMBINE):
        wrap_method(caching.LLMCachingHandler, _COMBINE, _combined)
    stream, start = getattr(module, "_StreamWrapper", None), getattr(module, "_start_span", None)
    if stream is not None and start is not None and hasattr(caching, _MARK):
        module._start_span = _before(start, lambda *_: _is_hit.set(False))
        setattr(caching, _MARK, _before(getattr(caching, _MARK), _note_hit))
        wrap_method(stream, "__init__", _streaming)


def _ended(call: Any, handler: Any, args: Any, kwargs: Any) -> Any:
    with fail_safe("cache"):
        if _is_from_langchains_cache(args[0] if args else kwargs["response"]):
            handler._get_span(kwargs["run_id"]).set_attribute(semconv.CACHE_HIT, True)
    return call(*args, **kwargs)


def _is_from_langchains_cache(result: Any) -> bool:
    """Whether all answers of a result are. Langchain sets the cost of those to 0, and of no others."""
    messages = [getattr(one, "message", None) for generations in result.generations for one in generations]
    return bool(messages) and all(
        (getattr(message, "usage_metadata", None) or {}).get("total_cost") == 0 for message in messages
    )


def _combined(call: Any, _: Any, args: Any, kwargs: Any) -> Any:
    """Note the usage of the request for those embeddings of a call that were not in the cache."""
    answer = call(*args, **kwargs)
    with fail_safe("cache"):
        fresh = kwargs["embedding_response"] if "embedding_response" in kwargs else args[1]
        if answer is not fresh:
            _fresh.set((weakref.ref(answer), getattr(fresh, "usage", None)))
    return answer


def _billed_part(response: Any) -> Any:
    """The response, with the usage of what was sent if only a part of it was in the cache."""
    with fail_safe("cache"):
        noted = _fresh.get()
        if noted is not None and response is not None and noted[0]() is response:
            _fresh.set(None)
            copied: Any = response
            return copied.model_copy(update={"usage": noted[1]})
    return response


def _before(function: Any, step: Any) -> Any:
    @functools.wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        with fail_safe("cache"):
            step(*args)
        return function(*args, **kwargs)

    return called


def _note_hit(_: object, key: object = None, value: object = None) -> None:
    if key == "cache_hit" and value is True:
        _is_hit.set(True)


def _streaming(call: Any, _: Any, args: Any, kwargs: Any) -> Any:
    """Mark the span of a stream, given as `response, span, ...`."""
    with fail_safe("cache"):
        if len(args) > 1 and _is_hit.get():
            args[1].set_attribute(semconv.CACHE_HIT, True)
    return call(*args, **kwargs)


def _mark_if_cached(span: Any, response: Any) -> None:
    with fail_safe("cache"):
        hidden = getattr(response, "_hidden_params", None)
        if isinstance(hidden, dict) and hidden.get("cache_hit") is True:
            span.set_attribute(semconv.CACHE_HIT, True)
