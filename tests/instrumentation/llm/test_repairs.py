"""Side effects of libraries and instrumentors are repaired, and the host program stays unchanged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from somatrace.instrumentation.function_bodies import replace_body
from tests.support.gateways import gateway
from tests.support.llm_server import llm_server
from tests.support.otlp_server import otlp_server
from tests.support.programs import otlp_env, run_program

#: Host state that tracing must not touch, before and after the work.
HOST = """
    import asyncio, gc, json, logging, os, random, signal, sys, threading, warnings

    def state():
        return {
            "random": hash(random.getstate()[1]),
            "root handlers": [repr(handler) for handler in logging.getLogger().handlers],
            "root level": logging.getLogger().level,
            "disabled": logging.root.manager.disable,
            "record": repr(type(logging.getLogRecordFactory()("host", 20, "host.py", 1, "said", (), None))),
            "log class": repr(logging.getLoggerClass()),
            "warnings": [repr(entry) for entry in warnings.filters],
            "signals": {str(number): repr(signal.getsignal(number)) for number in signal.valid_signals()},
            "environment": dict(os.environ),
            "streams": [sys.stdout is sys.__stdout__, sys.stderr is sys.__stderr__],
            "hooks": [
                sys.excepthook is sys.__excepthook__,
                sys.unraisablehook is sys.__unraisablehook__,
                threading.excepthook is threading.__excepthook__,
                sys.displayhook is sys.__displayhook__,
            ],
            "trace": [repr(sys.gettrace()), repr(sys.getprofile())],
            "limits": [sys.getrecursionlimit(), sys.getswitchinterval(), gc.isenabled(), gc.get_threshold()],
            "directory": os.getcwd(),
            "umask": os.umask(0o22),
        }

    random.seed(7)
    seen = [state()]
    if os.environ["TRACED"] == "yes":
        import somatrace
        somatrace.init_tracing("host")
    seen.append(state())
    import openai, anthropic
    seen.append(state())
    user = [{"role": "user", "content": "hello"}]
    answers = [
        openai.OpenAI(max_retries=0).chat.completions.create(model="m", messages=user).to_dict(),
        anthropic.Anthropic(max_retries=0).messages.create(model="m", max_tokens=5, messages=user).to_dict(),
    ]
    try:
        openai.OpenAI(max_retries=0).chat.completions.create(model="fail-400", messages=user)
    except openai.BadRequestError as error:
        answers.append(str(error))
    try:
        loop = asyncio.get_event_loop_policy().get_event_loop()
        answers.append(type(loop).__name__)
        loop.close()
    except RuntimeError as error:
        answers.append(str(error))
    if os.environ["TRACED"] == "yes":
        somatrace.flush(60)
    seen.append(state())
    answers.append([random.randrange(1000) for _ in range(3)])
    print(json.dumps({"seen": seen, "answers": answers}))
    """


@pytest.mark.slow
@pytest.mark.usefixtures("unmeasured")
def test_the_host_is_the_same_with_and_without_tracing(tmp_path: Path) -> None:
    with llm_server() as llm, otlp_server() as otlp:
        env = otlp_env(otlp.url, PYTHONHASHSEED="0", SOMATRACE_DATA_DIR=str(tmp_path), **llm.env)
        plain = run_program(HOST, {**env, "TRACED": "no"})
        traced = run_program(HOST, {**env, "TRACED": "yes"})

        assert len(otlp.spans) == 3
    assert (traced.stderr, plain.stderr) == ("", "")
    with_tracing, without = json.loads(traced.stdout), json.loads(plain.stdout)
    for step, (ours, theirs) in enumerate(zip(with_tracing["seen"], without["seen"], strict=True)):
        for name in theirs:
            if name != "environment":
                assert ours[name] == theirs[name], f"{name} differs in step {step}"
        assert {**ours["environment"], "TRACED": "no"} == theirs["environment"]
    assert with_tracing["answers"] == without["answers"]


@pytest.mark.slow
def test_native_anthropic_spans_are_off_unless_the_client_has_its_own_provider() -> None:
    source = """
        import somatrace
        from somatrace import init_tracing
        init_tracing("svc")
        import anthropic
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
        own, seen = TracerProvider(), InMemorySpanExporter()
        own.add_span_processor(SimpleSpanProcessor(seen))
        ours = {"tracer_provider": trace.get_tracer_provider()}
        for option in (None, {}, {"traces": {"enabled": True}}, ours, {"tracer_provider": own}):
            client = anthropic.Anthropic(max_retries=0, open_telemetry=option)
            client.messages.create(model="m", max_tokens=5, messages=[{"role": "user", "content": "x"}])
        print([span.name for span in seen.get_finished_spans()])
        """
    with llm_server() as llm, otlp_server() as otlp:
        done = run_program(source, otlp_env(otlp.url, **llm.env))

        assert [span.name for span in otlp.spans] == ["anthropic.chat"] * 5
        assert done.stdout == "['anthropic.messages.create']\n"


@pytest.mark.slow
def test_native_mistralai_spans_are_off_for_calls_that_the_instrumentor_traces() -> None:
    pytest.importorskip("mistralai._hooks.tracing", reason="mistralai 1.10 to 1.x makes spans of its own")
    source = """
        import os
        from somatrace import init_tracing
        init_tracing("svc")
        from mistralai import Mistral
        client = Mistral(api_key="k", server_url=os.environ["GATEWAY"])
        user = [{"role": "user", "content": "x"}]
        for _ in client.chat.stream(model="plain", messages=user): pass
        given_up = client.chat.stream(model="plain", messages=user)
        next(iter(given_up))
        given_up.response.close()
        print(type(given_up.response).__name__)
        del given_up
        try: client.agents.complete(agent_id="a", messages=user)
        except Exception: pass
        """
    with gateway() as url, otlp_server() as otlp:
        done = run_program(source, otlp_env(otlp.url, GATEWAY=url))

        scopes = sorted(span.scope for span in otlp.spans)
        assert done.stdout == "Response\n"
        assert "Calling end() on an ended span" not in done.stderr
        assert scopes == ["mistralai_sdk_tracer", *["opentelemetry.instrumentation.mistralai"] * 2]


def test_a_replaced_body_reaches_functions_imported_by_name_in_that_package_only(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "__init__.py").write_text("from lib.utils import ask\n")
    (tmp_path / "lib" / "utils.py").write_text("def ask():\n    return 'theirs'\n")
    (tmp_path / "libother.py").write_text("def ask():\n    return 'theirs'\n")

    done = run_program(
        """
        import lib, libother
        from lib import ask
        from somatrace.instrumentation.function_bodies import replace_body
        def ours():
            return "ours"
        replace_body("lib", ("ask",), ours)
        print(ask(), lib.ask(), lib.utils.ask(), libother.ask())
        """,
        {"PYTHONPATH": str(tmp_path)},
    )

    assert done.stdout == "ours ours ours theirs\n"


def test_a_package_that_is_not_loaded_is_ignored() -> None:
    replace_body("no.such.package", ("ask",), print)
