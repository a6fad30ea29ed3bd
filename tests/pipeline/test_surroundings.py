"""The policy of a span's own tenant decides, whichever spans are guarded at the same time."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator

import pytest

from somatrace.guard import Guard
from somatrace.guard.policy.model import Grant
from somatrace.pipeline.guarded_copy import SpanCopier
from tests.guard.test_guard import made

GRANTS = {"masked": Grant("redacted"), "open": Grant("full")}


@pytest.fixture
def _threads_alternate() -> Iterator[None]:
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.usefixtures("_threads_alternate")
@pytest.mark.parametrize("both_in_batches", [False, True])
def test_a_span_read_on_another_thread_does_not_decide_about_a_batch(*, both_in_batches: bool) -> None:
    guard = Guard(resolve=lambda tenant: GRANTS.get(str(tenant), Grant("none")))
    copier = SpanCopier(guard, service_name="svc", default_tenant="unknown", resource=lambda found: found)
    masked, opened = (made({}, tags={"tenant_id": tenant}) for tenant in GRANTS)
    over = threading.Event()

    def read() -> None:  # as processors of others do where a span starts
        while not over.is_set():
            if both_in_batches:
                with copier.batch():
                    copier.surroundings(opened, opened._somatrace_state)
            copier.surroundings(opened, opened._somatrace_state)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        modes = set()
        for _ in range(40):
            with copier.batch():
                for _ in range(500):
                    modes.add(copier.surroundings(masked, masked._somatrace_state).content_filter.mode)
    finally:
        over.set()
        reader.join()

    assert modes == {"redacted"}


def test_two_grants_of_one_tenant_in_a_batch_are_none() -> None:
    grants = {"acme": Grant("full")}
    guard = Guard(resolve=lambda tenant: grants.get(str(tenant), Grant("none")))
    copier = SpanCopier(guard, service_name="svc", default_tenant="unknown", resource=lambda found: found)
    first, second = (made({}, tags={"tenant_id": "acme"}) for _ in range(2))

    with copier.batch() as found:
        copier.surroundings(first, first._somatrace_state)
        alone = dict(found.fingerprints)
        grants["acme"] = Grant("redacted")
        copier.surroundings(second, second._somatrace_state)

    assert alone == {"acme": Grant("full").fingerprint}
    assert found.fingerprints == {"acme": ""}
