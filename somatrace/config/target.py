"""Choice of the target, as a whole: keys of one backend are never sent to another."""

from __future__ import annotations

import base64
from typing import Final, cast

from somatrace import semconv
from somatrace.config import urls_and_headers
from somatrace.config.parsers import BadValueError, items
from somatrace.config.reader import DEFAULT, SettingsReader
from somatrace.config.settings import Target, TargetKind

EXPORTER: Final = "OTEL_TRACES_EXPORTER"
#: names of OpenTelemetry's own exporters that mean OTLP
_OTLP_EXPORTERS: Final = frozenset({"otlp", "otlp_proto_http", "otlp_proto_grpc"})
_DEFAULT_URL: Final = "http://localhost:4318/v1/traces"
_DEFAULT_GRPC: Final = "http://localhost:4317"
_CHOOSE: Final = "set SOMATRACE_TARGET to langfuse or otlp to choose"


def choose(reader: SettingsReader) -> Target:
    """The target: SOMATRACE_TARGET > OTEL_TRACES_EXPORTER > Langfuse keys > OTLP endpoint > local store."""
    kind = _kind(reader)
    if kind == "langfuse":
        return _langfuse(reader)
    if kind == "otlp":
        return _otlp(reader)
    return Target(kind, unusable=reader.problem_of("target") if kind == "local" else "")


def _kind(reader: SettingsReader) -> TargetKind:
    explicit = reader.read("target")
    if explicit is not None:
        return cast("TargetKind", explicit)
    exporter = reader.variable(EXPORTER, _exporter, None)
    if exporter in ("none", "console"):
        reader.sources["target"] = EXPORTER
        return cast("TargetKind", exporter)
    kind = _configured(reader, over_otlp=exporter != "otlp")
    if kind == "local" and exporter == "otlp":
        reader.sources["target"] = EXPORTER
        return "otlp"
    return kind


def _exporter(value: object) -> str:
    """`OTEL_TRACES_EXPORTER`, possibly a list; unknown exporters are ignored (spec: unknown enum values)."""
    given = ["otlp" if word in _OTLP_EXPORTERS else word for word in map(str.lower, items(value))]
    known = [word for word in ("otlp", "console", "none") if word in given]
    if len(set(given)) == 1 and known:
        return known[0]
    raise BadValueError(
        "use one of otlp, console, none; a process has one target", kept=known[0] if known else None
    )


def _configured(reader: SettingsReader, *, over_otlp: bool) -> TargetKind:
    """The target implied by keys and endpoints; `over_otlp`: Langfuse wins a tie with an OTLP endpoint."""
    keys = [*reader.candidates("langfuse_public_key")[:1], *reader.candidates("langfuse_secret_key")[:1]]
    hosts, endpoints = reader.candidates("langfuse_host"), reader.candidates("endpoint")
    if len(keys) == 1:
        reader.sources["target"] = keys[0].source
        return "langfuse"
    if endpoints and not (keys and hosts):
        if keys:
            reader.report(
                "LANGFUSE_BASE_URL",
                "Langfuse keys are set without a host and ignored: spans go to the OTLP endpoint",
            )
        reader.sources["target"] = endpoints[0].source
        return "otlp"
    if not keys:
        return "local"
    if endpoints:
        langfuse = min(candidate.rank for candidate in (*keys, hosts[0]))
        wins = langfuse <= endpoints[0].rank if over_otlp else langfuse < endpoints[0].rank
        winner = "langfuse" if wins else "otlp"
        reader.report(
            "SOMATRACE_TARGET", f"Langfuse and an OTLP endpoint are both set, {winner} is used: {_CHOOSE}"
        )
        if not wins:
            reader.sources["target"] = endpoints[0].source
            return "otlp"
    reader.sources["target"] = (hosts or keys)[0].source
    return "langfuse"


def _langfuse(reader: SettingsReader) -> Target:
    """The Langfuse target; `none` without both keys, the local store without a usable host."""
    public, private = reader.read("langfuse_public_key"), reader.read("langfuse_secret_key")
    missing = [
        variable
        for variable, key in (("LANGFUSE_PUBLIC_KEY", public), ("LANGFUSE_SECRET_KEY", private))
        if not key
    ]
    if missing:
        problem = reader.report(
            " and ".join(missing), "Langfuse needs both keys: nothing is sent until both are readable"
        )
        return Target("none", unusable=problem)
    if public.startswith("sk-lf-") or private.startswith("pk-lf-") or ":" in public:
        problem = reader.report(
            reader.label("langfuse_public_key"), "public and secret key are swapped: nothing is sent"
        )
        return Target("none", unusable=problem)
    url = reader.read("langfuse_host")
    if not url:
        problem = reader.problem_of("langfuse_host")
        if reader.sources["langfuse_host"] == DEFAULT:
            problem = reader.report(
                "LANGFUSE_BASE_URL",
                "Langfuse keys are set without a host: spans go to the local store until it is set",
            )
        return Target("local", unusable=problem)
    _warn_about_plain_http(reader, reader.label("langfuse_host"), url)
    if any(candidate.raw == "grpc" for candidate in reader.candidates("protocol", ours=True)):
        reader.read("protocol", ours=True)
        reader.report(reader.label("protocol"), "Langfuse accepts only http/protobuf, which is used instead")
    reader.sources["protocol"] = reader.sources["insecure"] = DEFAULT
    extra = {
        name: content
        for name, content in reader.read("headers", ours=True).items()
        if name != "authorization"
    }
    authorization = "Basic " + base64.b64encode(f"{public}:{private}".encode()).decode()
    return _target(
        reader,
        "langfuse",
        url,
        # OTEL_* headers belong to an OTLP backend and may hold its keys
        headers={
            **extra,
            "Authorization": authorization,
            "x-langfuse-ingestion-version": semconv.LANGFUSE_INGESTION_VERSION,
            "x-langfuse-sdk-name": "somatrace",
            "x-langfuse-sdk-version": semconv.VERSION,
        },
        # if an OTLP endpoint is set too, the OTEL_* certificates belong to that backend
        ours=bool(reader.candidates("endpoint")),
    )


def _otlp(reader: SettingsReader) -> Target:
    """An OTLP backend; the local store if its endpoint cannot be used."""
    protocol = reader.read("protocol")
    if protocol == "grpc":
        return _grpc(reader)
    url = reader.read("endpoint")
    if not url and reader.candidates("endpoint"):
        return Target("local", unusable=reader.problem_of("endpoint"))
    headers = reader.read("headers")
    if headers:
        _warn_about_plain_http(reader, reader.label("headers"), url)
    reader.sources["insecure"] = DEFAULT
    return _target(reader, "otlp", url or _DEFAULT_URL, headers=headers)


def _grpc(reader: SettingsReader) -> Target:
    """OTLP/gRPC: any endpoint is `host:port`, without TLS if its scheme is http (OTLP exporter spec)."""
    endpoints = reader.candidates("endpoint")
    reader.sources["endpoint"] = endpoints[0].source if endpoints else DEFAULT
    reader.used.update(candidate.name for candidate in endpoints[:1])
    try:
        address, by_scheme = urls_and_headers.grpc_address(endpoints[0].raw if endpoints else _DEFAULT_GRPC)
    except BadValueError as bad:
        return Target("local", unusable=reader.report(reader.label("endpoint"), str(bad)))
    insecure = reader.read("insecure") if by_scheme is None else by_scheme
    headers = reader.read("headers")
    return _target(reader, "otlp", address, headers=headers, grpc=True, insecure=insecure)


def _target(
    reader: SettingsReader,
    kind: TargetKind,
    url: str,
    *,
    headers: dict[str, str],
    grpc: bool = False,
    insecure: bool = False,
    ours: bool = False,
) -> Target:
    """A network target, with the settings common to all of them."""
    compression = reader.read("compression")
    if kind == "langfuse" and compression == "deflate":
        reader.report(reader.label("compression"), "Langfuse accepts gzip or none: gzip is used")
        compression = "gzip"
    certificate, key = reader.read("client_certificate", ours=ours), reader.read("client_key", ours=ours)
    if bool(certificate) != bool(key):
        reader.report(
            reader.label("client_certificate" if certificate else "client_key"),
            "client certificate and key must both be set: neither is used",
        )
        certificate = key = ""
    return Target(
        kind=kind,
        url=url,
        protocol="grpc" if grpc else "http/protobuf",
        headers=headers,
        timeout=reader.read("timeout"),
        compression=compression,
        certificate=reader.read("certificate", ours=ours),
        client_certificate=certificate,
        client_key=key,
        insecure=insecure,
    )


def _warn_about_plain_http(reader: SettingsReader, setting: str, url: str) -> None:
    if url and urls_and_headers.clear_text_abroad(url):
        reader.report(setting, "the URL is plain http, so keys and spans are sent unencrypted: use https")
