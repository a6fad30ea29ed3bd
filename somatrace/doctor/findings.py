"""The table of doctor's findings: each with its level, its text and advice.

docs/troubleshooting.md explains each finding; a test compares the two. `finding` fills in `{…}`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

#: ok and note require no action; wrong sets exit code 1; unknown (a check that could not run) sets 3.
Level = Literal["ok", "note", "wrong", "unknown"]


class FindingKind(NamedTuple):
    """The level, text and advice of one kind of finding; `detail`: shown only with `--all`."""

    level: Level
    text: str
    advice: str = ""
    detail: bool = False


KINDS: Final[dict[str, FindingKind]] = {
    # -- settings
    "problem": FindingKind(
        "wrong", "setting: {what}", "fix it where it is set; docs/configuration.md lists every setting"
    ),
    "unused": FindingKind("note", "{variable} has no effect: {why}"),
    "policy": FindingKind(
        "wrong", "content policy: {what}", "fix the policy file; until then it grants no content"
    ),
    "prices": FindingKind(
        "wrong", "prices: {what}", "fix the price file; `somatrace prices --check` names each line"
    ),
    # -- the target
    "off": FindingKind("note", "tracing is disabled by {variable}"),
    "nothing_sent": FindingKind("note", "nothing is sent: the target is none ({variable})"),
    "console": FindingKind("note", "spans are printed to the service's console ({variable})"),
    "local_default": FindingKind("note", "nothing configured: spans go to the local store at {where}"),
    "local": FindingKind("ok", "spans go to the local store at {where} ({variable})"),
    "no_directory": FindingKind(
        "wrong",
        "there is no writable directory for the local store, so spans are lost",
        "set SOMATRACE_DATA_DIR to a directory that this user can write to",
    ),
    "store": FindingKind(
        "ok",
        "the store contains {spans} spans in {traces} traces, {size} of at most {most}, kept for {days} days",
    ),
    "store_empty": FindingKind("ok", "the store is empty; at most {most}, kept for {days} days"),
    "store_broken": FindingKind(
        "wrong",
        "the local store cannot be read: {what}",
        "services move a damaged file aside automatically; check the directory's owner and free disk space",
    ),
    "waiting": FindingKind(
        "ok",
        "while the target is unavailable, spans wait on disk in {directory}, at most "
        "{size} (SOMATRACE_SPOOL_MAX_BYTES) for {days} days (SOMATRACE_SPOOL_MAX_DAYS)",
        detail=True,
    ),
    "waiting_in_memory": FindingKind(
        "ok",
        "while the target is unavailable, spans wait in memory, at most "
        "{size} (SOMATRACE_QUEUE_BYTES) plus {spans} not yet encoded (SOMATRACE_QUEUE_SIZE)",
        detail=True,
    ),
    "nowhere_to_wait": FindingKind(
        "note",
        "no directory is writable: while the target is unavailable, spans wait in memory only and are lost "
        "with the process",
        "set SOMATRACE_DATA_DIR to a directory that is, or SOMATRACE_SPOOL_MAX_BYTES=0 if that is intended",
    ),
    "answers": FindingKind(
        "ok",
        "the target answers: {what} in {milliseconds} ms to an export without spans, which does not test "
        "its storage (--send does, with one span)",
    ),
    "rejects_nothing": FindingKind(
        "unknown",
        "the target answers {what}; no span was sent, so whether it accepts spans is not known",
        "`somatrace doctor --send` tries one span; if the target rejects that too, check that {variable} is "
        "its address",
    ),
    "sent": FindingKind("ok", "the target has accepted one span: trace {trace_id}, tenant {tenant}"),
    "dns": FindingKind(
        "wrong",
        "DNS: {what}",
        "check the host name; inside a cluster use the full name, service.namespace.svc",
    ),
    "refused": FindingKind(
        "wrong",
        "connection failed: {what}",
        "check the host and port, that the server is running, and that network policies allow the connection",
    ),
    "tls": FindingKind(
        "wrong",
        "TLS: {what}",
        "for a private CA, set SOMATRACE_CERTIFICATE to its file; check the host name and whether the URL "
        "needs https:// or http://",
    ),
    "auth": FindingKind(
        "wrong",
        "the target rejected the keys: {what}",
        "check that the public and secret key belong to each other, to this host and to this project",
    ),
    "path": FindingKind(
        "wrong",
        "{url} does not accept traces: {what}",
        "Langfuse accepts traces at /api/public/otel/v1/traces, a collector at /v1/traces",
    ),
    "elsewhere": FindingKind(
        "wrong",
        "{url} does not accept traces: {what}; try {better}",
        "/v1/traces is appended to OTEL_EXPORTER_OTLP_ENDPOINT; "
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is used unchanged",
    ),
    "server": FindingKind(
        "wrong",
        "the target failed: {what}",
        "check its logs; Langfuse returns 500 when its object store is unavailable, and hangs without Redis",
    ),
    "rejects": FindingKind(
        "wrong",
        "the target rejects spans, and services keep theirs until it accepts some: {what}",
        "check that {variable} is the address of the target, and what a proxy makes of headers and "
        "compression (SOMATRACE_COMPRESSION=none)",
    ),
    "dead_letters": FindingKind(
        "note",
        "{spans} spans that their target did not accept are kept in {directory}",
        "`somatrace drain --dead` lists them, each with the answer",
    ),
    "clear_text": FindingKind(
        "wrong",
        "spans go to {host} unencrypted: plain http to a host outside this machine and cluster",
        "use https://",
    ),
    "grpc_missing": FindingKind(
        "wrong",
        "OTLP over gRPC is configured, but grpcio is not installed, so nothing is sent",
        "`pip install 'somatrace[grpc]'`, or OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf",
    ),
    # -- installed packages
    "python": FindingKind(
        "ok",
        "Python {version}, somatrace {somatrace}, all {count} dependencies in their supported ranges",
        detail=True,
    ),
    "outside": FindingKind(
        "wrong",
        "{package} {version} is outside the supported range {range}",
        "`pip install '{package}{range}'`",
    ),
    "missing": FindingKind("wrong", "{package} is not installed", "`pip install '{package}{range}'`"),
    "no_metadata": FindingKind(
        "unknown",
        "somatrace is not installed as a package, so dependency versions cannot be checked",
        "install it with `pip install` instead of adding its source to the path",
    ),
    "sdk_unknown": FindingKind(
        "note",
        "somatrace does not know opentelemetry-sdk {version}: spans are the SDK's own, which cost several "
        "times as much as somatrace's",
    ),
    "agent": FindingKind(
        "note",
        "this process runs under opentelemetry-instrument; services started that way have two span pipelines",
    ),
    "library": FindingKind(
        "ok",
        "{library} {version}: instrumented by {instrumentor} {its_version} when imported",
        detail=True,
    ),
    "library_own": FindingKind(
        "ok", "{library} {version}: makes its own spans, which are guarded and tagged", detail=True
    ),
    "library_without": FindingKind(
        "note",
        "{library} {version} is installed but not instrumented: that needs `pip install {instrumentor}`",
    ),
    "library_namespace": FindingKind(
        "wrong",
        "{library} {version} is not instrumented: its module {module} has become a namespace package, "
        "which {instrumentor} {its_version} does not know",
        "install an older {library}, or a newer {instrumentor}",
    ),
    "library_outside": FindingKind(
        "wrong",
        "{library} {version} is outside the range {range} that {instrumentor} {its_version} supports",
        "`pip install '{library}{range}'`, or a newer {instrumentor}",
    ),
    # -- the service, with --app
    "app": FindingKind("ok", "{app} is loaded and traced as {service}"),
    "app_failed": FindingKind(
        "unknown",
        "{app} could not be loaded: {what}",
        "run doctor where the service's server is started, with the same environment",
    ),
    "app_slow": FindingKind("unknown", "{app} did not load within {seconds} s", "raise --timeout"),
    "app_startup": FindingKind(
        "note", "the startup of {app} failed, so anything it sets up later was not checked: {what}"
    ),
    "app_untraced": FindingKind(
        "wrong",
        "{app} does not call init_tracing, so nothing in it is traced",
        "add init_tracing(...) to its main.py",
    ),
    "app_problem": FindingKind(
        "wrong", "in {app}: {what}", "`status().problems` in the service reports the same"
    ),
    "unprotected": FindingKind(
        "wrong",
        "in {app} the content guard does not cover a tracer provider, so nothing is exported: {what}",
        "call init_tracing before anything else sets a tracer provider",
    ),
    "own_exporters": FindingKind(
        "note",
        "FastAPI adds its own exporters to {app}: FASTAPI_OTEL_AUTO_CONFIGURE, or telemetry= in the code. "
        "They receive guarded copies of spans, or none if they send to the same target",
    ),
    "sdk_spans": FindingKind(
        "note",
        "in {app} spans are those of the OpenTelemetry SDK, which cost several times as much as somatrace's "
        "own: something sets a tracer provider before init_tracing, or somatrace does not know this SDK",
    ),
    "ignored": FindingKind("note", "{app} ignored incoming headers: {what}"),
    "imported": FindingKind("ok", "{library} {version} imported, instrumented: yes{more}"),
    "imported_without": FindingKind(
        "wrong",
        "{library} {version} imported, instrumented: no ({why})",
        "its calls create no spans until this is fixed",
    ),
    "bypass": FindingKind(
        "wrong",
        "litellm exports through its own callback {callback}, bypassing the content guard",
        "remove it from litellm.success_callback and failure_callback; its calls are instrumented anyway",
    ),
}


@dataclass(frozen=True)
class DoctorFinding:
    """One finding with its text filled in."""

    kind: str
    level: Level
    text: str
    advice: str

    @property
    def detail(self) -> bool:
        """Whether it is shown only with `--all`."""
        return KINDS[self.kind].detail


def finding(kind: str, **fields: object) -> DoctorFinding:
    """Create a finding of this kind from its template."""
    template = KINDS[kind]
    text, advice = template.text.format(**fields), template.advice.format(**fields)
    return DoctorFinding(kind, template.level, text, advice)
