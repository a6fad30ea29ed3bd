"""haystack: pipelines of prompts and chat models, failures."""

from __future__ import annotations

from haystack import Pipeline
from haystack.components.builders import ChatPromptBuilder
from haystack.components.generators.chat import OpenAIChatGenerator
from haystack.dataclasses import ChatMessage
from haystack.utils import Secret

from tests.leak_matrix.canary import Planted
from tests.leak_matrix.cases import case, failing, provider

RELEASES = ("haystack-ai", "opentelemetry-instrumentation-haystack")
REGISTERED = ("haystack",)


def model(c: Planted, name: str = "gpt-4o") -> OpenAIChatGenerator:
    key = Secret.from_token(c.key("api_key"))
    return OpenAIChatGenerator(key, model=name, api_base_url=f"{provider.url}/v1", max_retries=0)


def pipeline(c: Planted, name: str = "gpt-4o") -> Pipeline:
    template = [ChatMessage.from_system(c("system")), ChatMessage.from_user("{{question}}")]
    made = Pipeline()
    made.add_component("prompt", ChatPromptBuilder(template=template))
    made.add_component("model", model(c, name))
    made.connect("prompt.prompt", "model.messages")
    return made


@case("prompt", "answer")
def run(c: Planted) -> None:
    pipeline(c).run({"prompt": {"question": c("prompt")}})


@case()
def model_alone(c: Planted) -> None:
    model(c).run([ChatMessage.from_user(c("prompt"))])


@case()
def errors_that_echo(c: Planted) -> None:
    for status in (400, 401):
        with failing():
            pipeline(c, f"fail-{status}").run({"prompt": {"question": c("prompt")}})
