"""Time limits on calls that cannot be interrupted."""

from __future__ import annotations

import socket
import threading

import pytest

from somatrace.config import Target
from somatrace.delivery.probe import Overdue, bounded, probe
from somatrace.delivery.status_rules import http_rule


def test_results_and_exceptions_are_passed_on():
    assert bounded(lambda: 7, 5) == 7
    with pytest.raises(KeyError):
        bounded(lambda: {}["nothing"], 5)


def test_work_over_the_limit_raises_overdue():
    over = threading.Event()
    with pytest.raises(Overdue):
        bounded(over.wait, 0.05)
    over.set()


def test_a_resolver_that_never_answers_is_a_dns_fault(monkeypatch):
    over = threading.Event()

    def silent(*_: object, **__: object) -> None:
        over.wait(60)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", silent)

    found = probe(Target("otlp", "http://collector.example.com/v1/traces"), 0.1)
    over.set()

    assert found.fault == "dns"
    assert "collector.example.com was not resolved within 0.1 s" in found.message


@pytest.mark.parametrize(
    ("statuses", "fault"),
    [
        ((200, 202, 204), None),
        ((401, 403, 407), "auth"),
        ((301, 308, 404, 405, 410, 415), "path"),
        ((400, 413, 429, 500, 502, 503), "server"),
    ],
)
def test_each_status_has_one_fault(statuses, fault):
    assert {http_rule(status).fault for status in statuses} == {fault}
