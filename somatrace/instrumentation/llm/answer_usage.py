"""Record what instrumentors leave out of an answer's usage, or count twice.

They record the sums and some of their parts. What is missing here and there: reasoning, audio, writes to a
cache and how long it keeps them; and the model that answered a stream.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable
from typing import Any, Final

from somatrace import semconv
from somatrace.instrumentation.llm.isolation import stored_answers
from somatrace.instrumentation.llm.isolation.answer_failures import mark_failed
from somatrace.instrumentation.loaded_modules import modules_of
from somatrace.runtime.fail_safe import fail_safe

_IN: Final = ("prompt_tokens_details", "input_tokens_details", "input_token_details")
_OUT: Final = ("completion_tokens_details", "output_tokens_details", "output_token_details")
_DURATIONS: Final = ("cache_creation", "prompt_tokens_details.cache_creation_token_details", *_IN)
#: The entry of an accumulated stream that holds the model that serves it.
_SERVED: Final = "somatrace_served_model"
#: Of anthropic.
_BETA_MANAGERS: Final = ("BetaMessageStreamManager", "BetaAsyncMessageStreamManager")
#: By attribute: the objects of an answer's usage that may hold the count, and its names there.
_PARTS: Final[tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...]] = (
    (
        semconv.CACHE_READ_TOKENS,
        ("", *_IN),
        ("cache_read_input_tokens", "cached_tokens", "cache_read"),
    ),
    (
        semconv.CACHE_CREATION_TOKENS,
        ("", *_IN),
        ("cache_creation_input_tokens", "cache_creation_tokens", "cache_write_tokens", "cache_creation"),
    ),
    (semconv.CACHE_CREATION_5M_TOKENS, _DURATIONS, ("ephemeral_5m_input_tokens",)),
    (semconv.CACHE_CREATION_1H_TOKENS, _DURATIONS, ("ephemeral_1h_input_tokens",)),
    (semconv.INPUT_AUDIO_TOKENS, _IN, ("audio_tokens", "audio")),
    (semconv.REASONING_TOKENS, _OUT, ("reasoning_tokens", "reasoning")),
    (semconv.OUTPUT_AUDIO_TOKENS, _OUT, ("audio_tokens", "audio")),
)


def complete_openai(package: str) -> None:
    """Record all parts of the usage of completions, embeddings and answers of the Responses API."""
    _after(package, "_set_response_attributes", lambda span, answer: _note(span, answer.get("usage")))
    _after(package, "set_data_attributes", lambda answer, span: _note(span, answer.usage))
    _after(package, "set_data_attributes", stored_answers.complete_span)


def complete_anthropic(package: str) -> None:
    """Record all parts of the usage of messages, and count the output of a stream once."""
    for name in ("_set_token_usage", "_aset_token_usage"):
        _after(package, name, _note_message, only=package)
    streaming = f"{package}.streaming"
    _after(streaming, "_process_response_item", _replace_output, only=streaming)
    _after(
        streaming,
        "_set_token_usage",
        lambda span, answer, *_, **__: _note(span, answer.get("usage")),
        only=streaming,
    )
    _recognize_beta_managers(sys.modules.get(package))


def _recognize_beta_managers(instrumentor: Any) -> None:
    """Have the managers of beta streams read to their end: the instrumentor takes them for answers without
    tokens."""
    known, managed = vars(instrumentor).get("is_stream_manager"), "WrappedMessageStreamManager"
    names = (managed, "WrappedAsyncMessageStreamManager")
    if known is None or not all(hasattr(instrumentor, name) for name in names):
        return
    blocking, asynchronous = (getattr(instrumentor, name) for name in names)

    def is_stream_manager(answer: Any) -> bool:
        return bool(known(answer)) or answer.__class__.__name__ in _BETA_MANAGERS

    def wrap_manager(manager: Any, *args: Any, **kwargs: Any) -> Any:
        kind = asynchronous if "Async" in manager.__class__.__name__ else blocking
        return kind(manager, *args, **kwargs)

    instrumentor.is_stream_manager = is_stream_manager
    setattr(instrumentor, managed, wrap_manager)


def complete_litellm(package: str) -> None:
    """Record all parts of the usage of completions, and the model that answers a stream."""
    _after(package, "_set_response_attributes", lambda span, _, answer: _note(span, answer.get("usage")))
    _after(package, "_accumulate_chunk", _take_model)
    _after(package, "_accumulate_chunk", _take_hidden_usage)


def complete_langchain(package: str) -> None:
    """Record all parts of the usage of chat models, once per answer, and the model that answers a stream."""
    _after(package, "set_chat_response_usage", _note_result, only=f"{package}.callback_handler")


def _after(package: str, name: str, step: Callable[..., None], *, only: str = "") -> None:
    """Run a step, with the same arguments, after each function `name` of a loaded package."""
    for loaded, module in modules_of(package):
        function = vars(module).get(name)
        if callable(function) and only in ("", loaded):
            setattr(module, name, _then(function, step))


def _then(function: Callable[..., Any], step: Callable[..., None]) -> Callable[..., Any]:
    @functools.wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        if hasattr(result, "__await__"):
            return _awaited(result, args, kwargs)
        with fail_safe("usage"):
            step(*args, **kwargs)
        return result

    async def _awaited(result: Any, args: Any, kwargs: Any) -> Any:
        found = await result
        with fail_safe("usage"):
            step(*args, **kwargs)
        return found

    return called


def _read(holder: Any, name: str) -> Any:
    if holder is None or isinstance(holder, (int, float, str)):
        return None
    return holder.get(name) if isinstance(holder, dict) else getattr(holder, name, None)


def _parts(usage: Any) -> dict[str, int]:
    """The parts of the sums of one answer, by attribute. Those that are 0 or unknown are left out."""
    found = {}
    for key, holders, names in _PARTS:
        counts = (
            _read(functools.reduce(_read, filter(None, holder.split(".")), usage), name)
            for holder in holders
            for name in names
        )
        count = next((count for count in counts if type(count) is int and count > 0), None)
        if count is not None:
            found[key] = count
    return found


def _note(span: Any, usage: Any) -> None:
    if usage is not None and span.is_recording() and (found := _parts(usage)):
        span.set_attributes(found)


def _note_message(span: Any, _: Any, __: Any, answer: Any, *___: Any, **____: Any) -> None:
    parse = getattr(answer, "parse", None)  # of an answer that was asked for raw; it is kept there
    _note(span, getattr(parse() if callable(parse) else answer, "usage", None))


def _replace_output(item: Any, answer: dict[str, Any]) -> None:
    """Take over the counts of a delta: they are those of the message so far, and the instrumentor adds up."""
    if item.type != "message_delta" or not item.usage:
        return
    usage = answer.setdefault("usage", {})
    usage |= {name: count for name, count in dict(item.usage).items() if type(count) is int}


def _take_model(answer: dict[str, Any], chunk: Any) -> None:
    """Keep the provider's name of the model: litellm's chunks have the requested one."""
    served = _read(getattr(chunk, "_hidden_params", None), "provider_response_model") or answer.get(_SERVED)
    if isinstance(served, str) and served:
        answer[_SERVED] = answer["model"] = served


def _take_hidden_usage(answer: dict[str, Any], chunk: Any) -> None:
    """Take the usage that litellm keeps from a program that did not ask for it: the provider has sent it.

    It is 0 for a provider that sends none.
    """
    usage = _read(getattr(chunk, "_hidden_params", None), "usage")
    if answer.get("usage") or not _read(usage, "total_tokens"):
        return
    dump = getattr(usage, "model_dump", None)
    answer["usage"] = dump() if callable(dump) else usage


def _note_result(span: Any, result: Any, *_: Any, **__: Any) -> None:
    for answers in result.generations:
        messages = [message for one in answers if (message := getattr(one, "message", None)) is not None]
        _note_messages(span, messages)


def _note_messages(span: Any, messages: Iterable[Any]) -> None:
    for message in messages:
        _note(span, getattr(message, "usage_metadata", None))
        metadata = getattr(message, "response_metadata", None) or {}
        model = metadata.get("model_name")
        if isinstance(model, str) and model:
            span.set_attribute(semconv.RESPONSE_MODEL, model)
        if metadata.get("finish_reason") == "error":
            mark_failed(span, "error")
