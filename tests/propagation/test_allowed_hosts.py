"""Hosts that receive headers: this machine, the cluster, and the configured list."""

from __future__ import annotations

import pytest

from somatrace import propagation


@pytest.mark.parametrize(
    "host",
    [
        "localhost", "LOCALHOST", "localhost.", "api.localhost", "127.0.0.1", "127.8.9.1", "::1", "[::1]",
        "::ffff:127.0.0.1", "slm-service", "redis_1", "orders.shop.svc", "orders.shop.svc.cluster.local",
        "orders.corp.internal",
    ],
)  # fmt: skip
def test_headers_go_to_this_machine_and_the_cluster(rules, host: str) -> None:
    assert propagation.may_carry(host)


@pytest.mark.parametrize(
    "host",
    [
        "", ".", "api.openai.com", "10.0.0.7", "192.168.1.2", "169.254.169.254", "0.0.0.0", "::", "fe80::1",
        "2130706433", "0x7f000001", "0x7f", "127.0.0.1.evil.com", "localhost.evil.com", "evilsvc.com",
        "svc.evil.io", "a b", "a/b",
        "user@localhost", "api.openai.com%00.svc", "fe80::1%x.svc", "evil.com/.internal",
        "xn--ls8h.la", "::ffff:8.8.8.8", "internal.evil.com",
    ],
)  # fmt: skip
def test_headers_do_not_go_to_other_hosts(rules, host: str) -> None:
    assert not propagation.may_carry(host)


def test_the_list_accepts_hosts_domains_and_ports(rules) -> None:
    rules(
        propagate_to=(
            "api.example.com",
            "*.example.org",
            "gw.example.net:8443",
            "[2001:db8::1]:80",
            "10.0.0.7",
        )
    )
    assert propagation.may_carry("api.example.com", 443)
    assert propagation.may_carry("API.example.com.")
    assert propagation.may_carry("a.b.example.org")
    assert propagation.may_carry("gw.example.net", 8443)
    assert propagation.may_carry("2001:db8::1", 80)
    assert propagation.may_carry("10.0.0.7")
    assert propagation.may_carry("localhost"), "the list adds to the machine and the cluster"
    assert not propagation.may_carry("example.org")
    assert not propagation.may_carry("evil.com%00.example.org")
    assert not propagation.may_carry("evilexample.org")
    assert not propagation.may_carry("gw.example.net", 443)
    assert not propagation.may_carry("sub.api.example.com")
