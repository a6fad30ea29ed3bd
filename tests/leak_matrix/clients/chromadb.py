"""chromadb: documents, metadata, filters, and failing queries."""

from __future__ import annotations

from typing import Any

import chromadb
from chromadb.config import Settings

from tests.leak_matrix.canary import Planted
from tests.leak_matrix.harness import case, failing

VECTOR = [0.1, 0.2, 0.3]
client = chromadb.EphemeralClient(Settings(anonymized_telemetry=False))


def collection(c: Planted) -> Any:
    found = client.get_or_create_collection(f"notes-{c.tenant}", metadata={"customer": c("collection")})
    found.upsert(
        ids=[c.word("id")], embeddings=[VECTOR], documents=[c("document")], metadatas=[{"owner": c("owner")}]
    )
    return found


@case()
def documents(c: Planted) -> None:
    one = collection(c)
    kept = {"ids": ["2"], "embeddings": [VECTOR], "documents": [c("document")]}
    one.add(**kept, metadatas=[{"owner": c("owner")}])
    one.update(**kept)
    one.get(ids=[c.word("id")])
    one.peek(1)
    one.delete(ids=["2"])


@case("owner")
def queries(c: Planted) -> None:
    one = collection(c)
    words = {"$contains": c.word("words")}
    one.query(query_embeddings=[VECTOR], n_results=1, where={"owner": c("owner")}, where_document=words)
    one.get(where={"owner": c("owner")}, where_document=words)
    one.query(query_embeddings=[VECTOR], n_results=1)
    one.delete(where={"owner": c("owner")})


@case()
def failing_queries(c: Planted) -> None:
    one = collection(c)
    with failing():
        one.query(query_embeddings=[[0.1]], where={"owner": c("owner")})
    with failing():
        one.get(where={"$wrong": c("owner")})
