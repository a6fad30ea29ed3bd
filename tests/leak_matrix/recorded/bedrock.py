"""boto3's client of Bedrock, with a stub endpoint: conversations, invocations, streams, tools, errors."""

from __future__ import annotations

import json
from typing import Any

import boto3
from botocore.config import Config

from tests.leak_matrix.canary import Planted
from tests.leak_matrix.cases import case, failing, provider

RELEASES = ("boto3", "opentelemetry-instrumentation-bedrock")
REGISTERED = ("bedrock",)
MODEL = "anthropic.claude-sonnet-4-5"


def client() -> Any:
    config = Config(retries={"max_attempts": 0})
    return boto3.client(
        "bedrock-runtime",
        endpoint_url=provider.url,
        region_name="eu-west-1",
        aws_access_key_id="none",
        aws_secret_access_key="none",
        config=config,
    )


def asked(c: Planted, model: str = MODEL) -> dict[str, Any]:
    messages = [{"role": "user", "content": [{"text": c("prompt")}]}]
    return {"modelId": model, "system": [{"text": c("system")}], "messages": messages}


@case("system", "prompt", "answer")
def conversation(c: Planted) -> None:
    client().converse(
        **asked(c),
        inferenceConfig={"stopSequences": [c("stop")]},
        requestMetadata={"note": c.word("metadata")},
    )


@case("prompt", "answer")
def stream(c: Planted) -> None:
    for _ in client().converse_stream(**asked(c))["stream"]:
        pass


@case("prompt", "answer")
def invocation(c: Planted) -> None:
    messages = [{"role": "user", "content": [{"type": "text", "text": c("prompt")}]}]
    body = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 5, "system": c("system")}
    client().invoke_model(modelId=MODEL, body=json.dumps({**body, "messages": messages}))["body"].read()


@case("prompt", "arguments")
def tools(c: Planted) -> None:
    schema = {"type": "object", "properties": {"query": {"type": "string"}}}
    tool = {"name": "search", "description": c("description"), "inputSchema": {"json": schema}}
    request: Any = {**asked(c), "toolConfig": {"tools": [{"toolSpec": tool}]}}
    first = client().converse(**request)
    result = {"toolUseId": "tool_1", "content": [{"text": c("result")}]}
    request["messages"] += [
        first["output"]["message"],
        {"role": "user", "content": [{"toolResult": result}]},
    ]
    client().converse(**request)


@case()
def errors_that_echo(c: Planted) -> None:
    for status in (400, 403):
        with failing():
            client().converse(**asked(c, f"fail-{status}"))
        with failing():
            client().invoke_model(modelId=f"fail-{status}", body=json.dumps({"prompt": c("prompt")}))
