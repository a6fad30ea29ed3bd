"""Terms of the policy: where those of one tenant apply, and from when."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from somatrace.context.span_state import SpanState, attach_state
from somatrace.context.tags import Tags
from somatrace.guard import Guard
from somatrace.guard.policy.model import Grant, PolicyEntry
from somatrace.pipeline.guarded_copy import SpanCopier
from tests.guard.test_guard import made
from tests.support.otlp_server import otlp_server
from tests.support.programs import otlp_env, run_program


def copier(grants: dict[str | None, Grant]) -> SpanCopier:
    guard = Guard(resolve=lambda tenant: grants.get(tenant, Grant("none")))
    return SpanCopier(guard, service_name="svc", default_tenant="unknown", resource=lambda found: found)


def with_terms(*terms: str) -> Grant:
    return PolicyEntry("none", terms=terms).grant()


def scope_of(made_by: SpanCopier, tenant: str, scope: str = "falcon.client") -> str:
    copy = made_by.copy(made({}, scope=scope, tags={"tenant_id": tenant}))
    assert copy.instrumentation_scope is not None
    return copy.instrumentation_scope.name


def test_terms_of_a_reloaded_policy_apply_to_scopes_seen_before() -> None:
    grants: dict[str | None, Grant] = {}
    made_by = copier(grants)
    span = made({}, scope="falcon.client")

    before = made_by.copy(span).instrumentation_scope
    grants["acme"] = grants[None] = with_terms("falcon")
    during = made_by.copy(span).instrumentation_scope
    grants.clear()
    after = made_by.copy(span).instrumentation_scope

    assert before is not None
    assert during is not None
    assert after is not None
    assert [before.name, during.name, after.name] == ["falcon.client", "[TERM].client", "falcon.client"]


def test_a_tenants_own_terms_apply_to_the_scopes_of_its_spans_only() -> None:
    made_by = copier({"acme": with_terms("falcon"), "globex": with_terms("client")})

    for _ in range(2):  # the second time everything is cached
        names = [scope_of(made_by, tenant) for tenant in ("acme", "globex", "initech")]

        assert names == ["[TERM].client", "falcon.[TERM]", "falcon.client"]


def test_terms_apply_to_version_and_attributes_of_a_scope() -> None:
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    made_by = copier({"acme": with_terms("falcon")})
    span = made({})
    span._instrumentation_scope = InstrumentationScope("app", "1-falcon", None, {"falcon.count": 3})

    scope = made_by.copy(span).instrumentation_scope

    assert scope is not None
    assert (scope.version, dict(scope.attributes or {})) == ("1-[TERM]", {"[TERM].count": 3})


def test_a_name_with_a_term_in_its_scope_is_still_one_of_the_program() -> None:
    made_by = copier({"acme": with_terms("tests")})

    copy = made_by.copy(made({}, name="two words", scope=__name__))

    assert copy.name == "two words"
    assert copy.instrumentation_scope is not None
    assert copy.instrumentation_scope.name == "[TERM].pipeline.test_terms"


def test_a_root_that_is_labeled_with_a_tenant_later_loses_its_terms() -> None:
    made_by = copier({"acme": with_terms("falcon")})
    span = made({"gen_ai.workflow.name": "run falcon"}, name="run falcon", scope=__name__)
    state = SpanState(Tags({"team": "falcon"}), None)
    attach_state(span, state)
    state.set_label(Tags({"tenant_id": "acme"}))

    copy = made_by.copy(span)

    assert copy.name == "run [TERM]"
    attributes = dict(copy.attributes or {})
    assert attributes["tenant_id"] == "acme"
    assert "falcon" not in str(attributes)


PROGRAM = """
from somatrace import bind, flush, init_tracing, span, status
from somatrace.config import Config

def terms(*words):
    return {"content": "none", "terms": list(words)}

policy = {"tenants": {"acme": terms("falcon"), "globex": terms("eagle")}}
init_tracing("shop", config=Config(content_policy=policy))
with bind(tenant_id="acme"), span("falcon rollout", kind="workflow"), span("eagle of acme", kind="agent"):
    with bind(tenant_id="globex"):
        with span("falcon at globex"), span("inner"):
            pass
    with bind(tenant_id=None), span("nobody"):
        pass
with bind(tenant_id="initech"), span("falcon rollout", kind="workflow"):
    pass
assert flush(60), status()
"""


@pytest.mark.slow
def test_names_inherited_from_another_tenants_block_lose_that_tenants_terms(tmp_path: Path) -> None:
    with otlp_server() as server:
        run_program(PROGRAM, otlp_env(server.url), directory=tmp_path)
        spans = {(found.attributes["tenant_id"], found.name): found.attributes for found in server.spans}
    for key in [("globex", "falcon at globex"), ("globex", "inner"), ("unknown", "nobody")]:
        assert spans[key]["workflow_name"] == "[TERM] rollout"
        assert "falcon" not in json.dumps(spans[key]["langfuse.trace.tags"])
    assert spans["globex", "inner"]["agent_id"] == "[TERM] of acme"
    assert spans["unknown", "nobody"]["agent_id"] == "eagle of acme"
    assert spans["acme", "eagle of acme"]["workflow_name"] == "[TERM] rollout"
    assert spans["initech", "falcon rollout"]["workflow_name"] == "falcon rollout"
