"""Trust by address: trusted networks, and headers that make an address unreliable."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Network = IPv4Network | IPv6Network

#: Headers that indicate a proxy between the caller and this service, real or claimed. Servers such as uvicorn
#: even overwrite the peer address with X-Forwarded-For.
_FORWARDING: Final = frozenset(
    {
        "cdn-loop",
        "cf-connecting-ip",
        "cf-ray",
        "client-ip",
        "fastly-client-ip",
        "fly-client-ip",
        "forwarded",
        "proxy-client-ip",
        "true-client-ip",
        "via",
        "wl-proxy-client-ip",
        "x-appengine-user-ip",
        "x-azure-clientip",
        "x-azure-socketip",
        "x-client-ip",
        "x-cluster-client-ip",
        "x-envoy-external-address",
        "x-forwarded",
        "x-original-forwarded-for",
        "x-original-host",
        "x-originating-ip",
        "x-proxyuser-ip",
        "x-real-ip",
        "x-remote-addr",
        "x-remote-ip",
    }
)


def networks(words: Iterable[str]) -> tuple[Network, ...]:
    """The valid networks in `words`; invalid entries are skipped, so they trust no caller."""
    return _networks(tuple(words))


@lru_cache(maxsize=64)
def _networks(words: tuple[str, ...]) -> tuple[Network, ...]:
    parsed: list[Network] = []
    for word in words:
        try:
            network = ip_network(word, strict=False)
        except ValueError:
            continue
        # unmap IPv4-mapped networks, as `_address` does for addresses
        mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
        inner = network.prefixlen - 96
        parsed.append(network if mapped is None or inner < 0 else IPv4Network((mapped, inner)))
    return tuple(parsed)


def forwards(name: str) -> bool:
    """Whether `name` (lower case) is a header set by proxies."""
    return name in _FORWARDING or name.startswith("x-forwarded-")


def is_inside(peer: object, trusted: Iterable[Network]) -> bool:
    """Whether `peer`, an address or a pair of address and port, is in one of the networks."""
    address = _address(peer)
    if address is None:
        return False
    return any(address.version == network.version and address in network for network in trusted)


def _address(peer: object) -> IPv4Address | IPv6Address | None:
    word = peer[0] if isinstance(peer, (tuple, list)) and peer else peer
    if not isinstance(word, str):
        return None
    try:
        address = ip_address(word.partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address
