"""Record which spans of frameworks and of the clients below them have usage.

    python -m tests.instrumentation.llm.usage_recording [--environments DIRECTORY] [library ...]

Runs the cases of the leak matrix with the instrumentors of the library and of its client together, in the
environment of the library's lock, and writes `usage_recordings.json`.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import inspect
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

from somatrace.libraries import LIBRARIES as ROWS
from tests.leak_matrix.canary import Planted
from tests.leak_matrix.cases import CASES, provider
from tests.leak_matrix.provider import USAGE, Provider
from tests.leak_matrix.rows import RECORDED

Json = dict[str, Any]
FILE: Final = Path(__file__).with_name("usage_recordings.json")
#: The libraries with spans of their own above or beside those of a client.
LIBRARIES: Final = (
    "crewai",
    "genai_google",
    "genai_openai",
    "haystack",
    "llama_index",
    "openai_agents",
    "openinference_langchain",
    "openinference_openai",
    "pydantic_ai",
)
#: The clients below them, as rows of the registry.
CLIENTS: Final = ("openai", "google.genai", "langchain")
_KEPT: Final = (
    "gen_ai.operation.name",
    "gen_ai.request.model",
    "gen_ai.response.id",
    "gen_ai.response.model",
    "llm.model_name",
    "openinference.span.kind",
)
_PREFIXES: Final = ("gen_ai.usage.", "gen_ai.aggregated_usage.", "llm.usage.", "llm.token_count.")


def read() -> Json:
    recordings: Json = json.loads(FILE.read_text())
    return recordings


def main() -> None:
    from tests.leak_matrix.record import _environment, _quiet

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("libraries", nargs="*", metavar="library")
    parser.add_argument("--environments", type=Path, help="where the environments are made and kept")
    options = parser.parse_args()
    recordings = read() if FILE.exists() else {}
    with tempfile.TemporaryDirectory() as scratch:
        environments = (options.environments or Path(scratch)).absolute()
        for library in options.libraries or LIBRARIES:
            python = _environment(RECORDED[library], environments)
            file = Path(scratch) / "recording.json"
            command = [python, "-m", "tests.instrumentation.llm.usage_recording", "--capture", library, file]
            root = str(Path(__file__).resolve().parents[3])
            subprocess.run(
                command, env={**_quiet(), "PYTHONPATH": root, "HOME": scratch}, cwd=root, check=True
            )
            recordings[library] = json.loads(file.read_text())
    lines = ",\n".join(
        f"{json.dumps(library)}: {{\n"
        + ",\n".join(f"{json.dumps(name)}: {json.dumps(case)}" for name, case in recordings[library].items())
        + "\n}"
        for library in sorted(recordings)
    )
    FILE.write_text(f"{{\n{lines}\n}}\n")


class Recorder(SpanProcessor):
    """The starts and ends of the spans of one case."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.steps: list[Json] = []
        self.places: dict[int, int] = {}
        self.times: list[int] = []

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        parent = self.places.get(span.parent.span_id) if span.parent else None
        place = self.places[span.context.span_id] = len(self.places)
        step = {"start": place, "parent": parent, "scope": span.instrumentation_scope.name}
        began = sum(moment <= span.start_time for moment in self.times)
        if began < len(self.steps):  # the instrumentor has given it an earlier start
            step["began"] = began
        self._add(step)

    def on_end(self, span: Any) -> None:
        place = self.places.get(span.context.span_id)
        attributes = {k: v for k, v in span.attributes.items() if k in _KEPT or k.startswith(_PREFIXES)}
        if place is not None:
            self._add({"end": place, "name": span.name, "attributes": attributes})

    def _add(self, step: Json) -> None:
        self.steps.append(step)
        self.times.append(time.time_ns())


def capture(library: str, file: Path) -> None:
    """Run the cases of one library in this process."""
    recorder = Recorder()
    tracers = TracerProvider()
    tracers.add_span_processor(recorder)
    trace.set_tracer_provider(tracers)
    module = importlib.import_module(f"tests.leak_matrix.recorded.{library}")
    wanted = {*getattr(module, "REGISTERED", ()), *CLIENTS}
    for row in ROWS:
        if row.name in wanted and row.modules[0] in sys.modules:
            getattr(importlib.import_module(row.instrumentor_module), row.instrumentor)().instrument()
    getattr(module, "instrument", lambda: None)()
    billed = _count_answers()
    cases = {}
    for name, function in CASES.items():
        provider.say = Planted("recording", name, {})
        recorder.clear()
        billed.clear()
        result = function(provider.say)
        if inspect.iscoroutine(result):
            asyncio.run(result)
        if billed:
            tokens = sum(11 if "embeddings" in path else USAGE["total_tokens"] for path in billed)
            cases[name] = {"requests": len(billed), "tokens": tokens, "steps": recorder.steps}
    file.write_text(json.dumps(cases))


def _count_answers() -> list[str]:
    """A list to which the path of each answered request is added."""
    billed: list[str] = []

    def counted(method: Any) -> Any:
        def answer(self: Provider, path: str, body: Json) -> Any:
            billed.append(path)
            return method(self, path, body)

        return answer

    for name in ("answer", "events"):
        setattr(Provider, name, counted(getattr(Provider, name)))
    return billed


if __name__ == "__main__":
    if sys.argv[1:2] == ["--capture"]:
        capture(sys.argv[2], Path(sys.argv[3]))
    else:
        main()
