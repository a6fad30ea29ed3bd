"""Requests of tools are those of the program, also where a framework calls a model and its tools in one."""

from __future__ import annotations

from typing import Any, Final

import pytest

from somatrace.instrumentation.call_context import in_llm_call

#: Modules on the stack of a request, innermost first, recorded with agno 3.1.10 and crewai 1.15.30.
TOOLS: Final = {
    "agno: a function": ["__main__", "pydantic._internal._validate_call", "agno.tools.function",
                         "agno.models.base", "agno.models.fallback", "agno.agent._run"],
    "agno: a generator": ["__main__", "agno.models.base", "agno.models.fallback", "agno.agent._run"],
    "agno: an asynchronous generator": ["__main__", "agno.tools.function", "agno.models.base",
                                        "asyncio.events", "asyncio.base_events", "asyncio.runners"],
    "agno: a hook": ["__main__", "agno.tools.function", "agno.models.base", "agno.models.fallback"],
    "crewai: a function": ["__main__", "crewai.llms.base_llm", "crewai.llms.providers.openai.completion",
                           "crewai.llms.base_llm", "crewai.llms.retry", "crewai.llms.base_llm"],
    "crewai: a tool of an agent": ["__main__", "crewai.tools.base_tool", "crewai.agents.agent_executor"],
    "crewai: a hook before the call": ["__main__", "crewai.hooks.dispatch", "crewai.llms.base_llm",
                                       "crewai.llms.providers.openai.completion", "crewai.llms.base_llm"],
}  # fmt: skip
MODELS: Final = {
    "agno": ["agno.models.huggingface.huggingface", "agno.models.base", "agno.agent._run"],
    "agno: an embedder": ["agno.knowledge.embedder.jina", "agno.knowledge.knowledge", "__main__"],
    "crewai": ["crewai.llms.providers.azure.completion", "crewai.llms.base_llm", "crewai.llms.retry"],
    "crewai: through an interceptor": ["httpx", "crewai.llms.hooks.transport", "openai._base_client",
                                       "crewai.llms.providers.openai.completion", "crewai.llms.base_llm"],
}  # fmt: skip


def on_stack(modules: list[str]) -> bool:
    """What `in_llm_call` says with these modules on the stack."""
    call: Any = in_llm_call
    for name in modules:
        scope: dict[str, Any] = {"__name__": name, "call": call}
        exec("def made():\n    return call()", scope)
        call = scope["made"]
    return bool(call())


@pytest.mark.parametrize("tool", TOOLS)
def test_a_request_of_a_tool_is_no_model_call(tool: str) -> None:
    assert on_stack(TOOLS[tool]) is False


@pytest.mark.parametrize("model", MODELS)
def test_a_request_of_a_framework_to_a_model_server_is_one(model: str) -> None:
    assert on_stack(MODELS[model]) is True
