"""The ledger has what the server of the models has served, through real clients, whatever was sampled."""

from __future__ import annotations

import textwrap

import pytest

from somatrace import Config
from somatrace.costs import cost_report
from tests.support.llm_server import INPUT_TOKENS, OUTPUT_TOKENS, llm_server
from tests.support.programs import run_program

CLIENTS = {
    "openai": """
        import openai
        with openai.OpenAI(max_retries=0) as client:
            for _ in range(3):
                client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES)
            for _ in client.chat.completions.create(
                model="gpt-4o-mini", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
            ):
                pass
            try:
                client.chat.completions.create(model="fail-500", messages=MESSAGES)
            except openai.InternalServerError:
                pass
        """,
    "async openai": """
        import asyncio, openai
        async def main():
            async with openai.AsyncOpenAI(max_retries=0) as client:
                ask = client.chat.completions.create
                await asyncio.gather(*[ask(model="gpt-4o-mini", messages=MESSAGES) for _ in range(4)])
                try:
                    await client.chat.completions.create(model="fail-500", messages=MESSAGES)
                except openai.InternalServerError:
                    pass
        asyncio.run(main())
        """,
    "anthropic": """
        import anthropic
        with anthropic.Anthropic(max_retries=0) as client:
            for _ in range(4):
                client.messages.create(model="claude-sonnet-4-5", max_tokens=9, messages=MESSAGES)
            try:
                client.messages.create(model="fail-500", max_tokens=9, messages=MESSAGES)
            except anthropic.InternalServerError:
                pass
        """,
    "langchain above openai": """
        import openai
        from langchain_openai import ChatOpenAI
        for _ in range(4):
            ChatOpenAI(model="gpt-4o-mini", max_retries=0).invoke("hello")
        try:
            ChatOpenAI(model="fail-500", max_retries=0).invoke("hello")
        except openai.InternalServerError:
            pass
        """,
}
START = """
from somatrace import *
init_tracing("svc")
MESSAGES = [{"role": "user", "content": "hello"}]
"""


@pytest.mark.slow
@pytest.mark.parametrize("rate", ["0", "1"])
@pytest.mark.parametrize("client", CLIENTS)
def test_each_served_request_is_in_the_ledger_once(tmp_path, client, rate):
    with llm_server() as server:
        lines = textwrap.indent(textwrap.dedent(CLIENTS[client]), "    ")
        source = f"{START}with bind(tenant_id='acme'):{lines}\nassert flush(60)\n"
        env = {"SOMATRACE_DATA_DIR": str(tmp_path), "SOMATRACE_COST_LEDGER": "true"}
        run_program(source, {**env, **server.env, "SOMATRACE_TARGET": "local", "SOMATRACE_SAMPLE_RATE": rate})

    report = cost_report("tenant", "1d", source="ledger", config=Config(data_dir=str(tmp_path)))

    [row] = report.rows
    assert row.labels == ("acme",)
    assert (row.calls, row.errors) == (len(server.paths), 1) == (5, 1)
    assert (row.input_tokens, row.output_tokens) == (4 * INPUT_TOKENS, 4 * OUTPUT_TOKENS)
    assert row.unknown == 0
    assert row.cost > 0
