"""The Langfuse types of instrumentors' spans that Langfuse itself would derive wrongly or not at all."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from somatrace import semconv
from somatrace.libraries import LIBRARIES

_BY_OPERATION: Final = {
    "retrieval": "retriever",
    "vector_db_retrieve": "retriever",
    "embeddings": "embedding",
    "execute_tool": "tool",
}
#: Langfuse does not read `llm.request.type`, and takes every span with a model for a generation.
_BY_REQUEST_TYPE: Final = {"embedding": "embedding"}
#: Langfuse does not read `traceloop.span.kind`.
_BY_TRACELOOP_KIND: Final = {
    kind: observation for observation, _, kind in semconv.KINDS.values() if kind is not None
}
_VECTOR_STORES: Final = ("chromadb", "lancedb", "marqo", "milvus", "pinecone", "qdrant", "weaviate")
_STORE_SCOPES: Final = tuple(
    scope for library in LIBRARIES if library.name in _VECTOR_STORES for scope in library.scopes
)
#: Names of the instrumentors' spans for reads that search: `chroma.query`, `qdrant.search_batch`,
#: `db.weaviate.gql.get.do`. Reads of a schema or a collection's handle are not among them.
_SEARCH: Final = re.compile(
    r"\.(?:query|search|hybrid_search|recommend|discover|scroll|peek|gql|graphql_raw_query)(?:[._]|$)"
    r"|^(?:chroma|milvus)\.get$"
)
#: Frameworks that call retrievers a task: the name of the span, or of its component, ends like the class.
_FRAMEWORK_SCOPES: Final = tuple(
    scope for library in LIBRARIES if library.name in ("haystack", "llama_index") for scope in library.scopes
)
_RETRIEVER: Final = re.compile(r"[Rr]etriever(?:\.task)?$")
_COMPONENT_TYPE: Final = "haystack.component.type"
#: The attributes from which a type follows.
TYPE_KEYS: Final = (
    semconv.OBSERVATION_TYPE,
    semconv.OPERATION,
    "llm.request.type",
    _COMPONENT_TYPE,
    semconv.TRACELOOP_KIND,
)


def add_type(attributes: dict[str, Any], scope: str, name: str) -> None:
    """Add the type to the guarded `attributes` of a span, unless they have one or Langfuse derives it."""
    if semconv.OBSERVATION_TYPE not in attributes:
        found = type_of(attributes, scope, name)
        if found is not None:
            attributes[semconv.OBSERVATION_TYPE] = found


def type_of(attributes: Mapping[str, Any], scope: str, name: str) -> str | None:
    """The type that follows from the attributes, or from the name of an instrumentor's span."""
    found = _BY_OPERATION.get(str(attributes.get(semconv.OPERATION)))
    if found is None:
        found = _BY_REQUEST_TYPE.get(str(attributes.get("llm.request.type")))
    if found is None:
        found = _by_name(scope, name)
    if found is None and _COMPONENT_TYPE in attributes:
        found = "retriever" if _RETRIEVER.search(str(attributes[_COMPONENT_TYPE])) else None
    if found is None:
        found = _BY_TRACELOOP_KIND.get(str(attributes.get(semconv.TRACELOOP_KIND)))
    return found


@lru_cache(maxsize=1024)
def _by_name(scope: str, name: str) -> str | None:
    if scope.startswith(_STORE_SCOPES) and _SEARCH.search(name):
        return "retriever"
    if scope.startswith(_FRAMEWORK_SCOPES) and _RETRIEVER.search(name):
        return "retriever"
    return None
