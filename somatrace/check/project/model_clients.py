"""Which calls build or use a model client, and which imports bring one."""

from __future__ import annotations

import re

_CLASSES = re.compile(
    r"^(?:Async)?(?:Chat[A-Z]\w*|Azure\w*|\w*OpenAI|\w*Anthropic\w*|\w*LLM|\w*Embeddings?|\w*Bedrock\w*|\w*Gemini\w*|\w*Ollama"
    r"|\w*Cohere|Mistral\w*|\w*GenerativeModel|\w*VertexAI|HuggingFace\w*|\w*Groq|Together|Client(?:V2)?|InferenceClient|LM"
    r"|TextEmbeddingModel|TextGenerationModel|Replicate|Voyage\w*|Fireworks\w*)$"
)
_NOT_CLIENTS = re.compile(
    r"(?:Template|Messages?|Prompt|History|Memory|Generation|Result|Parser|Engine|Chunk|Error|Model|Params?|Config|Store|Retriever"
    r"|HttpxClient|Session|Request|Response)$"
)
_CALLS = {
    "litellm": {
        "completion", "acompletion", "embedding", "aembedding", "text_completion", "atext_completion",
        "responses", "aresponses", "image_generation", "aimage_generation", "transcription",
        "speech", "rerank", "Router",
    },
    "ollama": {"chat", "generate", "embed", "embeddings"},
    "replicate": {"run", "async_run", "stream"},
    "langchain": {"init_chat_model", "init_embeddings"},
}  # fmt: skip
_LIBRARIES = (
    "openai", "anthropic", "litellm", "cohere", "mistralai", "groq", "together", "ollama", "replicate",
    "huggingface_hub", "google.generativeai", "google.genai", "vertexai", "llama_index", "langchain",
    "langchain_core", "langchain_community", "dashscope", "zhipuai", "voyageai", "fireworks", "dspy",
    "ai21", "cerebras",
)  # fmt: skip
_USES = {
    "create",
    "acreate",
    "parse",
    "stream",
    "generate_content",
    "invoke",
    "ainvoke",
    "predict",
    "embed_query",
}

#: An import of such a library, anywhere in a file.
IMPORTS = re.compile(
    rb"^[ \t]*(?:from|import)[ \t]+(?:openai|anthropic|litellm|cohere|mistralai|groq|together|ollama"
    rb"|replicate|huggingface_hub|google\.generativeai|google[ \t]+import[ \t]+genai|google\.genai|vertexai"
    rb"|llama_index|langchain\w*|dspy)\b"
    rb"|[\"']bedrock(?:-agent)?-runtime[\"']",
    re.MULTILINE,
)


def is_client(path: str, first: object = None) -> bool:
    """Whether calling `path` builds a model client or calls a model. `first`: its first argument."""
    if (
        path.endswith(".client") and path.startswith(("boto3.", "botocore.", "aioboto3."))
    ) or path == "boto3.client":
        return isinstance(first, str) and first.startswith("bedrock")
    library = _library(path)
    if library is None:
        return False
    last = path.rpartition(".")[2]
    if "()" in path:
        return last in _USES and is_client(path.partition("()")[0])
    if last in _CALLS.get(library.partition("_")[0], ()):
        return True
    if last[:1].islower():
        return last in {"create", "acreate"} and library in {"openai", "anthropic"}
    known = path == "google.generativeai.GenerativeModel" or path.endswith(
        (".GenerativeModel", ".TextEmbeddingModel")
    )
    return known or bool(_CLASSES.match(last) and not _NOT_CLIENTS.search(last))


def _library(path: str) -> str | None:
    for library in _LIBRARIES:
        if path.startswith(library) and path[len(library) : len(library) + 1] in {".", "_"}:
            return library
    return None
