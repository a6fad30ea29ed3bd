"""Who served a call, by the name of its provider, the address of its server and the prefix of its model."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

#: Spellings of providers, without what is neither letter nor digit.
_ALIASES: Final = {
    "openai": "openai textcompletionopenai openaichat openairesponses",
    "azure": "azure azureopenai azureaiopenai azopenai azaiopenai azureaiinference azaiinference azureai"
    " azuretext",
    "anthropic": "anthropic claude",
    "aws": "aws awsbedrock bedrock bedrockconverse amazonbedrock amazon",
    "google": "google googlegenai googlegemini googlegla googleaistudio googlegenerativeai googlevertex"
    " googlevertexai gcp gcpvertexai gcpgemini gcpgenai vertex vertexai vertexaibeta gemini",
    "cohere": "cohere coherechat",
    "mistral": "mistral mistralai codestral",
    "groq": "groq",
    "deepseek": "deepseek",
    "perplexity": "perplexity perplexityai",
    "x-ai": "xai",
    "together": "together togetherai",
    "fireworks": "fireworks fireworksai",
    "openrouter": "openrouter",
    "voyageai": "voyage voyageai",
    "cerebras": "cerebras",
    "moonshotai": "moonshot moonshotai",
    "minimax": "minimax",
    "novita": "novita novitaai",
    "databricks": "databricks",
    "ovhcloud": "ovhcloud",
    "zai": "zai",
    "zhipuai": "zhipuai",
    "cloudflare": "cloudflare",
    "baseten": "baseten",
    "github-copilot": "githubcopilot",
    "meta": "metallama",
    "ai21": "ai21 ai21labs",
}
_PROVIDERS: Final = {alias: provider for provider, names in _ALIASES.items() for alias in names.split()}
#: What calls models of any provider.
_FRAMEWORKS: Final = (
    "unknown",
    "langchain",
    "litellm",
    "llamaindex",
    "haystack",
    "crewai",
    "openinference",
    "dspy",
    "agno",
    "pydanticai",
    "customopenai",
    "openailike",
    "openaicompatible",
)
#: Clients of these are used with gateways, too, so that the prefix of a model says more.
_REDIRECTED: Final = frozenset({"openai", "anthropic", "google", "mistral", "cohere"})
#: Who makes models that are only called by their own names.
MAKERS: Final = ("openai", "anthropic", "google", "mistral", "cohere", "deepseek", "x-ai", "voyageai")

#: Models that only their makers and the clouds serve: at a server of one's own they come through a gateway.
#: Others may run there, and cost what the server costs.
_NEVER_SELF_HOSTED: Final = re.compile(
    r"(?:[^/]*[/:])*(?:gpt-(?!oss)|chatgpt-|o\d|text-embedding-|claude|gemini|ft:|command-|embed-|grok-(?!2)|voyage-)"
)

_HOSTS: Final = {
    "api.openai.com": "openai",
    "api.anthropic.com": "anthropic",
    "generativelanguage.googleapis.com": "google",
    "api.cohere.com": "cohere",
    "api.cohere.ai": "cohere",
    "api.mistral.ai": "mistral",
    "codestral.mistral.ai": "mistral",
    "api.groq.com": "groq",
    "api.deepseek.com": "deepseek",
    "api.perplexity.ai": "perplexity",
    "api.x.ai": "x-ai",
    "api.together.xyz": "together",
    "api.together.ai": "together",
    "api.fireworks.ai": "fireworks",
    "openrouter.ai": "openrouter",
    "api.openrouter.ai": "openrouter",
    "api.voyageai.com": "voyageai",
    "api.cerebras.ai": "cerebras",
    "api.moonshot.ai": "moonshotai",
    "api.moonshot.cn": "moonshotai",
    "api.minimax.io": "minimax",
    "api.minimaxi.com": "minimax",
    "api.novita.ai": "novita",
    "oai.endpoints.kepler.ai.cloud.ovh.net": "ovhcloud",
    "api.z.ai": "zai",
    "open.bigmodel.cn": "zhipuai",
    "api.cloudflare.com": "cloudflare",
    "inference.baseten.co": "baseten",
    "api.githubcopilot.com": "github-copilot",
    "api.ai21.com": "ai21",
}
_DOMAINS: Final = {
    ".api.openai.com": "openai",
    ".openai.azure.com": "azure",
    ".cognitiveservices.azure.com": "azure",
    ".services.ai.azure.com": "azure",
    ".models.ai.azure.com": "azure",
    "aiplatform.googleapis.com": "google",
    ".cloud.databricks.com": "databricks",
    ".azuredatabricks.net": "databricks",
    ".gcp.databricks.com": "databricks",
    ".rep.googleapis.com": "google",
}
_BEDROCK_HOST: Final = re.compile(r"bedrock-runtime(?:-fips)?\.[a-z0-9-]+\.amazonaws\.com(?:\.cn)?")
_ADDRESS: Final = re.compile(r"^(?:\w+://)?([^/:?#]*)")
_PREFIX: Final = re.compile(r"^([a-z0-9_.-]{2,40})[/:](?=.)")
_HUGGINGFACE: Final = re.compile(r"^huggingface/([a-z0-9-]+)/(?=.+/)")
_NOT_A_NAME: Final = re.compile(r"[^a-z0-9]")


def host_of(address: str) -> str:
    """The host in a server's address, which may be a URL or have a port."""
    found = _ADDRESS.match(address.strip().lower())
    return found[1] if found else ""


def served_by(host: str) -> str:
    """The provider whose server a host is, "" if it is none that is known."""
    if host in _HOSTS:
        return _HOSTS[host]
    if _BEDROCK_HOST.fullmatch(host):
        return "aws"
    return next((provider for domain, provider in _DOMAINS.items() if host.endswith(domain)), "")


def provider_of(name: str) -> str:
    """The provider of a name in any spelling: "" for a framework, the bare name of an unknown one."""
    bare = _NOT_A_NAME.sub("", name.lower())
    return "" if bare in _FRAMEWORKS else _PROVIDERS.get(bare, bare)


def candidates(provider: str, model: str, host: str) -> Iterator[tuple[str, str]]:
    """Providers and the names that a model may have there, the most likely one first.

    Where neither the server nor the provider is known, the makers of models are asked. The provider "" has no
    published prices.
    """
    name = model.strip().lower().removeprefix("litellm_proxy/")
    owner = served_by(host)
    named = owner or provider_of(provider)
    prefix = _PREFIX.match(name)
    place = provider_of(prefix[1]) if prefix else ""
    yield named, name
    if prefix:
        yield "", name[prefix.end() :]
    if host and not owner and named in ("", "openai") and _may_be_self_hosted(place, name):
        return
    hub = _HUGGINGFACE.match(name)
    if hub and named in ("", "huggingface"):
        yield f"huggingface_{hub[1]}", name[hub.end() :]
    if prefix and (
        place == named or (not owner and place in _ALIASES and (not named or named in _REDIRECTED))
    ):
        yield from _below(place, name[prefix.end() :])
    elif not named:
        yield from ((maker, name) for maker in MAKERS)


def _may_be_self_hosted(place: str, name: str) -> bool:
    """Whether a server of one's own may run the model: its prefix is no cloud's, its maker gives it away."""
    return place not in _ALIASES.keys() - set(MAKERS) and not _NEVER_SELF_HOSTED.match(name)


def _below(place: str, name: str) -> Iterator[tuple[str, str]]:
    """The name at a provider, and without a repetition of its prefix."""
    yield place, name
    prefix = _PREFIX.match(name)
    if prefix and provider_of(prefix[1]) == place:
        yield place, name[prefix.end() :]
