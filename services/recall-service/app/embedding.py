"""Split articles into chunks, embed them through the model server and find the nearest ones."""

from __future__ import annotations

from dataclasses import dataclass

import requests

from somatrace import span, usage

MODEL = "local-extractive"
CHUNK = 400
TIMEOUT = 20
Vector = list[float]


@dataclass(frozen=True)
class Chunk:
    title: str
    text: str


class Index:
    """Chunks with their unit vectors."""

    def __init__(self, chunks: list[Chunk], vectors: list[Vector]) -> None:
        self._entries = list(zip(chunks, vectors, strict=True))

    @classmethod
    def of(cls, markdown: str, url: str, key: str) -> Index:
        """Embed the chunks of `markdown`."""
        chunks = split(markdown)
        return cls(chunks, embed([f"{chunk.title}\n{chunk.text}" for chunk in chunks], url, key))

    def __len__(self) -> int:
        return len(self._entries)

    def nearest(self, query: Vector, top: int) -> list[tuple[Chunk, float]]:
        """The `top` chunks with a positive cosine similarity to `query`, best first."""
        scored = [
            (chunk, sum(a * b for a, b in zip(query, vector, strict=True))) for chunk, vector in self._entries
        ]
        return sorted((entry for entry in scored if entry[1] > 0), key=lambda entry: -entry[1])[:top]


def split(markdown: str) -> list[Chunk]:
    """Split sections (`## title`) at paragraph ends into chunks of about `CHUNK` characters."""
    chunks = []
    for section in markdown.split("\n## ")[1:]:
        title, _, body = section.partition("\n")
        text = ""
        for paragraph in (" ".join(part.split()) for part in body.split("\n\n") if part.strip()):
            if text and len(text) + len(paragraph) > CHUNK:
                chunks.append(Chunk(title, text))
                text = ""
            text = f"{text} {paragraph}".strip()
        chunks.append(Chunk(title, text))
    return chunks


def embed(texts: list[str], url: str, key: str) -> list[Vector]:
    """One vector per text; raises `requests.RequestException`."""
    with span("embed", kind="embedding", texts=len(texts)):
        answer = requests.post(
            f"{url}/embeddings",
            json={"model": MODEL, "input": texts},
            headers={"authorization": f"Bearer {key}"},
            timeout=TIMEOUT,
        )
        answer.raise_for_status()
        body = answer.json()
        usage(model=MODEL, input_tokens=body["usage"]["prompt_tokens"])
        return [entry["embedding"] for entry in body["data"]]
