"""Hosts that may receive tags and trace context."""

from __future__ import annotations

from somatrace.runtime.internal_hosts import NAME, bare_name


def matches(pattern: str, host: str, port: int | None) -> bool:
    """Whether `host` (and `port`, if the pattern has one) matches a pattern.

    Patterns look like `api.example.com`, `*.example.org` or `[::1]:8080`.
    """
    name, _, wanted_port = _split_port(pattern)
    if wanted_port and wanted_port != str(port):
        return False
    bare = bare_name(host)
    if name.startswith("*."):
        return bare.endswith(name[1:].lower()) and len(bare) > len(name) - 1 and bool(NAME.fullmatch(bare))
    return bare == bare_name(name)


def _split_port(pattern: str) -> tuple[str, str, str]:
    if pattern.startswith("["):
        name, _, rest = pattern.partition("]")
        return name, ":", rest.removeprefix(":")
    return pattern.partition(":")
