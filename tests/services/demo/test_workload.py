"""The demo's workload."""

from __future__ import annotations

from collections import Counter

from services.demo.workload import plan


def test_the_plan_is_deterministic():
    assert plan(100) == plan(100)


def test_a_hundred_workflows_are_shared_by_three_tenants():
    assert Counter(tenant.id for tenant, _ in plan(100)) == {"acme": 50, "globex": 30, "initech": 20}


def test_every_tenant_asks_plain_streamed_failing_and_tool_questions():
    planned = plan(100)

    for name in ("acme", "globex", "initech"):
        asked = [question for tenant, question in planned if tenant.id == name]
        assert {question.stream for question in asked} == {True, False}
        assert {question.status for question in asked} >= {200, 404}
        assert {question.workflow for question in asked} == {"support-answer", "order-status", "price-quote"}


def test_even_twelve_workflows_are_a_mix():
    asked = [question for _, question in plan(12)]

    assert {question.status for question in asked} == {200, 404, 503}
    assert {question.llm_calls for question in asked} == {1, 3, 4}
    assert {tenant.id for tenant, _ in plan(12)} == {"acme", "globex", "initech"}


def test_no_key_appears_in_a_tenants_repr():
    tenant = plan(1)[0][0]

    assert tenant.api_key not in repr(tenant)
