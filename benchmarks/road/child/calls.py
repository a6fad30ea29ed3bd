"""Calls of a model through a client library, one after the other."""

from __future__ import annotations

import importlib
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

from systems import System

#: The instrumentors of the layers that a call passes.
_LAYERS = {"openai": ("openai",), "litellm": ("litellm", "openai"), "langchain": ("langchain", "openai")}
_CLASSES = {
    "openai": "OpenAIInstrumentor",
    "litellm": "LiteLLMInstrumentor",
    "langchain": "LangchainInstrumentor",
}
_WARM = 20


def instrument(client: str) -> None:
    """Use the instrumentors alone, with whatever provider is set."""
    for layer in _LAYERS[client]:
        module = importlib.import_module(f"opentelemetry.instrumentation.{layer}")
        getattr(module, _CLASSES[layer])().instrument()


def _openai() -> Callable[[int], object]:
    import openai

    client = openai.OpenAI()

    def call(number: int) -> object:
        return client.chat.completions.create(
            model="gpt-4o-mini", messages=[{"role": "user", "content": f"Question {number}"}]
        )

    return call


def _litellm() -> Callable[[int], object]:
    import litellm

    def call(number: int) -> object:
        messages = [{"role": "user", "content": f"Question {number}"}]
        return litellm.completion(
            model="openai/gpt-4o-mini", messages=messages, api_base=os.environ["OPENAI_BASE_URL"]
        )

    return call


def _langchain() -> Callable[[int], object]:
    from langchain_openai import ChatOpenAI

    model = ChatOpenAI(model="gpt-4o-mini")
    return lambda number: model.invoke(f"Question {number}")


CLIENTS = {"openai": _openai, "litellm": _litellm, "langchain": _langchain}


def calls(system: System, *, client: str, count: int, **_: Any) -> dict[str, float]:
    call = CLIENTS[client]()
    for number in range(_WARM):
        call(number)
    system.flush()
    took, process = [], time.process_time()
    for number in range(count):
        began = time.perf_counter()
        call(_WARM + number)
        took.append(time.perf_counter() - began)
    system.flush()
    cpu = time.process_time() - process
    cuts = statistics.quantiles(took, n=100)
    return {"p50": cuts[49] * 1e3, "p99": cuts[98] * 1e3, "cpu": cpu / count * 1e3, "made": 0}
