"""Hosts that may receive tags and trace context."""

from __future__ import annotations

import re
from ipaddress import IPv6Address, ip_address
from typing import Final

_INTERNAL_SUFFIXES: Final = (".localhost", ".svc", ".cluster.local", ".internal")
_LABEL: Final = re.compile(r"[a-z_](?:[a-z0-9_-]*[a-z0-9_])?")
_NUMERIC: Final = re.compile(r"0x[0-9a-f]*")
#: Other characters, such as `%`, end the name for some resolvers, so the suffix would prove nothing.
_NAME: Final = re.compile(r"[a-z0-9_.-]+")


def is_internal(host: str) -> bool:
    """Whether `host` is this machine or a name that only a cluster's own resolver knows.

    A private address such as 10.0.0.7 is not internal: it may belong to anyone. Names that a resolver
    would parse as a number (`2130706433`, `0x7f000001`) are not names.
    """
    name = _plain(host)
    try:
        address = ip_address(name)
    except ValueError:
        pass
    else:
        mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
        return (mapped or address).is_loopback
    if name.endswith(_INTERNAL_SUFFIXES):
        return _NAME.fullmatch(name) is not None
    return _LABEL.fullmatch(name) is not None and _NUMERIC.fullmatch(name) is None


def matches(pattern: str, host: str, port: int | None) -> bool:
    """Whether `host` (and `port`, if the pattern has one) matches a pattern.

    Patterns look like `api.example.com`, `*.example.org` or `[::1]:8080`.
    """
    name, _, wanted_port = _split_port(pattern)
    if wanted_port and wanted_port != str(port):
        return False
    plain = _plain(host)
    if name.startswith("*."):
        return (
            plain.endswith(name[1:].lower()) and len(plain) > len(name) - 1 and bool(_NAME.fullmatch(plain))
        )
    return plain == _plain(name)


def _plain(host: str) -> str:
    return host.strip().lower().removeprefix("[").removesuffix("]").removesuffix(".")


def _split_port(pattern: str) -> tuple[str, str, str]:
    if pattern.startswith("["):
        name, _, rest = pattern.partition("]")
        return name, ":", rest.removeprefix(":")
    return pattern.partition(":")
