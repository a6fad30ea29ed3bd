"""What cannot be interrupted is waited for no longer than allowed."""

from __future__ import annotations

import socket
import threading

import pytest

from somatrace.config import Target
from somatrace.delivery.probe import Overdue, bounded, fault_of, probe


def test_what_the_work_returns_or_raises_comes_through():
    assert bounded(lambda: 7, 5) == 7
    with pytest.raises(KeyError):
        bounded(lambda: {}["nothing"], 5)


def test_work_that_takes_too_long_is_left_to_itself():
    over = threading.Event()
    with pytest.raises(Overdue):
        bounded(over.wait, 0.05)
    over.set()


def test_a_resolver_that_never_answers_is_a_fault_of_the_name(monkeypatch):
    over = threading.Event()

    def silent(*_: object, **__: object) -> None:
        over.wait(30)
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
def test_each_status_means_one_thing(statuses, fault):
    assert {fault_of(status) for status in statuses} == {fault}
