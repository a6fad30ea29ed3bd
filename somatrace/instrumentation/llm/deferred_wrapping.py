"""Let instrumentors wrap the modules of a client when the program loads them.

openai loads its resources at their first use: loading all of them takes longer than the rest of
`init_tracing`. The instrumentor of AWS's clients would also import aiobotocore wherever that is installed,
and fail where the program is just importing it. That of langchain would import langgraph and langchain into
programs that use neither; its switch, langchain-core, is imported in the middle of their imports.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, Final

from somatrace.instrumentation.import_hooks import completed

Hook = Callable[[ModuleType], Any]

#: The modules of instrumentors that wrap what may be loaded later, by library.
_MODULES: Final = {"bedrock": "", "langchain": "", "openai": ".v1"}
#: Modules whose import has begun, and not ended, when that of the library ends.
_BEGUN: Final = {
    "bedrock": ("aiobotocore.session",),
    "langchain": (
        "langchain.agents",
        "langchain.agents.factory",
        "langchain.agents.middleware.types",
        "langchain_community.llms.openai",
        "langchain_core.callbacks",
        "langchain_openai.chat_models.base",
        "langchain_openai.llms.base",
        "langgraph.prebuilt",
        "langgraph.prebuilt.chat_agent_executor",
        "langgraph.pregel",
        "langgraph.types",
    ),
}


class DeferredWrapping:
    """Wraps the methods of a library as their modules are loaded. `register(hook, module)` waits for one."""

    def __init__(self, library: str, package: str, register: Callable[[Hook, str], None]) -> None:
        self._library = library
        self._package = package
        self._register = register
        self._waiting: dict[str, list[Hook]] = {}
        self._ended: set[str] = set()

    def wait(self) -> None:
        """Wait for modules, before the library is imported."""
        for module in _BEGUN.get(self._library, ()):
            self._register(self._loaded, module)

    def install(self) -> None:
        """Make the instrumentor wait for modules. To be called before it instruments."""
        if self._library not in _MODULES:
            return
        instrumentor: Any = sys.modules.get(self._package + _MODULES[self._library])
        if instrumentor is None:
            return
        wrap = instrumentor.wrap_function_wrapper

        def wrap_when_loaded(module: str, name: str, wrapper: Any) -> None:
            self._when_loaded(lambda loaded: wrap(loaded, name, wrapper), module)

        def wrap_if_present(_: Any, module: str, name: str, wrapper: Any) -> None:
            def present(loaded: ModuleType) -> None:
                with contextlib.suppress(AttributeError):  # versions of the client differ
                    wrap(loaded, name, wrapper)

            self._when_loaded(present, module)

        instrumentor.wrap_function_wrapper = wrap_when_loaded
        if self._library == "openai":
            instrumentor.OpenAIV1Instrumentor._try_wrap = wrap_if_present

    def _when_loaded(self, hook: Hook, module: str) -> None:
        begun = module in _BEGUN.get(self._library, ()) and module not in self._ended
        if (
            begun
            and getattr(getattr(sys.modules.get(module), "__spec__", None), "_initializing", False) is True
        ):
            self._waiting.setdefault(module, []).append(hook)
            return

        def loaded(found: ModuleType) -> None:
            completed(found)
            hook(found)

        self._register(loaded, module)

    def _loaded(self, module: ModuleType) -> None:
        self._ended.add(module.__name__)
        for hook in self._waiting.pop(module.__name__, ()):
            hook(module)
