"""The fields that every rule has, and the source that their examples share."""

from __future__ import annotations

from dataclasses import dataclass

APP = "from fastapi import FastAPI\nfrom somatrace import init_tracing\n\n"
TRACED = f'{APP}init_tracing("orders")\napp = FastAPI()\n'


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    `message` and `advice` are templates of its findings' texts. `broken` and `kept` are a service's
    `main.py` that uvicorn imports, or several files, each below a comment that names it.
    """

    code: str
    name: str
    summary: str
    reason: str
    message: str
    advice: str
    broken: str
    kept: str
