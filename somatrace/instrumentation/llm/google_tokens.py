"""Count all tokens of Google's models: also of thoughts, tools' results, and requests that the SDK adds.

The instrumentors take the candidates' tokens for the output and the prompt's for the input. Thoughts and the
results of tools are counted beside them, and billed. A call that the SDK continues, to call the program's
functions, has the tokens of its last request only.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from types import ModuleType
from typing import Any, Final

from somatrace import semconv
from somatrace.context.collector_safety import context_variable
from somatrace.instrumentation.import_hooks import wrap_method
from somatrace.runtime.fail_safe import fail_safe

_SET: Final = "set_model_response_attributes"
#: The usage of each answer of the call that runs in this context.
_answers: ContextVar[list[Any] | None] = context_variable("somatrace-google-answers", None)


def count_all(package: str) -> None:
    """Correct the tokens that the instrumentor `package` records."""
    module = sys.modules.get(package)
    function = getattr(module, _SET, None)
    if function is not None:
        setattr(module, _SET, _corrected(function))


def note_requests(package: str) -> None:
    """Note the answers of all requests of google-genai's calls. To be called after the instrumentor."""
    module: ModuleType | None = sys.modules.get(f"{package}.models")
    for name, calling, requesting in (
        ("Models", _calling, _requesting),
        ("AsyncModels", _calling_async, _requesting_async),
    ):
        owner: Any = getattr(module, name, None)
        if hasattr(owner, "generate_content") and hasattr(owner, "_generate_content"):
            wrap_method(owner, "generate_content", calling)
            wrap_method(owner, "_generate_content", requesting)


def _corrected(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def corrected(span: Any, *args: Any, **kwargs: Any) -> Any:
        result = function(span, *args, **kwargs)
        with fail_safe("usage"):
            usage = next((found for value in args if (found := _usage(value)) is not None), None)
            if usage is not None and span.is_recording():
                earlier = _answers.get() or ()
                _set(span, [one for one in earlier if one is not usage] + [usage])
        return result

    return corrected


def _usage(value: Any) -> Any:
    """The usage of an answer, or `value` if it is that itself."""
    usage = getattr(value, "usage_metadata", value)
    return usage if hasattr(usage, "candidates_token_count") else None


def _set(span: Any, usages: Sequence[Any]) -> None:
    def total(*names: str) -> int:
        counts = (getattr(usage, name, None) for usage in usages for name in names)
        return sum(count for count in counts if isinstance(count, int))

    totals = {
        semconv.INPUT_TOKENS: total("prompt_token_count", "tool_use_prompt_token_count"),
        semconv.OUTPUT_TOKENS: total("candidates_token_count", "thoughts_token_count"),
        semconv.REASONING_TOKENS: total("thoughts_token_count"),
    }
    if len(usages) > 1:
        totals[semconv.TOTAL_TOKENS] = total("total_token_count")
        totals[semconv.CACHE_READ_TOKENS] = total("cached_content_token_count")
    span.set_attributes({key: count for key, count in totals.items() if count})


@contextmanager
def _noting() -> Iterator[None]:
    token = _answers.set([])
    try:
        yield
    finally:
        _answers.reset(token)


def _note(answer: Any) -> None:
    with fail_safe("usage"):
        noted, usage = _answers.get(), _usage(answer)
        if noted is not None and usage is not None:
            noted.append(usage)


def _calling(call: Any, _: object, args: Any, kwargs: Any) -> Any:
    with _noting():
        return call(*args, **kwargs)


async def _calling_async(call: Any, _: object, args: Any, kwargs: Any) -> Any:
    with _noting():
        return await call(*args, **kwargs)


def _requesting(call: Any, _: object, args: Any, kwargs: Any) -> Any:
    answer = call(*args, **kwargs)
    _note(answer)
    return answer


async def _requesting_async(call: Any, _: object, args: Any, kwargs: Any) -> Any:
    answer = await call(*args, **kwargs)
    _note(answer)
    return answer
