"""The table of smoke's outcomes: each with its exit code, message and advice.

docs/troubleshooting.md explains each outcome; a test compares the two. `RunLog` fills in `{…}`.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Outcome(NamedTuple):
    """One way a run ends: exit code, message and advice ("" when no action is needed)."""

    code: int
    message: str
    advice: str = ""


OUTCOMES: Final[dict[str, Outcome]] = {
    "ok": Outcome(
        0,
        "the trace arrived: tags, model, usage and parents are correct, and it contains no planted content",
    ),
    "broken": Outcome(
        1,
        "the trace could not be created: {what}",
        "raise --timeout if the machine is busy; otherwise rerun with SOMATRACE_DEBUG=1 in the environment, "
        "then report it as a somatrace bug",
    ),
    "off": Outcome(
        2,
        "nothing would be sent: {what}",
        "`somatrace doctor` shows the setting responsible",
    ),
    "unusable": Outcome(
        2,
        "the configured target is not used: {what}",
        "until this setting is fixed, spans of services go to the local store, or nowhere without keys",
    ),
    "model": Outcome(
        2,
        "the model call failed: {what}",
        "with --real, check --model, OPENAI_BASE_URL and OPENAI_API_KEY; without it, free memory and ports",
    ),
    "dns": Outcome(
        10,
        "DNS: {what}",
        "check the host name in {setting}; inside a cluster use the full name, service.namespace.svc",
    ),
    "refused": Outcome(
        11,
        "connection failed: {what}",
        "check the host and port in {setting}, that the server is running, and that network policies allow "
        "the connection",
    ),
    "tls": Outcome(
        12,
        "TLS: {what}",
        "for a private CA, set SOMATRACE_CERTIFICATE to its file; check the host name and whether the URL "
        "needs https:// or http://",
    ),
    "auth": Outcome(
        13,
        "the target rejected the keys: {what}",
        "check that the public and secret key belong to each other, to this host and to this project",
    ),
    "unread": Outcome(
        13,
        "the trace was accepted, but the keys cannot read it back: {what}",
        "run this command with project keys, which have read access; services do not need it",
    ),
    "path": Outcome(
        14,
        "{url} does not accept traces: {what}",
        "fix the path in {setting}; Langfuse accepts traces at /api/public/otel/v1/traces, "
        "a collector at /v1/traces",
    ),
    "elsewhere": Outcome(
        14,
        "{url} does not accept traces: {what}; try {better}",
        "fix the path in {setting}; /v1/traces is appended to OTEL_EXPORTER_OTLP_ENDPOINT, "
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is used unchanged",
    ),
    "server": Outcome(
        15,
        "the target failed: {what}",
        "check its logs; Langfuse returns 500 when its object store is unavailable, and hangs without Redis",
    ),
    "unsent": Outcome(
        16,
        "no span left the process: {what}",
        "`somatrace doctor` shows the cause; often another tracer provider was set before somatrace's",
    ),
    "invisible": Outcome(
        16,
        "accepted, but not visible within {seconds} s: {seen} of {sent} spans",
        "check the backend's worker and queue (Langfuse accepts spans, then stores them) or raise --timeout",
    ),
    "unreadable": Outcome(
        16,
        "accepted, but could not be read back within {seconds} s: {what}",
        "the read API fails while the write API works: check the server's logs",
    ),
    "unverifiable": Outcome(
        17,
        "accepted, but not verifiable: {what}",
        "the data sent is correct; look for the trace id above in the backend itself",
    ),
    "unsound": Outcome(
        18,
        "the data sent is incomplete: {what}",
        "`somatrace doctor` shows which libraries are instrumented, and how",
    ),
    "incomplete": Outcome(
        18,
        "the trace read back differs from the one sent: {what}",
        "something on the way changes it: a collector's processors, a gateway, another backend version",
    ),
    "leaked": Outcome(
        19,
        "content leaked: {what} in the bytes sent",
        "stop exporting (SOMATRACE_TARGET=none) and report it as a somatrace security bug",
    ),
    "shown": Outcome(
        19,
        "content leaked: {what} in the trace read back, but not in the bytes sent",
        "another exporter in this environment sends it; `somatrace doctor` names it",
    ),
}

NOTES: Final[dict[str, str]] = {
    "problem": "setting: {what}",
    "by_hand": "openai is not installed, so the model call is made by hand with span(kind='llm') and usage",
    "no_server": "the bundled model server needs somatrace[local], so the model call is made by hand",
    "sampling": "sampling is disabled for this trace; services sample at {what}",
    "content": "the content policy grants tenant {tenant} {mode}, so content it permits is not searched for",
    "plain_http": "the langfuse package is not installed, so the trace is read back over plain HTTP",
    "older": "this server has no v2 read API, so the trace is read back through v1",
    "no_usage": "the provider reported no usage, so usage is not checked",
}


class EndedError(Exception):
    """Ends the run with this outcome."""

    def __init__(self, outcome: str, **fields: object) -> None:
        super().__init__(outcome)
        self.outcome = outcome
        self.fields = fields


class NotYetError(Exception):
    """The trace cannot be read yet; the message gives the reason, "" when the trace is simply missing."""
