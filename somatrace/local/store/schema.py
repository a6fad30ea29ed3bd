"""The database schema of the store. Any change here must increase `VERSION`."""

from __future__ import annotations

from typing import Final

VERSION: Final = 5

#: `received_ns` is the time at which a span's row was last written; for a trace, the time of its first span,
#: and `changed_ns` the time of its last one.
#: `traces` has one row per trace, updated on each insert, so that lists never group spans;
#: `head_*` identify the span its descriptive columns come from: the earliest root, else the earliest span;
#: `models`, `agents` and `services` list the names in all its spans, one per line; `failure` is the message
#: of the failed span that started last, which is the deepest one when failures propagate.
#: `shares` has one row per trace, tenant and workflow: a trace is listed for each one that `belongs`.
#: `figures` sums them by the minute and the hour in which the traces started; its durations are a
#: histogram. Rows of other scopes than "group" correct sums over groups, which may count a trace repeatedly.
#: `arrivals` counts spans by the minute in which they arrived.
#: `reports` has the latest tracing report of each process.
#: `origins` has the metadata shared by all spans of one resource and scope.
SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS spans (
    trace_id TEXT NOT NULL, span_id TEXT NOT NULL, parent_id TEXT, is_root INTEGER NOT NULL,
    name TEXT NOT NULL, type TEXT NOT NULL, level TEXT NOT NULL, status TEXT NOT NULL,
    status_message TEXT, environment TEXT NOT NULL, version TEXT, release TEXT, service TEXT,
    trace_name TEXT, tenant_id TEXT, workflow_name TEXT, agent_id TEXT, session_id TEXT, user_id TEXT,
    tags TEXT NOT NULL, model TEXT, prompt_name TEXT, prompt_version INTEGER,
    input_tokens INTEGER, output_tokens INTEGER, total_tokens INTEGER,
    input_cost REAL, output_cost REAL, total_cost REAL,
    start_ns INTEGER NOT NULL, end_ns INTEGER NOT NULL, first_token_ns INTEGER, correlation_id TEXT,
    origin INTEGER NOT NULL, received_ns INTEGER NOT NULL,
    metadata TEXT NOT NULL, input TEXT, output TEXT, extra TEXT NOT NULL,
    PRIMARY KEY (trace_id, span_id)
);
CREATE INDEX IF NOT EXISTS spans_start ON spans (start_ns, trace_id, span_id);
CREATE INDEX IF NOT EXISTS spans_tenant ON spans (tenant_id, start_ns);
CREATE TABLE IF NOT EXISTS traces (
    trace_id TEXT PRIMARY KEY,
    head_root INTEGER NOT NULL, head_start INTEGER NOT NULL, head_span TEXT NOT NULL,
    head_tenant TEXT, head_failed INTEGER NOT NULL,
    head_name TEXT, head_workflow TEXT, head_is_plain INTEGER NOT NULL,
    name TEXT, tenant_id TEXT, workflow_name TEXT, agent_id TEXT, service TEXT,
    start_ns INTEGER NOT NULL, end_ns INTEGER NOT NULL, spans INTEGER NOT NULL, errors INTEGER NOT NULL,
    calls INTEGER NOT NULL, unmeasured INTEGER NOT NULL,
    input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL, cost REAL NOT NULL,
    received_ns INTEGER NOT NULL, changed_ns INTEGER NOT NULL, correlation_id TEXT,
    models TEXT NOT NULL, agents TEXT NOT NULL, services TEXT NOT NULL,
    failure_start INTEGER, failure_span TEXT, failure TEXT, failed INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS traces_start ON traces (start_ns, trace_id);
CREATE INDEX IF NOT EXISTS traces_failed ON traces (start_ns, trace_id) WHERE failed;
CREATE INDEX IF NOT EXISTS traces_errors ON traces (start_ns, trace_id) WHERE errors > 0;
CREATE INDEX IF NOT EXISTS traces_received ON traces (received_ns, spans);
CREATE INDEX IF NOT EXISTS traces_changed ON traces (changed_ns);
CREATE INDEX IF NOT EXISTS traces_correlation ON traces (correlation_id) WHERE correlation_id IS NOT NULL;
CREATE TABLE IF NOT EXISTS shares (
    trace_id TEXT NOT NULL, tenant TEXT NOT NULL, workflow TEXT NOT NULL, start_ns INTEGER NOT NULL,
    spans INTEGER NOT NULL, errors INTEGER NOT NULL, calls INTEGER NOT NULL, unmeasured INTEGER NOT NULL,
    input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL, cost REAL NOT NULL,
    workflows INTEGER NOT NULL, failed_workflows INTEGER NOT NULL,
    belongs INTEGER NOT NULL, leads INTEGER NOT NULL, failed INTEGER NOT NULL,
    tenant_failed INTEGER NOT NULL, tenant_errors INTEGER NOT NULL,
    PRIMARY KEY (trace_id, tenant, workflow)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS shares_tenant ON shares (tenant, start_ns, trace_id) WHERE leads;
CREATE INDEX IF NOT EXISTS shares_workflow ON shares (tenant, workflow, start_ns, trace_id) WHERE belongs;
CREATE INDEX IF NOT EXISTS shares_tenant_failed ON shares (tenant, start_ns, trace_id)
    WHERE leads AND tenant_failed;
CREATE INDEX IF NOT EXISTS shares_workflow_failed ON shares (tenant, workflow, start_ns, trace_id)
    WHERE belongs AND failed;
CREATE TABLE IF NOT EXISTS figures (
    step INTEGER NOT NULL, since INTEGER NOT NULL, scope TEXT NOT NULL,
    tenant TEXT NOT NULL, workflow TEXT NOT NULL,
    traces INTEGER NOT NULL, failed INTEGER NOT NULL, recovered INTEGER NOT NULL, spans INTEGER NOT NULL,
    calls INTEGER NOT NULL, unmeasured INTEGER NOT NULL,
    input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL, cost REAL NOT NULL,
    durations TEXT NOT NULL,
    PRIMARY KEY (step, since, scope, tenant, workflow)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS arrivals (
    minute INTEGER NOT NULL, service TEXT NOT NULL, version TEXT NOT NULL,
    spans INTEGER NOT NULL, failed INTEGER NOT NULL, untagged INTEGER NOT NULL, cut INTEGER NOT NULL,
    last_ns INTEGER NOT NULL,
    PRIMARY KEY (minute, service, version)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS reports (
    service TEXT NOT NULL, process TEXT NOT NULL, seen_ns INTEGER NOT NULL, report TEXT NOT NULL,
    PRIMARY KEY (service, process)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS links (
    trace_id TEXT NOT NULL, span_id TEXT NOT NULL, to_trace TEXT NOT NULL, to_span TEXT NOT NULL,
    PRIMARY KEY (to_trace, to_span, trace_id, span_id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS links_from ON links (trace_id);
CREATE TABLE IF NOT EXISTS origins (id INTEGER PRIMARY KEY, seen_ns INTEGER NOT NULL, metadata TEXT NOT NULL);
"""
