"""Load OpenLLMetry's instrumentors, each when the program imports its library and not before.

Their arguments ensure that only spans leave the process: no image uploads, no trace headers to model
providers, no metrics.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, Final

from opentelemetry.metrics import NoOpMeterProvider

from somatrace.instrumentation import post_import
from somatrace.instrumentation.content_capture import ContentCapture
from somatrace.instrumentation.coverage import ON, WAITING, Coverage
from somatrace.instrumentation.import_hooks import when_imported
from somatrace.instrumentation.llm import mcp_transports
from somatrace.instrumentation.llm.deferred_wrapping import DeferredWrapping
from somatrace.instrumentation.llm.log_filter import silence_prints
from somatrace.instrumentation.loaded_modules import modules_of
from somatrace.libraries import INSTRUMENTED, Library

log = logging.getLogger("somatrace")

#: Modules by which a library makes spans by itself, also where its instrumentor does not support it.
_MAKING_SPANS: Final = {"haystack": ("haystack.tracing.utils", "haystack.tracing.opentelemetry")}


async def _upload_nothing(*_: object) -> str:
    return ""


def _log_failure(error: Exception) -> None:
    """Log that an instrumentor failed at one call, without the error's text: it may quote the call."""
    log.debug("an instrumentor could not record a call: %s", type(error).__name__)


#: Passed to each instrumentor that accepts them.
_ARGUMENTS: Final[dict[str, Any]] = {
    "disable_trace_context_propagation": True,
    "enable_trace_context_propagation": False,
    "enrich_assistant": False,
    "enrich_token_usage": False,
    "exception_logger": _log_failure,
    "upload_base64_image": _upload_nothing,
    "use_attributes": True,
}


def install(coverage: Coverage, capture: ContentCapture) -> None:
    """Wait for the import of each library that has an instrumentor."""
    for library in INSTRUMENTED:
        for module in library.modules:
            Switch(library, module, coverage, capture).wait()


class Switch:
    """Instruments one library as soon as both the library and its instrumentor are imported."""

    def __init__(self, library: Library, module: str, coverage: Coverage, capture: ContentCapture) -> None:
        self._library = library
        self._module = module
        self._package = library.instrumentor_module
        self._coverage = coverage
        self._capture = capture
        self._loaded: ModuleType | None = None
        self._deferred = DeferredWrapping(library.name, self._package, _guarded_hooks(library.name, coverage))

    def wait(self) -> None:
        """Wait for the library, and for the instrumentor in case the program imports that itself."""
        self._deferred.wait()
        hooks = _guarded_hooks(self._library.name, self._coverage)
        for module in _MAKING_SPANS.get(self._library.name, ()):
            hooks(self._isolate, module)
        when_imported(self._module, self._coverage, self._imported, library=self._library.name)
        hooks(self._completed, self._package)

    def _isolate(self, module: ModuleType) -> None:
        from somatrace.instrumentation.llm import instrumentor_steps as steps  # with the first library

        steps.isolate_spans(self._library, module)

    def _imported(self, loaded: ModuleType) -> str | None:
        """Instrument the imported library. Returns its state for `status()`, None for "on"."""
        package = sys.modules.get(self._package)
        if package is not None and not hasattr(package, self._library.instrumentor):
            self._loaded = loaded  # the instrumentor imports it, and is itself not completely imported yet
            return WAITING
        if unsupported := _unsupported(self._library):
            if not self._library.traces_itself:
                self._coverage.problem(f"{self._library.name}: {unsupported}; its calls are not traced")
                return f"off: {unsupported}"
            return f"on (spans of its own: {unsupported})"
        if importlib.util.find_spec(self._package) is None:
            return f"off: needs `pip install {self._library.instrumentor_distribution}`"
        with _tolerated_warnings():
            return self._switch_on(loaded)

    def _completed(self, _: ModuleType) -> None:
        loaded, self._loaded = self._loaded, None
        if loaded is not None:
            with _tolerated_warnings():
                state = self._switch_on(loaded)
            self._coverage.set(self._library.name, state or ON)

    def _switch_on(self, loaded: ModuleType) -> str | None:
        from somatrace.instrumentation.llm import instrumentor_steps as steps  # with the first library

        instrumentor_class = getattr(importlib.import_module(self._package), self._library.instrumentor)
        accepted = inspect.signature(instrumentor_class.__init__).parameters
        instrumentor = instrumentor_class(
            **{name: value for name, value in _ARGUMENTS.items() if name in accepted}
        )
        state = None
        if self._library.name == "mcp":
            mcp_transports.write_nothing(self._package)
        if instrumentor.is_instrumented_by_opentelemetry:
            state = "on (switched on by the program)"
        else:
            _defer(self._package, self._library.name, self._coverage)
            isolation = steps.prepare(self._library, self._coverage)
            self._deferred.install()
            instrumentor.instrument(
                meter_provider=NoOpMeterProvider(), raise_exception_on_conflict=True, **isolation
            )
        self._capture.gate(self._package)
        silence_prints(self._package)
        hooks = _guarded_hooks(self._library.name, self._coverage)
        return steps.complete(self._library, loaded, hooks) or state


@contextmanager
def _tolerated_warnings() -> Iterator[None]:
    """Load an instrumentor, whose imports warn, also in a program that turns warnings into errors.

    Any other program keeps its filters, which belong to all of its threads.
    """
    if not any(action == "error" for action, *_ in warnings.filters):
        yield
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _unsupported(library: Library) -> str:
    """Which versions the instrumentor supports, if the installed one is not among them."""
    if library.unsupported is None:
        return ""
    distribution, first = library.unsupported
    from importlib import metadata

    try:
        major = metadata.version(distribution).partition(".")[0]
    except metadata.PackageNotFoundError:
        return ""
    if not major.isdecimal() or int(major) < first:
        return ""
    return f"{library.instrumentor_distribution} supports {distribution} below {first}"


def _defer(package: str, library: str, coverage: Coverage) -> None:
    """Keep failing import hooks of an instrumentor from failing the program's import."""
    import wrapt

    for _, module in modules_of(package):
        if getattr(module, "register_post_import_hook", None) is wrapt.register_post_import_hook:
            module.register_post_import_hook = _guarded_hooks(library, coverage)  # type: ignore[attr-defined]


def _guarded_hooks(library: str, coverage: Coverage) -> Callable[[Callable[[ModuleType], Any], str], None]:
    def register(hook: Callable[[ModuleType], Any], name: str) -> None:
        def run(module: ModuleType) -> None:
            try:
                hook(module)
            except Exception as error:
                coverage.failed(library, error)

        post_import.register(run, name)

    return register
