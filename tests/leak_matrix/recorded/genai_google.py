"""google-genai, with OpenTelemetry's own instrumentor: contents, streams, tools, errors."""

from __future__ import annotations

from google import genai
from google.genai import types

from tests.leak_matrix.canary import Planted
from tests.leak_matrix.cases import case, failing, provider

RELEASES = ("google-genai", "opentelemetry-instrumentation-google-genai")
MODEL = "gemini-2.5-flash"


def instrument() -> None:
    from opentelemetry.instrumentation.google_genai import GoogleGenAiSdkInstrumentor

    GoogleGenAiSdkInstrumentor().instrument()


def client(c: Planted) -> genai.Client:
    return genai.Client(api_key=c.key("api_key"), http_options=types.HttpOptions(base_url=provider.url))


@case("system", "prompt", "answer")
def content(c: Planted) -> None:
    one = client(c)
    config = types.GenerateContentConfig(system_instruction=c("system"), stop_sequences=[c("stop")])
    one.models.generate_content(model=MODEL, contents=c("prompt"), config=config)


@case("prompt", "answer")
async def asynchronous(c: Planted) -> None:
    one = client(c)
    await one.aio.models.generate_content(model=MODEL, contents=c("prompt"))


@case("prompt", "answer")
def stream(c: Planted) -> None:
    one = client(c)
    for _ in one.models.generate_content_stream(model=MODEL, contents=c("prompt")):
        pass


@case("prompt", "answer")
def functions(c: Planted) -> None:
    def search(query: str) -> str:
        """Search the library."""
        return query + c("result")

    one = client(c)
    config = types.GenerateContentConfig(tools=[search])
    one.models.generate_content(model=MODEL, contents=c("prompt"), config=config)


@case()
def errors_that_echo(c: Planted) -> None:
    one = client(c)
    for status in (400, 401):
        with failing():
            one.models.generate_content(model=f"fail-{status}", contents=c("prompt"))
