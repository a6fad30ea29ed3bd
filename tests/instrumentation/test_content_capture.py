"""The switch for content that the instrumentors' functions are given."""

from __future__ import annotations

import sys
from types import ModuleType

from somatrace import bind
from somatrace.instrumentation.content_capture import ContentCapture


def module_with_a_switch(name: str) -> ModuleType:
    module = ModuleType(name)
    exec("def should_send_prompts(): return True", vars(module))
    return module


def test_each_gate_asks_the_object_that_it_belongs_to_for_the_current_tenant(monkeypatch):
    packages = {name: module_with_a_switch(name) for name in ("made_up_one", "made_up_two")}
    for name, module in packages.items():
        monkeypatch.setitem(sys.modules, name, module)
    one, two = packages.values()
    ContentCapture(lambda tenant: tenant == "acme").gate("made_up_one")
    ContentCapture(lambda tenant: tenant == "initech").gate("made_up_two")

    with bind(tenant_id="acme"):
        assert (one.should_send_prompts(), two.should_send_prompts()) == (True, False)
    with bind(tenant_id="initech"):
        assert (one.should_send_prompts(), two.should_send_prompts()) == (False, True)


def test_content_is_not_wanted_if_the_decision_fails():
    def fail(_tenant: str | None) -> bool:
        raise RuntimeError

    assert ContentCapture(fail).wanted() is False
