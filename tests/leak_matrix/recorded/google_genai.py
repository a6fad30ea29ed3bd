"""google-genai, with OpenLLMetry's instrumentor: contents, streams, tools, embeddings, errors."""

from __future__ import annotations

from google import genai
from google.genai import types

from tests.leak_matrix.canary import Planted
from tests.leak_matrix.cases import case, failing, provider

RELEASES = ("google-genai", "opentelemetry-instrumentation-google-generativeai")
REGISTERED = ("google.genai",)
MODEL = "gemini-2.5-flash"


def client(c: Planted) -> genai.Client:
    return genai.Client(api_key=c.key("api_key"), http_options=types.HttpOptions(base_url=provider.url))


@case("system", "prompt", "answer")
def content(c: Planted) -> None:
    one = client(c)
    one.models.generate_content(
        model=MODEL,
        contents=c("prompt"),
        config=types.GenerateContentConfig(
            system_instruction=c("system"),
            stop_sequences=[c("stop")],
            temperature=0.5,
            response_mime_type="application/json",
            response_schema={"type": "OBJECT", "description": c("schema"), "properties": {}},
        ),
    )


@case("prompt", "answer")
async def asynchronous(c: Planted) -> None:
    one = client(c)
    await one.aio.models.generate_content(model=MODEL, contents=c("prompt"))
    async for _ in await one.aio.models.generate_content_stream(model=MODEL, contents=c("prompt")):
        pass


@case("prompt", "answer")
def stream(c: Planted) -> None:
    one = client(c)
    for _ in one.models.generate_content_stream(model=MODEL, contents=c("prompt")):
        pass


@case("prompt", "arguments")
def tools(c: Planted) -> None:
    function = types.FunctionDeclaration(name="search", description=c("description"))
    one = client(c)
    config = types.GenerateContentConfig(tools=[types.Tool(function_declarations=[function])])
    asked = [types.Content(role="user", parts=[types.Part(text=c("prompt"))])]
    first = one.models.generate_content(model=MODEL, contents=asked, config=config)
    asked.append(first.candidates[0].content)
    result = types.Part.from_function_response(name="search", response={"result": c("result")})
    asked.append(types.Content(role="user", parts=[result]))
    one.models.generate_content(model=MODEL, contents=asked, config=config)


@case()
def errors_that_echo(c: Planted) -> None:
    one = client(c)
    for status in (400, 401):
        with failing():
            one.models.generate_content(model=f"fail-{status}", contents=c("prompt"))
