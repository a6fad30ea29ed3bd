"""A call belongs to a library if the library's code has led to it, unless it has called a tool."""

from __future__ import annotations

import sysconfig
from collections.abc import Callable
from typing import Any

from somatrace.runtime.calling_code import Packages, called_by, nearest_module

OLLAMA = Packages("ollama")
TOOLS = Packages("ollama._tools")
LIBRARIES = sysconfig.get_path("purelib")


def code_of(module: str, filename: str) -> Callable[..., Any]:
    """A function of `module` that calls its argument."""
    namespace: dict[str, Any] = {"__name__": module}
    source = "def call(function, *args):\n    return function(*args)\n"
    exec(compile(source, filename, "exec"), namespace)
    return namespace["call"]  # type: ignore[no-any-return]


model_client = code_of("ollama._client", f"{LIBRARIES}/ollama/_client.py")
http_client = code_of("httpx._client", f"{LIBRARIES}/httpx/_client.py")
program = code_of("app.tools", "/srv/app/tools.py")


def test_a_call_through_another_library_is_the_callers() -> None:
    assert model_client(http_client, called_by, OLLAMA, TOOLS)


def test_libraries_packed_together_with_the_program_are_known_by_name() -> None:
    packed = code_of("httpx._client", "/var/task/httpx/_client.py")

    assert code_of("ollama._client", "/var/task/ollama/_client.py")(packed, called_by, OLLAMA, TOOLS)


def test_code_of_the_program_that_a_library_uses_for_its_call_belongs_to_it() -> None:
    """A transport, or a client of the program's own."""
    assert model_client(http_client, program, http_client, called_by, OLLAMA, TOOLS)
    assert model_client(program, http_client, called_by, OLLAMA, TOOLS)


def test_a_tool_makes_calls_of_its_own() -> None:
    tool_caller = code_of("ollama._tools", f"{LIBRARIES}/ollama/_tools.py")

    assert not model_client(tool_caller, program, http_client, called_by, OLLAMA, TOOLS)
    assert model_client(tool_caller, program, model_client, http_client, called_by, OLLAMA, TOOLS)
    assert not program(http_client, called_by, OLLAMA, TOOLS)


def test_a_task_of_the_program_on_a_loop_that_a_library_runs_makes_calls_of_its_own() -> None:
    loop = code_of("asyncio.base_events", f"{LIBRARIES}/asyncio/base_events.py")

    assert not model_client(loop, program, http_client, called_by, OLLAMA, TOOLS)
    assert model_client(loop, http_client, called_by, OLLAMA, TOOLS)
    assert model_client(loop, model_client, program, http_client, called_by, OLLAMA, TOOLS)


def test_a_package_with_a_longer_name_is_another_one() -> None:
    assert not code_of("ollama_tools", f"{LIBRARIES}/ollama_tools.py")(called_by, OLLAMA, TOOLS)


def test_a_deep_stack_is_looked_at_within_a_limit() -> None:
    assert not model_client(*[http_client] * 200, called_by, OLLAMA, TOOLS)


def test_the_nearest_module_is_the_first_outside_the_named_packages() -> None:
    assert model_client(http_client, nearest_module, Packages("httpx", "somatrace")) == "ollama._client"


def test_a_module_without_a_proper_name_is_passed_over() -> None:
    nameless = code_of([], "/srv/app/odd.py")  # type: ignore[arg-type]

    assert model_client(nameless, http_client, called_by, OLLAMA, TOOLS)
    assert not nameless(http_client, called_by, OLLAMA, TOOLS)
