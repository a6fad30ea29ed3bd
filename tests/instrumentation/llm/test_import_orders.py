"""Libraries whose import is under way when that of the instrumented one ends."""

from __future__ import annotations

import pytest

from tests.support.programs import run_program


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
