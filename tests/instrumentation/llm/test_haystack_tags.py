"""Haystack's own spans never change the program: values stay unread, and nothing is printed.

haystack is not in the development lock: these tests run where it is installed.
"""

from __future__ import annotations

import pytest

from tests.support.programs import run_program

pytest.importorskip(
    "haystack.tracing.opentelemetry", reason="haystack 2 is not installed in this environment"
)

pytestmark = pytest.mark.slow

START = """
    import os
    os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"
    from somatrace import init_tracing
    from somatrace.config import Config
    from somatrace.testing import capture
    init_tracing("test", config=Config(target="none"))
    """


def test_importing_haystack_warns_of_nothing() -> None:
    done = run_program(START + "\n    import haystack", python_options=("-W", "error::FutureWarning"))

    assert done.stderr == ""


def test_a_pipeline_passes_values_that_nobody_can_read() -> None:
    source = """
    from haystack import Pipeline, component

    class Unreadable:
        def __repr__(self): raise RuntimeError("no repr")
        def to_dict(self): raise RuntimeError("no dict")

    @component
    class Passing:
        @component.output_types(out=Unreadable)
        def run(self, value: Unreadable):
            return {"out": value}

    pipeline = Pipeline()
    pipeline.add_component("passing", Passing())
    with capture() as seen:
        passed = pipeline.run({"passing": {"value": Unreadable()}})
    names = [span.name for span in seen.spans]
    print(type(passed["passing"]["out"]) is Unreadable, "haystack.pipeline.run" in names)
    """
    done = run_program(START + source)

    assert done.stdout == "True True\n"
