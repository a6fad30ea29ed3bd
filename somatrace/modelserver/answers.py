"""Answer a task: quote matching sentences, call the matching tool, or fill the schema."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from somatrace.modelserver.corpus import handbook
from somatrace.modelserver.facts import arguments, structure
from somatrace.modelserver.task import Finish, ModelTask, Reply, Tool
from somatrace.modelserver.text import count_tokens, sentences, tokens, words

NOT_FOUND: Final = "I do not find that in the sources I have."
_CONTEXT: Final = re.compile(r"<context>(.*?)(?:</context>|\Z)", re.DOTALL | re.IGNORECASE)
_QUESTION: Final = re.compile(r"\bquestion:\s*", re.IGNORECASE)
_QUOTES: Final = 2
_NEAR: Final = 0.6


def answer(task: ModelTask, alternative: int = 0) -> Reply:
    """The reply to `task`; `alternative` 1, 2, ... select the next best replies (for `n` choices)."""
    question = question_of(task)
    if (call := _call(task, question)) is not None:
        return call
    quotes = _quotes(task, question, alternative)
    if task.schema is None:
        text = " ".join(quotes) or NOT_FOUND
    elif task.schema:
        text = json.dumps(structure(task.schema, question, quotes), ensure_ascii=False)
    else:
        text = json.dumps({"answer": " ".join(quotes) or NOT_FOUND}, ensure_ascii=False)
    return _truncated(text, task)


def question_of(task: ModelTask) -> str:
    """The last user message without `<context>` blocks, or only the text after "Question:" if present."""
    text = next((message.text for message in reversed(task.messages) if message.role == "user"), "")
    return _QUESTION.split(_CONTEXT.sub(" ", text))[-1].strip()


def input_tokens(task: ModelTask) -> int:
    """The token count of all messages, tool definitions and the schema."""
    messages = sum(count_tokens(message.text) for message in task.messages)
    tools = sum(count_tokens(_tool_text(tool) + json.dumps(tool.parameters)) for tool in task.tools)
    return messages + tools + (count_tokens(json.dumps(task.schema)) if task.schema else 0)


def output_tokens(reply: Reply) -> int:
    """The token count of a reply: its text, or the tool's name and arguments."""
    return count_tokens(reply.text) + count_tokens(reply.tool) + count_tokens(reply.arguments)


def _quotes(task: ModelTask, question: str, alternative: int) -> list[str]:
    if task.messages[-1].role in ("tool", "function"):
        return _tool_results(task)
    context = [
        sentence
        for message in task.messages
        for block in _CONTEXT.findall(message.text)
        for sentence in sentences(block)
    ]
    hits = handbook().rank(question, context)[alternative:]
    near = [hit for hit in hits[:_QUOTES] if hit.score >= _NEAR * hits[0].score]
    return list(dict.fromkeys(hit.sentence.text for hit in near))


def _tool_results(task: ModelTask) -> list[str]:
    results: list[str] = []
    for message in reversed(task.messages):
        if message.role not in ("tool", "function"):
            break
        try:
            result = json.loads(message.text)
        except (ValueError, RecursionError):
            result = message.text
        results.append(_flat(result).rstrip(".") + ".")
    return results[::-1]


def _flat(result: Any) -> str:
    if isinstance(result, Mapping):
        return ", ".join(f"{str(key).replace('_', ' ')}: {_flat(value)}" for key, value in result.items())
    if isinstance(result, list):
        return "; ".join(_flat(value) for value in result)
    return str(result)


def _call(task: ModelTask, question: str) -> Reply | None:
    choice = task.tool_choice
    if choice == "none" or not task.tools:
        return None
    if choice == "auto" and task.messages[-1].role != "user":
        return None
    tool = _matching(task, question)
    if tool is None:
        return None
    given = arguments(tool, question)
    if given is None:
        # the caller requires a call: fill the schema, as a language model would
        given = structure(tool.parameters, question, [question])
    return Reply(tool=tool.name, arguments=json.dumps(given, ensure_ascii=False), finish="tool_calls")


def _matching(task: ModelTask, question: str) -> Tool | None:
    """The tool that matches the question; with "auto" only if the question has its required arguments."""
    choice = task.tool_choice
    if choice.startswith("="):
        return next(tool for tool in task.tools if tool.name == choice[1:])
    asked = set(words(question))
    ranked = sorted(task.tools, key=lambda tool: -len(asked & set(words(_tool_text(tool)))))
    usable = [tool for tool in ranked if arguments(tool, question) is not None]
    if choice == "required":
        return (usable or ranked)[0]
    return next((tool for tool in usable if asked & set(words(_tool_text(tool)))), None)


def _tool_text(tool: Tool) -> str:
    return f"{tool.name.replace('_', ' ')} {tool.description}"


def _truncated(text: str, task: ModelTask) -> Reply:
    """`text` cut before the first stop sequence, then to the token limit."""
    positions = [at for stop in task.stop if (at := text.find(stop)) >= 0]
    text = text[: min(positions)] if positions else text
    finish: Finish = "stop"
    parts = tokens(text)
    if task.max_tokens is not None and len(parts) > task.max_tokens:
        text, finish = "".join(parts[: task.max_tokens]), "length"
    return Reply(text=text, finish=finish)
