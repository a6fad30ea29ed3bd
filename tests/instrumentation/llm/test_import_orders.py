"""Libraries whose import is under way when that of the instrumented one ends."""

from __future__ import annotations

import pytest

from tests.support.llm_server import llm_server
from tests.support.otlp_server import otlp_server
from tests.support.programs import otlp_env, run_program


@pytest.mark.slow
@pytest.mark.parametrize(
    "statement",
    [
        "from langchain.agents import create_agent",
        "from langgraph.prebuilt import create_react_agent",
        "from langgraph.graph import StateGraph",
        "import langchain_openai",
    ],
)
def test_an_import_that_brings_langchain_core_in_its_middle_is_instrumented_without_a_word(statement: str):
    for package in ("langchain", "langgraph", "langchain_openai"):
        pytest.importorskip(package, reason="a framework above langchain-core")
    done = run_program(
        f"""
        import somatrace
        somatrace.init_tracing("service")
        {statement}
        print(somatrace.status().instruments["langchain"], somatrace.status().problems)
        """,
        {"SOMATRACE_TARGET": "none"},
    )

    assert (done.stdout, done.stderr) == ("on ()\n", "")


@pytest.mark.slow
def test_the_agents_of_such_an_import_make_spans():
    pytest.importorskip("langchain", reason="a framework above langchain-core")
    done = run_program(
        """
        import somatrace
        somatrace.init_tracing("service")
        from langchain.agents import create_agent
        from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
        from langchain_core.messages import AIMessage
        from somatrace.testing import capture
        model = GenericFakeChatModel(messages=iter([AIMessage("done")]))
        with capture() as seen:
            create_agent(model, tools=[]).invoke({"messages": [("user", "hello")]})
        print("create_agent" in " ".join(span.name for span in seen.spans))
        """,
        {"SOMATRACE_TARGET": "none"},
    )

    assert done.stdout == "True\n"


SLOW_IMPORT = """
import importlib.machinery, sys, threading, time
begun = threading.Event()
class Slow:
    # a thread of the program is in the middle of the import when tracing starts
    def find_spec(self, name, path, target=None):
        if name != SLOW: return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        run = spec.loader.exec_module
        def exec_module(module):
            begun.set()
            time.sleep(2)
            run(module)
        spec.loader.exec_module = exec_module
        return spec
sys.meta_path.insert(0, Slow())
def call():
    CALL
thread = threading.Thread(target=call)
thread.start()
assert begun.wait(60)
import somatrace
somatrace.init_tracing("service")
thread.join()
call()
somatrace.flush(60)
print(somatrace.status().problems)
"""
OPENAI = "from openai import OpenAI; OpenAI().chat.completions.create(model='m', messages=MESSAGES)"
ANTHROPIC = (
    "from anthropic import Anthropic; Anthropic().messages.create(model='m', max_tokens=5, messages=MESSAGES)"
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "call", "name"),
    [
        ("openai", OPENAI, "openai.chat"),
        ("openai.resources.chat.completions.completions", OPENAI, "openai.chat"),
        ("anthropic", ANTHROPIC, "anthropic.chat"),
    ],
)
def test_a_library_that_another_thread_is_importing_is_instrumented(module: str, call: str, name: str):
    pytest.importorskip(module.partition(".")[0], reason="the client")
    source = f"SLOW, MESSAGES = {module!r}, [dict(role='user', content='hi')]\n{SLOW_IMPORT}"
    with llm_server() as llm, otlp_server() as otlp:
        done = run_program(source.replace("CALL", call), {**otlp_env(otlp.url), **llm.env}, timeout=280)

        assert otlp.named(name)
    assert (done.stdout, done.stderr) == ("()\n", "")
