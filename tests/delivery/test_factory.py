"""For whom batches wait on disk."""

from __future__ import annotations

import base64

from somatrace.config import Target
from somatrace.delivery.factory import owner_of


def target(kind: str, user: str) -> Target:
    basic = base64.b64encode(f"{user}:".encode()).decode()
    return Target(kind, "https://host/v1/traces", headers={"Authorization": f"Basic {basic}"})  # type: ignore[arg-type]


def test_the_public_key_of_langfuse_tells_its_projects_apart() -> None:
    assert owner_of("svc", target("langfuse", "pk-lf-1"))["key"] == "pk-lf-1"


def test_a_user_name_that_may_be_a_token_is_a_hash() -> None:
    one, other = (owner_of("svc", target("otlp", user)) for user in ("sk_live_secret", "another"))

    assert "secret" not in str(one)
    assert one != other
    assert owner_of("svc", Target("otlp", "https://host/v1/traces"))["key"] == ""
