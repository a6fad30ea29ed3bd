"""Everything smoke can say: each outcome with its exit code, its message and what to do about it.

docs/troubleshooting.md explains each of them; a test compares the two. `{…}` is filled in when it is said.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Outcome(NamedTuple):
    """How a run ends: exit code, message, and what to do ("" when there is nothing to do)."""

    code: int
    message: str
    advice: str = ""


OUTCOMES: Final[dict[str, Outcome]] = {
    "ok": Outcome(
        0, "the trace arrived: tags, model, usage and parents are right, no planted content is in it"
    ),
    "broken": Outcome(
        1,
        "the trace could not be made: {what}",
        "run it again with SOMATRACE_DEBUG=1 in the environment; then report it as a bug of somatrace",
    ),
    "off": Outcome(
        2,
        "nothing would be sent: {what}",
        "`somatrace doctor` shows which setting says so",
    ),
    "model": Outcome(
        2,
        "the model call failed: {what}",
        "with --real check --model, OPENAI_BASE_URL and OPENAI_API_KEY; without it, free memory and ports",
    ),
    "dns": Outcome(
        10,
        "DNS: {what}",
        "check the host in {setting}; in a cluster use the full name, service.namespace.svc",
    ),
    "refused": Outcome(
        11,
        "no connection: {what}",
        "check host and port in {setting}, that the server runs, and that a network policy lets you through",
    ),
    "tls": Outcome(
        12,
        "TLS: {what}",
        "give a private authority's file in SOMATRACE_CERTIFICATE; check the name, and https:// against http://",
    ),
    "auth": Outcome(
        13,
        "the keys are refused: {what}",
        "check that public and secret key belong together, to this host and to this project",
    ),
    "unread": Outcome(
        13,
        "the trace was accepted, but the keys may not read it back: {what}",
        "give this command keys of a project, which may read; services need no such right",
    ),
    "path": Outcome(
        14,
        "no traces are taken at {url}: {what}",
        "correct the path in {setting}; Langfuse takes them at /api/public/otel/v1/traces, "
        "a collector at /v1/traces",
    ),
    "elsewhere": Outcome(
        14,
        "no traces are taken at {url}: {what}; {better} is likely right",
        "correct the path in {setting}; OTEL_EXPORTER_OTLP_ENDPOINT gets /v1/traces appended, "
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is used as it is",
    ),
    "server": Outcome(
        15,
        "the target fails: {what}",
        "look into its log; Langfuse answers 500 when its object store is away, and hangs without Redis",
    ),
    "unsent": Outcome(
        16,
        "nothing left the process: {what}",
        "`somatrace doctor` shows what stands in the way; often another tracer provider was set before ours",
    ),
    "invisible": Outcome(
        16,
        "accepted, but not visible within {seconds} s: {seen} of {sent} spans",
        "look at the worker and its queue; Langfuse takes spans before it stores them. Or raise --timeout",
    ),
    "unreadable": Outcome(
        16,
        "accepted, but it could not be read back within {seconds} s: {what}",
        "the API for reading fails while the one for writing works: look into the server's log",
    ),
    "unverifiable": Outcome(
        17,
        "accepted, and not verifiable: {what}",
        "what was sent is in order; look for the trace id above in the backend itself",
    ),
    "unsound": Outcome(
        18,
        "what was sent is incomplete: {what}",
        "`somatrace doctor` shows what is instrumented, and how",
    ),
    "incomplete": Outcome(
        18,
        "read back, but not as it was sent: {what}",
        "something between here and there drops it: a collector's processors, a gateway, another version",
    ),
    "leaked": Outcome(
        19,
        "content leaked: {what} in the bytes that were sent",
        "stop exporting (SOMATRACE_TARGET=none) and report it as a security bug of somatrace",
    ),
    "shown": Outcome(
        19,
        "content leaked: {what} in what was read back, though not in the bytes that were sent",
        "something else in this environment exports as well; `somatrace doctor` names it",
    ),
}

NOTES: Final[dict[str, str]] = {
    "problem": "setting: {what}",
    "by_hand": "openai is not installed, so the model call is made by hand: span(kind='llm') and usage",
    "no_server": "the bundled model server needs somatrace[local], so the model call is made by hand",
    "sampling": "sampling is set aside for this trace; services keep {what} of theirs",
    "content": "the content policy grants tenant {tenant} {mode}, so what it lets through is not looked for",
    "plain_http": "the langfuse package is not installed, so the trace is read back by plain HTTP",
    "older": "this server has no v2 read API, so the trace is read back through v1",
    "no_usage": "the provider reported no usage, so none is looked for",
}


class EndedError(Exception):
    """The run ends with this outcome."""

    def __init__(self, outcome: str, **fields: object) -> None:
        super().__init__(outcome)
        self.outcome = outcome
        self.fields = fields


class NotYetError(Exception):
    """The trace cannot be read at the moment; the message says why, "" when it is just not there."""
