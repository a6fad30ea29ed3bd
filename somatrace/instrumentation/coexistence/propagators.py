"""Hold what other instrumentations inject and extract to somatrace's rules.

They send the trace and the program's baggage to any host and accept both from any caller. Below most of them
there is no place to correct that, so it is done in the propagators. What the program's own code injects or
extracts is its own decision.
"""

from __future__ import annotations

import functools
import logging
import sys
from types import ModuleType
from typing import Any, Final

from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.textmap import TextMapPropagator, default_getter, default_setter
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from somatrace import propagation
from somatrace.instrumentation.call_context import in_llm_call
from somatrace.instrumentation.coverage import Coverage
from somatrace.instrumentation.import_hooks import when_imported
from somatrace.libraries import LIBRARIES
from somatrace.runtime.calling_code import Packages, nearest_module

log = logging.getLogger("somatrace")

#: Packages that inject and extract for the program, beside those of the registry.
_INSTRUMENTATIONS: Final = Packages(
    "opentelemetry.instrumentation",
    "openinference.instrumentation",
    "azure", "fastmcp", "langfuse", "langsmith", "logfire", "openlit", "pydantic_ai", "smolagents",
    "strands", "traceloop",
    *(name.rstrip("*") for library in LIBRARIES for name in library.import_names),
)  # fmt: skip
#: Tasks of Celery: its broker is trusted in both directions (`propagation/messages.py`).
_CELERY: Final = "opentelemetry.instrumentation.celery"
_MAY_EXTRACT: Final = Packages(_CELERY)
#: Also SQL comments, which are off until the program asks for them and hold no baggage.
_MAY_INJECT: Final = Packages(
    _CELERY,
    "opentelemetry.instrumentation.django.middleware.sqlcommenter_middleware",
    "opentelemetry.instrumentation.utils",
    "somatrace",
)
#: Code between the caller and the propagator.
_BETWEEN: Final = Packages(
    __name__,
    "opentelemetry.baggage.propagation",
    "opentelemetry.propagate",
    "opentelemetry.propagators",
    "opentelemetry.trace.propagation",
)
#: The botocore instrumentation uses it whatever the global propagator is.
_AWS: Final = "opentelemetry.propagators.aws.aws_xray_propagator"


def install(coverage: Coverage) -> None:
    """Guard OpenTelemetry's own propagators, and each one that becomes the global propagator."""
    for propagator in (TraceContextTextMapPropagator, W3CBaggagePropagator, CompositePropagator):
        guard(propagator)
    when_imported("opentelemetry.propagate", coverage, _watch, library="propagators")
    when_imported(_AWS, coverage, lambda module: guard(module.AwsXRayPropagator), library="aws propagator")


def guard(propagator: type) -> None:
    """Wrap `inject` and `extract` where the class, or the one that it inherits them from, defines them."""
    if not issubclass(propagator, TextMapPropagator) or "_somatrace_guarded" in vars(propagator):
        return
    for name, wrap in (("inject", _injecting), ("extract", _extracting)):
        owner = next((each for each in propagator.__mro__ if name in vars(each)), TextMapPropagator)
        method = vars(owner).get(name)
        if owner is not TextMapPropagator and not hasattr(method, "_somatrace_guard"):
            setattr(owner, name, wrap(method))
    propagator._somatrace_guarded = True  # type: ignore[attr-defined]


def _watch(propagate: ModuleType) -> None:
    """Guard the global propagator when it is used: the program may set its own at any time."""
    get = propagate.get_global_textmap

    @functools.wraps(get)
    def get_global_textmap() -> TextMapPropagator:
        propagator: TextMapPropagator = get()
        try:
            guard(type(propagator))
        except Exception:
            log.debug("a propagator is not guarded", exc_info=True)
        return propagator

    get_global_textmap()
    propagate.get_global_textmap = get_global_textmap  # type: ignore[attr-defined]


def _injecting(method: Any) -> Any:
    @functools.wraps(method)
    def inject(self: Any, carrier: Any, context: Context | None = None, setter: Any = default_setter) -> None:
        if _inside_composite() or not _withheld():
            method(self, carrier, context, setter)

    inject._somatrace_guard = True  # type: ignore[attr-defined]
    return inject


def _extracting(method: Any) -> Any:
    @functools.wraps(method)
    def extract(
        self: Any, carrier: Any, context: Context | None = None, getter: Any = default_getter
    ) -> Context:
        extracted: Context = method(self, carrier, context, getter)
        caller = nearest_module(_BETWEEN)
        if _inside_composite() or caller not in _INSTRUMENTATIONS or caller in _MAY_EXTRACT:
            return extracted
        around: Context = method(self, {}, context, default_getter)
        try:
            return propagation.accepted(extracted, around, *_request(carrier, getter))
        except Exception:
            log.debug("a caller's trace is not joined", exc_info=True)
            return around

    extract._somatrace_guard = True  # type: ignore[attr-defined]
    return extract


def _withheld() -> bool:
    """Whether nothing is written: for an instrumentation, and in a model call for the program as well."""
    try:
        caller = nearest_module(_BETWEEN)
        return caller not in _MAY_INJECT and (caller in _INSTRUMENTATIONS or in_llm_call())
    except Exception:
        log.debug("a trace is not passed on", exc_info=True)
        return True


def _request(carrier: Any, getter: Any) -> tuple[object, object]:
    """The caller's headers and address. Only the requests of ASGI and WSGI servers hold an address.

    The keys of a carrier show nothing: whoever fills in a message's headers or body writes what he likes.
    """
    if type(carrier) is dict:
        if _is_read_by(getter, "opentelemetry.instrumentation.asgi", "ASGIGetter"):
            return carrier.get("headers", ()), carrier.get("client")
        if _is_read_by(getter, "opentelemetry.instrumentation.wsgi", "WSGIGetter") and _is_environ(carrier):
            headers = [
                (name.removeprefix("HTTP_").replace("_", "-"), value)
                for name, value in carrier.items()
                if isinstance(name, str) and name.startswith("HTTP_")
            ]
            return headers, carrier.get("REMOTE_ADDR")
    return [(name, getter.get(carrier, name)) for name in propagation.SIGNED], None


def _is_read_by(getter: object, module: str, name: str) -> bool:
    """Whether `getter` is the one with which the instrumentation of a server reads its requests."""
    return type(getter) is getattr(sys.modules.get(module), name, None)


def _is_environ(carrier: dict[str, Any]) -> bool:
    """Whether the server's own streams are in it, which no message can hold."""
    return callable(getattr(carrier.get("wsgi.input"), "read", None)) and callable(
        getattr(carrier.get("wsgi.errors"), "write", None)
    )


def _inside_composite() -> bool:
    """Whether the propagator is part of a composite one, which is guarded as a whole."""
    return sys._getframe(2).f_globals.get("__name__") == CompositePropagator.__module__
