"""A pytest plugin: the SDK's own tests get our provider and our spans in place of the SDK's."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from opentelemetry.sdk import trace

from ci.sdk_tests.exceptions import EXCEPTIONS
from ci.sdk_tests.provider import SdkArguments, close_pipelines
from somatrace.pipeline.recording_span import RecordingSpan

_reload = importlib.reload


class _TraceModule(ModuleType):
    """The module `opentelemetry.sdk.trace` as the tests see it.

    A test that makes a span without a tracer makes one of ours. In the module itself that name is what
    the SDK's tracer uses, and stays.
    """

    def __init__(self, span: type[trace.Span]) -> None:
        super().__init__(trace.__name__)
        self._Span = span

    def __getattr__(self, name: str) -> Any:
        return getattr(trace, name)


def _reload_others(module: ModuleType) -> ModuleType:
    """`importlib.reload`, except for the SDK's module: it would get its own provider back."""
    return module if module.__name__ == trace.__name__ else _reload(module)


trace.TracerProvider = SdkArguments  # type: ignore[misc]
importlib.reload = _reload_others
_SEEN_BY_TESTS = _TraceModule(RecordingSpan)  # only a tracer makes lean spans


@pytest.hookimpl(tryfirst=True)  # before tests are deselected
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each module of tests our spans, and mark the exceptions."""
    found = set()
    for item in items:
        module: Any = getattr(item, "module", None)
        if getattr(module, "trace", None) is trace:
            module.trace = _SEEN_BY_TESTS
        name = "::".join(item.nodeid.split("::")[1:]).partition("[")[0]
        if name in EXCEPTIONS:
            found.add(name)
            item.add_marker(pytest.mark.xfail(reason=EXCEPTIONS[name], strict=True))
    if missing := EXCEPTIONS.keys() - found:
        raise pytest.UsageError(f"no test is named {', '.join(sorted(missing))}")


@pytest.fixture(autouse=True)
def _closed_pipelines() -> Iterator[None]:
    """No thread of a provider outlives its test."""
    yield
    close_pipelines()
