"""A parameter that a client's sentinel says is omitted is no attribute, no removed value and no warning."""

from __future__ import annotations

import pytest

from tests.support.llm_server import llm_server
from tests.support.programs import run_program

# the part that gives instrumentors the parameters of a call without the omitted ones
pytest.importorskip("somatrace.instrumentation.llm.isolation")

PROGRAM = """
import logging, sys
import anthropic, openai
from somatrace import bind
from somatrace.testing import capture

logging.basicConfig(level=logging.WARNING, stream=sys.stdout)
MESSAGES = [{"role": "user", "content": "why"}]
CHAT = ("temperature", "top_p", "max_tokens", "stop", "tools", "user", "presence_penalty", "seed", "stream")
RESPONSES = ("instructions", "temperature", "tools", "max_output_tokens", "top_p")
EMBEDDINGS = ("dimensions", "encoding_format", "user")
MESSAGE = ("system", "tools", "stop_sequences", "metadata", "stream")

with capture("test") as captured, bind(tenant_id="acme"):
    for name in ("NOT_GIVEN", "omit"):
        client, omitted = openai.OpenAI(), getattr(openai, name, openai.NOT_GIVEN)
        client.chat.completions.create(model="m", messages=MESSAGES, **dict.fromkeys(CHAT, omitted))
        client.responses.create(model="m", input="why", **dict.fromkeys(RESPONSES, omitted))
        client.embeddings.create(model="m", input="why", **dict.fromkeys(EMBEDDINGS, omitted))
        client, omitted = anthropic.Anthropic(), getattr(anthropic, name, anthropic.NOT_GIVEN)
        client.messages.create(model="m", max_tokens=9, messages=MESSAGES, **dict.fromkeys(MESSAGE, omitted))

for span in captured.spans:
    removed = span.attributes.get("somatrace.guard.removed", "")
    assert "gen_ai.request" not in removed and "gen_ai.user" not in removed, removed
print(len(captured.spans))
"""


@pytest.mark.slow
def test_omitted_parameters_leave_no_trace() -> None:
    with llm_server() as server:
        assert run_program(PROGRAM, server.env).stdout == "8\n"
