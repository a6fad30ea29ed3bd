"""The Langfuse types of instrumentors' spans, by what each library's instrumentor says about them."""

from __future__ import annotations

from typing import Any

import pytest

from somatrace.pipeline.observation_types import add_type

TYPE = "langfuse.observation.type"
OF = "opentelemetry.instrumentation."


def typed(scope: str, name: str, **attributes: Any) -> str | None:
    given = {key.replace("__", "."): value for key, value in attributes.items()}
    add_type(given, scope, name)
    return given.get(TYPE)


@pytest.mark.parametrize(
    ("scope", "name"),
    [
        ("chromadb", "chroma.query"),
        ("chromadb", "chroma.query.segment._query"),
        ("chromadb", "chroma.get"),
        ("pinecone", "pinecone.query"),
        ("qdrant", "qdrant.search_batch"),
        ("qdrant", "qdrant.query_points"),
        ("qdrant", "qdrant.recommend_groups"),
        ("qdrant", "qdrant.scroll"),
        ("weaviate", "db.weaviate.collections.query.fetch_objects"),
        ("weaviate", "db.weaviate.gql.get.do"),
        ("weaviate", "db.weaviate.client.graphql_raw_query"),
        ("milvus", "milvus.hybrid_search"),
        ("lancedb", "lancedb.search"),
        ("marqo", "marqo.search"),
        ("llamaindex", "VectorIndexRetriever.task"),
    ],
)
def test_searches_of_vector_stores_and_retrievers_of_frameworks_are_retrievers(scope: str, name: str) -> None:
    assert typed(OF + scope, name, traceloop__span__kind="task") == "retriever"


@pytest.mark.parametrize(
    ("scope", "name"),
    [
        ("chromadb", "chroma.add"),
        ("qdrant", "qdrant.upsert"),
        ("weaviate", "db.weaviate.schema.get"),
        ("weaviate", "db.weaviate.collections.get"),
        ("milvus", "milvus.insert"),
    ],
)
def test_other_calls_of_vector_stores_are_not(scope: str, name: str) -> None:
    assert typed(OF + scope, name) is None


def test_a_query_of_another_library_is_none() -> None:
    assert typed("app", "orders.query") is None


def test_a_retriever_component_of_haystack_is_a_retriever() -> None:
    kind = {"haystack__component__type": "InMemoryEmbeddingRetriever"}
    assert typed("haystack", "haystack.component.run", **kind) == "retriever"


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"gen_ai__operation__name": "vector_db_retrieve", "traceloop__span__kind": "task"}, "retriever"),
        ({"gen_ai__operation__name": "embeddings"}, "embedding"),
        ({"llm__request__type": "embedding", "gen_ai__request__model": "m"}, "embedding"),
        ({"gen_ai__operation__name": "execute_tool"}, "tool"),
        ({"traceloop__span__kind": "tool"}, "tool"),
        ({"traceloop__span__kind": "workflow"}, "chain"),
        ({"gen_ai__operation__name": "chat"}, None),
    ],
)
def test_the_operation_decides_before_the_kind(attributes: dict[str, Any], expected: str | None) -> None:
    assert typed(OF + "any", "call", **attributes) == expected


def test_a_type_of_the_program_stays() -> None:
    assert typed(OF + "chromadb", "chroma.query", langfuse__observation__type="guardrail") == "guardrail"
