"""Which calls build or use a model client, and which imports bring one, by the registry of libraries."""

from __future__ import annotations

import re
from typing import Final

from somatrace.libraries import LIBRARIES, Library

_CLASSES = re.compile(
    r"^(?:Async)?(?:Chat[A-Z]\w*|Azure\w*|\w*OpenAI|\w*Anthropic\w*|\w*LLM|\w*Embeddings?|\w*Bedrock\w*|\w*Gemini\w*|\w*Ollama"
    r"|\w*Cohere|Mistral\w*|\w*GenerativeModel|\w*VertexAI|HuggingFace\w*|\w*Groq|Together|Client(?:V2)?|InferenceClient|LM"
    r"|TextEmbeddingModel|TextGenerationModel|Replicate|Voyage\w*|Fireworks\w*)$"
)
_NOT_CLIENTS = re.compile(
    r"(?:Template|Messages?|Prompt|History|Memory|Generation|Result|Parser|Engine|Chunk|Error|Model|Params?|Config|Store|Retriever"
    r"|HttpxClient|Session|Request|Response)$"
)
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

MODEL_CLIENTS: Final = tuple(row for row in LIBRARIES if row.role != "other")
_BY_IMPORT: Final = {name.rstrip("*"): row for row in MODEL_CLIENTS for name in row.import_names}
_AWS_SERVICES: Final = tuple(service for row in MODEL_CLIENTS for service in row.aws_services)
#: Their `client` and botocore's own `create_client` make a client of one service.
_AWS_PACKAGES: Final = ("boto3.", "botocore.", "aioboto3.", "aiobotocore.")
_LIBRARY = re.compile(rf"({'|'.join(map(re.escape, _BY_IMPORT))})(?=[._])")


def _statement(name: str) -> str:
    """The pattern of a name in an import statement; `google.genai` is also `from google import genai`."""
    pattern = re.escape(name).replace(r"\*", r"\w*")
    package, _, module = pattern.rpartition(r"\.")
    return rf"{pattern}|{package}[ \t]+import[ \t]+{module}" if package else pattern


#: An import of such a library, or a model service of boto3, anywhere in a file.
IMPORTS = re.compile(
    rf"^[ \t]*(?:from|import)[ \t]+"
    rf"(?:{'|'.join(_statement(name) for row in MODEL_CLIENTS for name in row.import_names)})\b"
    rf"|[\"'](?:{'|'.join(_AWS_SERVICES)})[\"']".encode(),
    re.MULTILINE,
)

#: One of these is in every module that builds or uses a model client.
WORDS: Final = tuple(
    word.encode()
    for word in dict.fromkeys(
        [name.rpartition(".")[2] for name in _BY_IMPORT]
        + [service.partition("-")[0] for service in _AWS_SERVICES]
    )
)


def is_client(path: str, first: object = None) -> bool:
    """Whether calling `path` builds a model client or calls a model. `first`: its first argument."""
    if path.endswith((".client", ".create_client")) and path.startswith(_AWS_PACKAGES):
        return first in _AWS_SERVICES
    library = _library(path)
    if library is None:
        return False
    last = path.rpartition(".")[2]
    if "()" in path:
        return last in _USES and is_client(path.partition("()")[0])
    if last in library.functions:
        return True
    if last[:1].islower():
        return False
    if path.endswith((".GenerativeModel", ".TextEmbeddingModel")):
        return True
    return bool(_CLASSES.match(last) and not _NOT_CLIENTS.search(last))


def _library(path: str) -> Library | None:
    found = _LIBRARY.match(path)
    return _BY_IMPORT[found[1]] if found is not None else None
