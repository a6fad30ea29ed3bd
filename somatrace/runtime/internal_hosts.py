"""Hosts that belong to this machine or its cluster: a rule that security decisions share."""

from __future__ import annotations

import re
from ipaddress import IPv6Address, ip_address
from typing import Final

_INTERNAL_SUFFIXES: Final = (".localhost", ".svc", ".cluster.local", ".internal")
_LABEL: Final = re.compile(r"[a-z_](?:[a-z0-9_-]*[a-z0-9_])?")
_NUMERIC: Final = re.compile(r"0x[0-9a-f]*")
#: Other characters, such as `%`, end the name for some resolvers, so the suffix would prove nothing.
NAME: Final = re.compile(r"[a-z0-9_.-]+")


def is_internal(host: str) -> bool:
    """Whether `host` is this machine or a name that only a cluster's own resolver knows.

    A private address such as 10.0.0.7 is not internal: it may belong to anyone. Names that a resolver
    would parse as a number (`2130706433`, `0x7f000001`) are not names.
    """
    name = bare_name(host)
    try:
        address = ip_address(name)
    except ValueError:
        pass
    else:
        mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
        return (mapped or address).is_loopback
    if name.endswith(_INTERNAL_SUFFIXES):
        return NAME.fullmatch(name) is not None
    return _LABEL.fullmatch(name) is not None and _NUMERIC.fullmatch(name) is None


def bare_name(host: str) -> str:
    """`host` in lower case, without brackets, white space or a final dot."""
    return host.strip().lower().removeprefix("[").removesuffix("]").removesuffix(".")
