"""All attribute keys, headers and event names that somatrace reads or writes.

GenAI keys are defined here rather than imported: the conventions moved to
open-telemetry/semantic-conventions-genai and the Python constants are deprecated.
The Langfuse keys are the ones its OTLP mapping reads (docs/local.md).
"""

from __future__ import annotations

from typing import Final, Literal

#: The package version, kept here because `importlib.metadata` is slow.
VERSION = "0.1.0"

# -- tags ---------------------------------------------------------------------------------------

TENANT: Final = "tenant_id"
WORKFLOW: Final = "workflow_name"
AGENT: Final = "agent_id"
CORRELATION: Final = "correlation_id"
REQUEST: Final = "request_id"
SESSION: Final = "session_id"
USER: Final = "user_id"
RUN: Final = "run_id"
JOB: Final = "job_id"
ORG: Final = "org_id"

REQUIRED_TAGS: Final = (TENANT, WORKFLOW, AGENT)
KNOWN_TAGS: Final = (
    TENANT,
    WORKFLOW,
    AGENT,
    CORRELATION,
    REQUEST,
    SESSION,
    USER,
    RUN,
    JOB,
    ORG,
    "job_type",
    "brand",
    "inputs_hash",
    "queue_job_id",
    "pipeline_run_id",
    "interaction_id",
)
UNKNOWN_TENANT: Final = "unknown"
#: What a root span without a tenant shows if there are several below it.
SEVERAL_TENANTS: Final = "several"
CLIENT_CORRELATION: Final = "client.correlation_id"

# -- kinds of a unit of work ----------------------------------------------------------------------

Kind = Literal["workflow", "step", "agent", "tool", "llm", "retrieval", "embedding", "check"]

#: kind -> (langfuse.observation.type, gen_ai.operation.name, traceloop.span.kind)
KINDS: Final[dict[str, tuple[str, str | None, str | None]]] = {
    "workflow": ("chain", "invoke_workflow", "workflow"),
    "step": ("span", None, "task"),
    "agent": ("agent", "invoke_agent", "agent"),
    "tool": ("tool", "execute_tool", "tool"),
    "llm": ("generation", "chat", None),
    "retrieval": ("retriever", "retrieval", None),
    "embedding": ("embedding", "embeddings", None),
    "check": ("evaluator", None, None),
}

# -- Langfuse ---------------------------------------------------------------------------------------

LANGFUSE_OTLP_PATH: Final = "/api/public/otel/v1/traces"
LANGFUSE_INGESTION_VERSION: Final = "4"
OBSERVATION_TYPE: Final = "langfuse.observation.type"
OBSERVATION_INPUT: Final = "langfuse.observation.input"
OBSERVATION_OUTPUT: Final = "langfuse.observation.output"
OBSERVATION_USAGE: Final = "langfuse.observation.usage_details"
OBSERVATION_COST: Final = "langfuse.observation.cost_details"
COMPLETION_START: Final = "langfuse.observation.completion_start_time"
OBSERVATION_METADATA: Final = "langfuse.observation.metadata."
TRACE_NAME: Final = "langfuse.trace.name"
TRACE_TAGS: Final = "langfuse.trace.tags"
TRACE_METADATA: Final = "langfuse.trace.metadata."
SESSION_ID: Final = "session.id"
USER_ID: Final = "user.id"

# -- GenAI conventions ------------------------------------------------------------------------------

OPERATION: Final = "gen_ai.operation.name"
PROVIDER: Final = "gen_ai.provider.name"
#: The name of the provider before the conventions renamed it.
SYSTEM: Final = "gen_ai.system"
REQUEST_MODEL: Final = "gen_ai.request.model"
RESPONSE_MODEL: Final = "gen_ai.response.model"
RESPONSE_ID: Final = "gen_ai.response.id"
FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
TOTAL_TOKENS: Final = "gen_ai.usage.total_tokens"
CACHE_READ_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
CACHE_CREATION_TOKENS: Final = "gen_ai.usage.cache_creation.input_tokens"
#: Parts of it, by how long the cache keeps them: their prices differ.
CACHE_CREATION_5M_TOKENS: Final = "gen_ai.usage.cache_creation.ephemeral_5m_input_tokens"
CACHE_CREATION_1H_TOKENS: Final = "gen_ai.usage.cache_creation.ephemeral_1h_input_tokens"
REASONING_TOKENS: Final = "gen_ai.usage.reasoning.output_tokens"
INPUT_AUDIO_TOKENS: Final = "gen_ai.usage.audio.input_tokens"
OUTPUT_AUDIO_TOKENS: Final = "gen_ai.usage.audio.output_tokens"
COST_AMOUNT: Final = "gen_ai.usage.cost.amount"
COST_CURRENCY: Final = "gen_ai.usage.cost.currency"
COST_SOURCE: Final = "gen_ai.usage.cost.source"
AGENT_NAME: Final = "gen_ai.agent.name"
TOOL_NAME: Final = "gen_ai.tool.name"
WORKFLOW_NAME_GENAI: Final = "gen_ai.workflow.name"
TRACELOOP_KIND: Final = "traceloop.span.kind"
LITELLM_TOTAL_TOKENS: Final = "llm.usage.total_tokens"

# -- HTTP -------------------------------------------------------------------------------------------

SERVER_ADDRESS: Final = "server.address"
HTTP_METHOD: Final = "http.request.method"
HTTP_METHOD_BEFORE: Final = "http.method"
HTTP_ROUTE: Final = "http.route"
URL_TEMPLATE: Final = "url.template"
HTTP_METHODS: Final = frozenset(
    {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"}
)
#: The name of a span whose method is not among them.
HTTP_OTHER: Final = "HTTP"
WEBSOCKET: Final = "WEBSOCKET"

# -- general ------------------------------------------------------------------------------------------

ERROR_TYPE: Final = "error.type"
ERROR_CODE: Final = "error.code"
ERROR_RETRYABLE: Final = "error.retryable"
OUTCOME: Final = "somatrace.outcome"
SPAN_KIND: Final = "somatrace.kind"
#: Whether the answer of a model call came from a library's cache, so that nothing was sent.
CACHE_HIT: Final = "somatrace.cache_hit"
#: Where the tokens of a span without usage are counted: on a span below it, or above it.
USAGE_COUNTED: Final = "somatrace.usage_counted"
#: The version of the prices that a call's cost was computed with.
PRICE_TABLE: Final = "somatrace.price_table"
#: The instrumentation scope of the spans that a program makes through `span`.
SCOPE: Final = "somatrace"
#: How the scopes of OpenTelemetry's instrumentations begin.
INSTRUMENTATION_SCOPES: Final = "opentelemetry.instrumentation."
#: Marks an event declared through `event`; the guard removes it.
DECLARED: Final = "somatrace.declared"
#: The number of an exception event's place in its span's state; the guard removes it.
FAILURE: Final = "somatrace.failure"
GUARD_REMOVED: Final = "somatrace.guard.removed"
SERVICE_NAME: Final = "service.name"
SERVICE_VERSION: Final = "service.version"
SERVICE_INSTANCE: Final = "service.instance.id"
ENVIRONMENT: Final = "deployment.environment.name"
EXCEPTION_TYPE: Final = "exception.type"
EXCEPTION_MESSAGE: Final = "exception.message"
#: The place of a failure, on the exception event and on the span: Langfuse stores no exception events, but
#: shows this attribute in the observation's metadata.
EXCEPTION_STACKTRACE: Final = "exception.stacktrace"

#: kind -> its span attributes


class ShortTexts(dict[str, str]):
    """Attributes of a span that need no check: at most 8, with texts of at most 32 characters."""


KIND_ATTRIBUTES: Final[dict[str, ShortTexts]] = {
    kind: ShortTexts(
        {
            key: value
            for key, value in (
                (SPAN_KIND, kind),
                (OBSERVATION_TYPE, observation),
                (OPERATION, operation),
                (TRACELOOP_KIND, traceloop),
            )
            if value is not None
        }
    )
    for kind, (observation, operation, traceloop) in KINDS.items()
}

# -- headers ------------------------------------------------------------------------------------------

HEADER_TRACEPARENT: Final = "traceparent"
HEADER_TRACESTATE: Final = "tracestate"
HEADER_TAGS: Final = "x-somatrace-tags"
HEADER_CORRELATION: Final = "x-correlation-id"
HEADER_REQUEST: Final = "x-request-id"
