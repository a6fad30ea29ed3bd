"""Parsers for URLs and headers, which validate them before anything is sent."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from somatrace import semconv
from somatrace.config.parsers import MAX_ITEMS, MAX_TEXT, BadValueError
from somatrace.runtime.internal_hosts import is_internal

MAX_HEADER_VALUE: Final = 16 * 1024
#: set by the transport itself; a duplicate would conflict
_TRANSPORT_HEADERS: Final = frozenset(
    {"host", "connection", "content-length", "content-type", "content-encoding", "transfer-encoding"}
)
_HEADER_NAME: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}"
_GRPC_PORTS: Final = {"http": 80, "https": 443, "": 4317}


def split_url(value: object) -> SplitResult:
    """The parts of an http or https URL with a host and without credentials."""
    word = value.strip() if isinstance(value, str) else ""
    need = "use a URL such as https://host:4318"
    if not word or len(word) > MAX_TEXT or not word.isascii() or not word.isprintable() or " " in word:
        raise BadValueError(need)
    try:
        parts = urlsplit(word)
        port_is_fine = parts.port != 0
    except ValueError:
        raise BadValueError(need) from None
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_is_fine:
        raise BadValueError(need)
    if "@" in parts.netloc:
        raise BadValueError("a URL must not contain a user or password: use headers or keys")
    if parts.fragment or "\\" in word:
        raise BadValueError(need)
    return parts


def endpoint(value: object) -> str:
    """An endpoint used unchanged; OTLP's path is added only if it has none."""
    parts = split_url(value)
    return (parts if parts.path not in ("", "/") else parts._replace(path="/v1/traces")).geturl()


def exact_endpoint(value: object) -> str:
    """`OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`: unchanged, with path "/" if it has none (OTLP exporter spec)."""
    parts = split_url(value)
    return (parts if parts.path else parts._replace(path="/")).geturl()


def base_endpoint(value: object) -> str:
    """`OTEL_EXPORTER_OTLP_ENDPOINT`: a base to which the signal's path is appended (OTLP exporter spec)."""
    parts = split_url(value)
    return parts._replace(path=parts.path.rstrip("/") + "/v1/traces").geturl()


def langfuse_url(value: object) -> str:
    """Langfuse's OTLP URL from a host, a host with a path prefix, or any leading part of the URL."""
    parts = split_url(value)
    path = parts.path.rstrip("/")
    for known in ("/api/public/otel/v1/traces", "/api/public/otel", "/api/public"):
        path = path.removesuffix(known)
    return parts._replace(path=path.rstrip("/") + semconv.LANGFUSE_OTLP_PATH, query="").geturl()


def grpc_address(value: object) -> tuple[str, bool | None]:
    """`host:port` of a gRPC endpoint, and whether its scheme means "without TLS" (None: no scheme)."""
    word = value.strip() if isinstance(value, str) else ""
    schemeless = "://" not in word
    parts = split_url("http://" + word if schemeless else word)
    scheme = "" if schemeless else parts.scheme
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{host}:{parts.port or _GRPC_PORTS[scheme]}", None if schemeless else scheme == "http"


def clear_text_abroad(url: str) -> bool:
    """Whether `url` is plain http to a host name outside this machine and the cluster."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    is_address = ":" in host or host.replace(".", "").isdigit()
    return parts.scheme == "http" and not is_address and not is_internal(host)


def headers(value: object) -> dict[str, str]:
    """Headers from a mapping, or from `name=value,name=value` with percent-encoded values (OTLP spec).

    Names are lowercased. Headers with control characters or invalid names, and headers that the
    transport sets itself, are skipped.
    """
    if isinstance(value, Mapping):
        pairs = [
            given if all(isinstance(part, str) for part in given) else ("", "") for given in value.items()
        ]
    elif isinstance(value, str):
        split = (part.partition("=") for part in value.split(",") if part.strip())
        pairs = [
            (unquote(name.strip()), unquote(content.strip()) if eq else "\0") for name, eq, content in split
        ]
    else:
        raise BadValueError("use name=value,name=value")
    good = {name.lower(): content for name, content in pairs if _is_header(name, content)}
    bad = sum(not _is_header(name, content) for name, content in pairs)
    if bad or len(pairs) > MAX_ITEMS:
        advice = (
            "use name=value,name=value, percent-encoded, printable ASCII, and none that the transport sets"
        )
        raise BadValueError(f"{bad} of {len(pairs)} headers ignored: {advice}", kept=good)
    return good


def _is_header(name: str, content: str) -> bool:
    return (
        re.fullmatch(_HEADER_NAME, name) is not None
        and name.lower() not in _TRANSPORT_HEADERS
        and len(content) <= MAX_HEADER_VALUE
        and content.isascii()
        and content.isprintable()
    )


def basic_credentials(headers: Mapping[str, str]) -> tuple[str, str] | None:
    """User and password of Basic authentication: of Langfuse, the public and the secret key."""
    import base64
    import binascii

    authorization = next((value for name, value in headers.items() if name.lower() == "authorization"), "")
    scheme, _, encoded = authorization.partition(" ")
    try:
        user, colon, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return (user, password) if scheme.lower() == "basic" and colon else None
