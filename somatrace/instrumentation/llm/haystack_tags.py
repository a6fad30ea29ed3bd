"""Isolate the spans that haystack makes by itself where a tracer provider is set before its import.

Their tags are what a pipeline gets, encoded with `to_dict` and `__repr__` of the program's objects, whose
exceptions would leave the pipeline.
"""

from __future__ import annotations

import functools
import sys
from types import ModuleType
from typing import Any, Final

from somatrace.instrumentation.llm.isolation.framework_values import copied
from somatrace.instrumentation.llm.isolation.noted_spans import log_fault
from somatrace.runtime.fail_safe import from_a_signal

_NAME: Final = "haystack"


def isolate_tags(module: ModuleType, packages: tuple[str, ...]) -> None:
    """Isolate haystack's tags in one of the two modules that make them, as it is imported."""
    if module.__name__ == "haystack.tracing.utils":
        _encode_copies(module, packages)
    else:
        _enable_quietly(module)


def _encode_copies(utils: ModuleType, packages: tuple[str, ...]) -> None:
    encode = utils.coerce_tag_value

    @functools.wraps(encode)
    def coerce_tag_value(value: Any) -> Any:
        try:
            return encode(copied(value, packages))
        except Exception as error:
            if from_a_signal(error):
                raise
            log_fault(_NAME, error)
            return ""

    utils.coerce_tag_value = coerce_tag_value  # type: ignore[attr-defined]


def _enable_quietly(module: ModuleType) -> None:
    """Keep haystack from warning about the end of a tracer that it has switched on by itself."""
    made = module.OpenTelemetryTracer.__init__

    @functools.wraps(made)
    def __init__(self: Any, tracer: Any) -> None:  # noqa: N807 - it replaces the method of this name
        if sys._getframe(1).f_globals.get("__name__") == "haystack.tracing.tracer":
            self._tracer = tracer
        else:
            made(self, tracer)

    module.OpenTelemetryTracer.__init__ = __init__
