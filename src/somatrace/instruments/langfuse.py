"""The parts of the langfuse SDK that make spans of their own for calls which are instrumented already."""

from __future__ import annotations

import functools
from types import ModuleType
from typing import Final

from somatrace.instruments.coverage import Coverage
from somatrace.instruments.hooks import when_imported

#: Module -> what to use in its place.
_DOUBLES: Final = {
    "langfuse.langchain": "drop its CallbackHandler",
    "langfuse.openai": "import openai itself",
}


def install(coverage: Coverage) -> None:
    """Say so when the program imports one of them; `@observe` and `get_client` go together with us."""
    for module, remedy in _DOUBLES.items():
        when_imported(module, coverage, functools.partial(_say, remedy, coverage), library=module)


def _say(remedy: str, coverage: Coverage, module: ModuleType) -> str:
    said = "makes a second span with tokens for each call, so its cost counts twice"
    coverage.problem(f"{module.__name__}: {said}; {remedy}")
    return f"off; {said}"
