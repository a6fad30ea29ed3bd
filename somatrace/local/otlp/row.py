"""The shape of one stored observation."""

from __future__ import annotations

from typing import NamedTuple


class SpanRow(NamedTuple):
    """One observation; the fields are the columns of the store's `spans` table."""

    trace_id: str
    span_id: str
    parent_id: str | None
    is_root: bool
    name: str
    type: str
    level: str
    status: str
    status_message: str | None
    environment: str
    version: str | None
    release: str | None
    service: str | None
    trace_name: str | None
    tenant_id: str | None
    workflow_name: str | None
    agent_id: str | None
    session_id: str | None
    user_id: str | None
    tags: str
    model: str | None
    prompt_name: str | None
    prompt_version: int | None
    input_tokens: int | None
    output_tokens: int | None
    total_tokens: int | None
    input_cost: float | None
    output_cost: float | None
    total_cost: float | None
    start_ns: int
    end_ns: int
    first_token_ns: int | None
    correlation_id: str | None
    metadata: str
    input: str | None
    output: str | None
    extra: str
