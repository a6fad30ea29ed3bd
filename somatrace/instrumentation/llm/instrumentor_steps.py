"""Steps around the instrumentation of a library, loaded with the first library that a program imports."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

from somatrace.instrumentation.coverage import Coverage
from somatrace.instrumentation.llm import (
    agents_events,
    answer_usage,
    assistants,
    cached_answers,
    google_tokens,
    haystack_tags,
    langchain_events,
    langchain_runs,
    llama_index_events,
    mcp_streams,
    repairs,
)
from somatrace.instrumentation.llm.isolation import stored_answers
from somatrace.instrumentation.llm.isolation.installation import data_packages, isolate
from somatrace.instrumentation.llm.langgraph_streams import close_streams
from somatrace.libraries import Library

#: Calls a hook after the import of a module.
Hooks = Callable[[Callable[[ModuleType], Any], str], None]


def prepare(row: Library, coverage: Coverage) -> dict[str, Any]:
    """Isolate an instrumentor, before it instruments its library. Returns arguments for it."""
    library, package = row.name, row.instrumentor_module
    if library == "mcp":
        mcp_streams.isolate_streams(package)
    if library == "langchain":
        langchain_events.add_handler(package)
        close_streams(package)
        langchain_runs.install(coverage)
    if library == "llama_index":
        llama_index_events.isolate_handler(package, data_packages(row))
    if library == "openai_agents":
        agents_events.isolate_processor(package, data_packages(row))
    return isolate(row)


def complete(row: Library, loaded: ModuleType, hooks: Hooks) -> str | None:
    """Do what an instrumentor lacks, after it has instrumented its library. Returns a state for `status()`,
    None for "on"."""
    library, package = row.name, row.instrumentor_module
    if library in ("anthropic", "openai"):
        repairs.remove_event_loops(package)
    if library == "openai":
        stored_answers.forget_finished()
        assistants.report_runs(package, hooks)
        answer_usage.complete_openai(package)
    if library == "langchain":
        langchain_events.start_all_handlers(package)
        cached_answers.mark_langchain(package)
        answer_usage.complete_langchain(package)
        langchain_events.isolate_handler(package, data_packages(row))
        langchain_events.note_first_tokens(package)
    if library in ("google.genai", "vertexai"):
        google_tokens.count_all(package)
    if library == "google.genai":
        google_tokens.note_requests(library)
    if library == "litellm":
        cached_answers.mark_litellm(package)
        answer_usage.complete_litellm(package)
    if library == "mistralai":
        return repairs.disable_native_mistralai_spans(loaded)
    if library == "anthropic":
        answer_usage.complete_anthropic(package)
        return repairs.disable_native_anthropic_spans(loaded)
    return None


def isolate_spans(row: Library, module: ModuleType) -> None:
    """Isolate the spans that a library makes by itself in one of its modules."""
    haystack_tags.isolate_tags(module, data_packages(row))
