"""Calls through `with_raw_response` of asynchronous clients have tokens, and cause no warning."""

from __future__ import annotations

import json

import pytest

from tests.support.llm_server import llm_server
from tests.support.programs import run_program

PROGRAM = """
import asyncio, gc, json, sys, warnings
import anthropic
from somatrace import bind
from somatrace.testing import capture

warnings.simplefilter("error")
unraisable = []
sys.unraisablehook = lambda given: unraisable.append(str(given.exc_value))
MESSAGES = [{"role": "user", "content": "why"}]

async def call():
    async with anthropic.AsyncAnthropic() as client:
        raw = await client.messages.with_raw_response.create(model="m", max_tokens=9, messages=MESSAGES)
        parsed = raw.parse()
        await parsed if asyncio.iscoroutine(parsed) else parsed

with capture("test") as captured, bind(tenant_id="acme"):
    asyncio.run(call())
    gc.collect()
tokens = [span.attributes.get("gen_ai.usage.output_tokens") for span in captured.spans]
print(json.dumps({"unraisable": unraisable, "spans": len(tokens), "counted": sum(map(bool, tokens))}))
"""


@pytest.mark.slow
def test_a_raw_response_of_an_asynchronous_client_is_parsed_once_read() -> None:
    with llm_server() as server:
        printed = json.loads(run_program(PROGRAM, server.env).stdout)

    assert printed == {"unraisable": [], "spans": 1, "counted": 1}
