"""Everything doctor can say: each finding with how bad it is, its text, and what to do about it.

docs/troubleshooting.md explains each of them; a test compares the two. `{…}` is filled in when it is said.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

#: ok and note need nothing done; wrong makes the exit code 1; unknown, what could not be looked at, 2.
Level = Literal["ok", "note", "wrong", "unknown"]


class FindingKind(NamedTuple):
    """One finding's level, text and advice."""

    level: Level
    text: str
    advice: str = ""


KINDS: Final[dict[str, FindingKind]] = {
    # -- settings
    "problem": FindingKind(
        "wrong", "setting: {what}", "correct it where it is set; docs/configuration.md has them all"
    ),
    "unused": FindingKind("note", "{variable} has no effect: {why}"),
    "policy": FindingKind(
        "wrong", "content policy: {what}", "correct the policy file; until then nothing is granted"
    ),
    # -- the target
    "off": FindingKind("note", "tracing is off: {variable} says so"),
    "nothing_sent": FindingKind("note", "nothing is sent: the target is none ({variable})"),
    "console": FindingKind("note", "spans are printed by the service itself ({variable})"),
    "local_default": FindingKind("note", "nothing configured: spans go to the local store at {where}"),
    "local": FindingKind("ok", "spans go to the local store at {where} ({variable})"),
    "no_directory": FindingKind(
        "wrong",
        "no directory for the local store can be written, so spans are lost",
        "name one in SOMATRACE_DATA_DIR that this user may write",
    ),
    "store": FindingKind(
        "ok", "it holds {spans} spans of {traces} traces, {size} of at most {most}, kept {days} days"
    ),
    "store_empty": FindingKind("ok", "nothing is in it yet; at most {most}, kept {days} days"),
    "store_broken": FindingKind(
        "wrong",
        "the local store cannot be read: {what}",
        "a service sets a damaged file aside by itself; check the directory's owner and free space",
    ),
    "waiting": FindingKind(
        "ok",
        "spool: none on disk; while the target is away spans wait in memory, {size} (SOMATRACE_QUEUE_BYTES) "
        "and {spans} not yet encoded (SOMATRACE_QUEUE_SIZE) at most",
    ),
    "answers": FindingKind("ok", "the target answers: {what}, in {milliseconds} ms"),
    "dns": FindingKind(
        "wrong", "DNS: {what}", "check the host; in a cluster use the full name, service.namespace.svc"
    ),
    "refused": FindingKind(
        "wrong",
        "no connection: {what}",
        "check host and port, that the server runs, and that a network policy lets you through",
    ),
    "tls": FindingKind(
        "wrong",
        "TLS: {what}",
        "give a private authority's file in SOMATRACE_CERTIFICATE; check the name, and https:// against http://",
    ),
    "auth": FindingKind(
        "wrong",
        "the keys are refused: {what}",
        "check that public and secret key belong together, to this host and to this project",
    ),
    "path": FindingKind(
        "wrong",
        "no traces are taken at {url}: {what}",
        "Langfuse takes them at /api/public/otel/v1/traces, a collector at /v1/traces",
    ),
    "elsewhere": FindingKind(
        "wrong",
        "no traces are taken at {url}: {what}; {better} is likely right",
        "OTEL_EXPORTER_OTLP_ENDPOINT gets /v1/traces appended, "
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is used as it is",
    ),
    "server": FindingKind(
        "wrong",
        "the target fails: {what}",
        "look into its log; Langfuse answers 500 when its object store is away, and hangs without Redis",
    ),
    "clear_text": FindingKind(
        "wrong",
        "spans go to {host} unencrypted: plain http to a host outside this machine and the cluster",
        "use https://",
    ),
    "grpc_missing": FindingKind(
        "wrong",
        "OTLP over gRPC is asked for and grpcio is not installed, so nothing is sent",
        "`pip install 'somatrace[grpc]'`, or OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf",
    ),
    # -- what is installed
    "python": FindingKind(
        "ok", "Python {version}, somatrace {somatrace}, {count} dependencies in their ranges"
    ),
    "outside": FindingKind(
        "wrong",
        "{package} {version} is outside the supported range {range}",
        "`pip install '{package}{range}'`",
    ),
    "missing": FindingKind("wrong", "{package} is not installed", "`pip install '{package}{range}'`"),
    "no_metadata": FindingKind(
        "unknown",
        "somatrace is not installed as a package, so versions cannot be compared",
        "`pip install` it instead of putting its source on the path",
    ),
    "old_pip": FindingKind(
        "note", "pip {version} needs many minutes for somatrace[traceloop]: take pip 24 or newer, or uv"
    ),
    "distro": FindingKind(
        "note",
        "opentelemetry-distro {version} is installed: under opentelemetry-instrument its exporter gets "
        "guarded copies, and none where it would send to the same target",
    ),
    "agent": FindingKind(
        "note", "this runs under opentelemetry-instrument; services so started have two pipelines"
    ),
    "library": FindingKind(
        "ok", "{library} {version}: instrumented by {instrumentor} {its_version} once it is imported"
    ),
    "library_without": FindingKind(
        "note",
        "{library} {version} is installed and not instrumented: that needs `pip install {instrumentor}`",
    ),
    "library_outside": FindingKind(
        "wrong",
        "{library} {version} is outside the range {range} that {instrumentor} {its_version} instruments",
        "`pip install '{library}{range}'`, or a newer {instrumentor}",
    ),
    # -- the service, with --app
    "app": FindingKind("ok", "{app} is loaded and traced as {service}"),
    "app_failed": FindingKind(
        "unknown",
        "{app} could not be loaded: {what}",
        "run this where the service's own server is started, with the same environment",
    ),
    "app_slow": FindingKind("unknown", "{app} was not loaded within {seconds} s", "raise --timeout"),
    "app_startup": FindingKind(
        "note", "the start-up of {app} failed, so what it does then was not seen: {what}"
    ),
    "app_untraced": FindingKind(
        "wrong",
        "{app} does not call init_tracing, so nothing of it is traced",
        "add init_tracing(...) to its main.py",
    ),
    "app_problem": FindingKind(
        "wrong", "in {app}: {what}", "`status().problems` in the service says the same"
    ),
    "unprotected": FindingKind(
        "wrong",
        "in {app} the content guard does not cover a tracer provider, so nothing is exported: {what}",
        "call init_tracing before anything else sets a tracer provider",
    ),
    "own_exporters": FindingKind(
        "note",
        "FastAPI adds exporters of its own to {app}: FASTAPI_OTEL_AUTO_CONFIGURE, or telemetry= in the code. "
        "They get guarded copies, and none where they would send to the same target",
    ),
    "ignored": FindingKind("note", "in {app} headers of others were ignored: {what}"),
    "imported": FindingKind("ok", "{library} {version} imported, instrumented: yes{more}"),
    "imported_without": FindingKind(
        "wrong",
        "{library} {version} imported, instrumented: no, because {why}",
        "its calls make no spans until then",
    ),
    "bypass": FindingKind(
        "wrong",
        "litellm exports by its own callback {callback}, past the content guard",
        "remove it from litellm.success_callback and failure_callback; its calls are instrumented anyway",
    ),
}


@dataclass(frozen=True)
class DoctorFinding:
    """One thing that was found, ready to be shown."""

    kind: str
    level: Level
    text: str
    advice: str


def finding(kind: str, **fields: object) -> DoctorFinding:
    """The finding of this kind, its places filled in."""
    found = KINDS[kind]
    return DoctorFinding(kind, found.level, found.text.format(**fields), found.advice.format(**fields))
