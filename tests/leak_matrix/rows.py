"""The rows of the matrix: the distributions of the libraries that each client file exercises."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent

CLIENTS: Final[dict[str, tuple[str, ...]]] = {
    "openai": ("openai",),
    "anthropic": ("anthropic",),
    "litellm": ("litellm",),
    "langchain": ("langchain", "langchain-core", "langchain-openai"),
    "langgraph": ("langgraph",),
    "mcp": ("mcp",),
    "http": ("httpx", "requests", "urllib3", "aiohttp"),
    "asgi": ("starlette", "fastapi"),
    "sqlalchemy": ("sqlalchemy",),
    "chromadb": ("chromadb",),
    "traceloop": ("traceloop-sdk",),
    "langfuse": ("langfuse",),
    "own": ("opentelemetry-api",),
}

#: Libraries that run in environments of their own and whose recordings are replayed: the group of their lock.
RECORDED: Final[dict[str, str]] = {
    "llama_index": "llama-index",
    "groq": "clients",
    "bedrock": "clients",
    "pydantic_ai": "agents",
    "openai_agents": "agents",
    "haystack": "agents",
    "fastmcp": "agents",
    "django": "clients",
    "openinference_openai": "clients",
    "openinference_langchain": "clients",
    "genai_openai": "agents",
    "genai_google": "clients",
    "crewai": "crewai",
    "ollama": "clients",
    "mistralai": "clients",
    "cohere": "clients",
    "google_genai": "clients",
    "flask": "clients",
    "wsgi": "clients",
}


def cases(client: str) -> list[str]:
    """The names of a client's cases as words, without importing the client file."""
    tree = ast.parse((HERE / "clients" / f"{client}.py").read_text())
    return [
        node.name.replace("_", " ")
        for node in tree.body
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and any(
            isinstance(d, ast.Call) and isinstance(d.func, ast.Name) and d.func.id == "case"
            for d in node.decorator_list
        )
    ]
