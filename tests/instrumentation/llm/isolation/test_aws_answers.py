"""Bodies and event streams of AWS's clients under tracing equal the clients' own; their spans have tokens."""

from __future__ import annotations

import importlib.util
import json

import pytest

from tests.instrumentation.llm.isolation.answers import assert_same_answers
from tests.support.aws_server import aws_server
from tests.support.programs import run_program

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

GIVEN = """
AWS = dict(endpoint_url=os.environ["AWS"], region_name="us-east-1",
           aws_access_key_id="a", aws_secret_access_key="b")
body = json.dumps({"messages": MESSAGES, "max_tokens": 5})
invocation = dict(modelId="anthropic.claude-3", body=body)
conversation = dict(modelId="anthropic.claude-3", messages=[{"role": "user", "content": [{"text": "hi"}]}])
endpoint = dict(EndpointName="e", Body=json.dumps({"inputs": "hi"}))
fields = {"keys": lambda r: sorted(r), "status": lambda r: r["ResponseMetadata"]["HTTPStatusCode"]}
PASSIVE.remove(pickled)
"""
BOTO3 = """
import boto3
models, endpoints = boto3.client("bedrock-runtime", **AWS), boto3.client("sagemaker-runtime", **AWS)
def loaded(b):
    with b as f: return json.load(f)
def into(b):
    buffer = bytearray(9)
    return [b.readinto(buffer), bytes(buffer)]
reading = {
    "load": loaded, "json": lambda b: json.load(b), "read": lambda b: b.read(), "read 5": lambda b: b.read(5),
    "read 0": lambda b: b.read(0), "into": into, "lines": lambda b: list(b.iter_lines(4)),
    "chunks": lambda b: list(b.iter_chunks(8)),
    "readlines": lambda b: b.readlines(), "tell": lambda b: b.tell(),
    "readable": lambda b: b.readable(), "raw": lambda b: b._raw_stream.headers["content-type"],
    "timeout": lambda b: b.set_socket_timeout(3), "text": lambda b: next(io.TextIOWrapper(b)),
}
events = {"initial": lambda s: s.get_initial_response().headers, "again": lambda s: [list(s), list(s)]}
drive("body", lambda: models.invoke_model(**invocation)["body"], reading, 60)
drive("body of an endpoint", lambda: endpoints.invoke_endpoint(**endpoint)["Body"], reading, 60)
drive("answer", lambda: models.invoke_model(**invocation), {
      **fields, "twice": lambda r: [r["body"].read(), r["body"].read()]}, 6)
drive("answer of an endpoint", lambda: endpoints.invoke_endpoint(**endpoint), {
      **fields, "twice": lambda r: [r["Body"].read(), r["Body"].read()]}, 6)
drive("conversation", lambda: models.converse(**conversation), {
      **fields, "text": lambda r: r["output"]["message"]["content"]}, 6)
drive("stream", lambda: models.invoke_model_with_response_stream(**invocation)["body"], events, 20)
drive("streamed conversation", lambda: models.converse_stream(**conversation)["stream"], events, 20)
drive("streamed endpoint",
      lambda: endpoints.invoke_endpoint_with_response_stream(**endpoint)["Body"], events, 20)
drive("answer with a stream", lambda: models.converse_stream(**conversation), fields, 4)
"""
AIOBOTOCORE = """
from aiobotocore.session import get_session
async def loaded(b):
    async with b as f: return json.loads(await f.read())
async def into(b):
    buffer = bytearray(9)
    return [await b.readinto(buffer), bytes(buffer)]
async def every(items): return [item async for item in items]
reading = {
    "load": loaded, "read": lambda b: b.read(), "read 5": lambda b: b.read(5), "read 0": lambda b: b.read(0),
    "into": into, "lines": lambda b: every(b.iter_lines(4)), "chunks": lambda b: every(b.iter_chunks(8)),
    "readlines": lambda b: b.readlines(), "tell": lambda b: b.tell(), "readable": lambda b: b.readable(),
    "with": lambda b: b.__enter__(), "iter": lambda b: iter(b),
}
async def initial(s): return (await s.get_initial_response()).headers
async def again(s): return [await every(s), await every(s)]
events = {"initial": initial, "again": again}
AREADING.pop("anext")  # of an event stream, it is a generator
async def main():
    async with get_session().create_client("bedrock-runtime", **AWS) as models:
        note("client", "kinds", [inspect.iscoroutinefunction(models.converse),
                                 inspect.iscoroutinefunction(models.invoke_model)], None)
        async def invoked(): return (await models.invoke_model(**invocation))["body"]
        async def streamed(): return (await models.invoke_model_with_response_stream(**invocation))["body"]
        async def conversed(): return (await models.converse_stream(**conversation))["stream"]
        async def twice(r): return [await r["body"].read(), await r["body"].read()]
        await adrive("body", invoked, reading, 30)
        await adrive("answer", lambda: models.invoke_model(**invocation), {**fields, "twice": twice}, 6)
        await adrive("conversation", lambda: models.converse(**conversation), fields, 6)
        await adrive("stream", streamed, events, 20)
        await adrive("streamed conversation", conversed, events, 20)
"""


def installed(module: str) -> None:
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed in this environment")
    if importlib.util.find_spec("opentelemetry.instrumentation.bedrock") is None:
        pytest.skip("the instrumentor of bedrock is not installed in this environment")


@pytest.mark.parametrize(("module", "source"), [("boto3", BOTO3), ("aiobotocore", AIOBOTOCORE)])
def test_every_way_of_using_an_answer_gives_the_same(module: str, source: str) -> None:
    installed(module)
    with aws_server() as url:
        assert_same_answers(GIVEN + source, {"AWS": url})


TOKENS = """
import asyncio, json, os, sys
{first}
from somatrace.testing import capture
AWS = dict(endpoint_url=os.environ["AWS"], region_name="us-east-1",
           aws_access_key_id="a", aws_secret_access_key="b")
invocation = dict(modelId="anthropic.claude-3", body=json.dumps({{"messages": [], "max_tokens": 5}}))
messages = [{{"role": "user", "content": [{{"text": "hi"}}]}}]
conversation = dict(modelId="anthropic.claude-3", messages=messages)
with capture() as seen:
{calls}
from somatrace import status
found = [dict(span.attributes) for span in seen.spans if "gen_ai.request.model" in span.attributes]
print(json.dumps({{
    "tokens": [[f.get("gen_ai.usage.input_tokens"), f.get("gen_ai.usage.output_tokens")] for f in found],
    "streamed": ["langfuse.observation.completion_start_time" in f for f in found],
    "state": status().instruments["bedrock"], "aiobotocore": "aiobotocore" in sys.modules,
    "problems": status().problems,
}}))
"""
BOTO3_CALLS = """
    import boto3
    models = boto3.client("bedrock-runtime", **AWS)
    models.invoke_model(**invocation)["body"].read()
    models.converse(**conversation)
    list(models.invoke_model_with_response_stream(**invocation)["body"])
    list(models.converse_stream(**conversation)["stream"])
"""
BOTOCORE_CALLS = BOTO3_CALLS.replace("import boto3", "from botocore.session import get_session").replace(
    "boto3.client(", "get_session().create_client(service_name="
)
AIOBOTOCORE_CALLS = """
    async def main():
        from aiobotocore.session import get_session
        async with get_session().create_client("bedrock-runtime", **AWS) as models:
            await (await models.invoke_model(**invocation))["body"].read()
            await models.converse(**conversation)
            assert [e async for e in (await models.invoke_model_with_response_stream(**invocation))["body"]]
            assert [e async for e in (await models.converse_stream(**conversation))["stream"]]
    asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("module", "calls"),
    [("boto3", BOTO3_CALLS), ("boto3", BOTOCORE_CALLS), ("aiobotocore", AIOBOTOCORE_CALLS)],
    ids=["boto3", "botocore", "aiobotocore"],
)
@pytest.mark.parametrize("first", ["", "aiobotocore.session", "botocore.client"])
def test_each_call_of_a_model_is_one_span_with_its_tokens(module: str, calls: str, first: str) -> None:
    installed(module)
    if first.partition(".")[0] == "aiobotocore" != module:
        pytest.skip("the same as without")
    start = f"import somatrace\nsomatrace.init_tracing('svc')\nimport {first}" if first else ""
    with aws_server() as url:
        done = run_program(TOKENS.format(first=start, calls=calls), {"AWS": url, "SOMATRACE_TARGET": "none"})
    output = json.loads(done.stdout.splitlines()[-1])

    assert output["tokens"] == [[11, 7]] * 4
    assert output["streamed"] == [False, False, True, True]
    assert output["state"] == "on"
    assert output["problems"] == []
    assert output["aiobotocore"] is (module == "aiobotocore")
