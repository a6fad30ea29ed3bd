"""Spans of real libraries have the Langfuse type of what they do."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.llm_server import llm_server
from tests.support.otlp_server import OtlpServer, otlp_server
from tests.support.programs import otlp_env, run_program

TYPE = "langfuse.observation.type"

PROGRAM = """
    from somatrace import flush, init_tracing, span
    init_tracing("svc")
    import chromadb, openai
    from chromadb.config import Settings
    from langchain_core.documents import Document
    from langchain_core.retrievers import BaseRetriever
    from langchain_core.tools import tool
    from langchain_openai import OpenAIEmbeddings

    class Shelf(BaseRetriever):
        def _get_relevant_documents(self, query, *, run_manager):
            return [Document(page_content="text")]

    @tool
    def search(query: str) -> str:
        "Search."
        return query

    with span("work", tenant_id="acme"):
        notes = chromadb.EphemeralClient(Settings(anonymized_telemetry=False)).create_collection("notes")
        notes.add(ids=["1"], embeddings=[[0.1, 0.2]], documents=["text"])
        notes.query(query_embeddings=[[0.1, 0.2]], n_results=1)
        notes.peek(1)
        Shelf().invoke("question")
        search.invoke("question")
        openai.OpenAI().embeddings.create(model="embedding", input="text")
        with span("own", **{"langfuse.observation.type": "guardrail"}):
            pass
    assert flush(60)
    """


@pytest.fixture(scope="module")
def stored() -> Iterator[OtlpServer]:
    with llm_server() as llm, otlp_server() as target:
        run_program(PROGRAM, {**otlp_env(target.url), **llm.env}, timeout=280)
        yield target


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("chroma.query", "retriever"),
        ("chroma.peek", "retriever"),
        ("vector_db_retrieve Shelf", "retriever"),
        ("execute_tool search", "tool"),
        ("openai.embeddings", "embedding"),
        ("own", "guardrail"),
    ],
)
def test_a_librarys_span_has_the_type_of_what_it_does(stored: OtlpServer, name: str, expected: str) -> None:
    found = {span.attributes.get(TYPE) for span in stored.spans if span.name == name}

    assert found == {expected}, [(span.name, span.attributes.get(TYPE)) for span in stored.spans]


@pytest.mark.slow
def test_writing_to_a_vector_store_is_no_retrieval(stored: OtlpServer) -> None:
    assert stored.named("chroma.add")[0].attributes.get(TYPE) != "retriever"
