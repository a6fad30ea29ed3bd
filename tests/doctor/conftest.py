"""Fixtures that run doctor in this process with a given environment."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

import pytest

from somatrace.doctor import Diagnosis, DoctorOptions, examine

#: Planted in every secret setting; must not appear in any output.
CANARY = "SECRETCANARY77aa"
Doctor = Callable[..., Diagnosis]


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


#: Seconds for what answers, and for a service that loads: these only end a hang. A machine that has much
#: else to do takes several times as long as an idle one for the imports of a service.
PATIENCE = 120.0


@pytest.fixture
def doctor(monkeypatch: pytest.MonkeyPatch) -> Doctor:
    """Run doctor with the given environment."""

    def go(env: Mapping[str, str], **options: object) -> Diagnosis:
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        diagnosis = examine(DoctorOptions(**{"timeout": PATIENCE, **options}))  # type: ignore[arg-type]
        output = "\n".join([*diagnosis.lines(), diagnosis.as_json()])
        assert CANARY not in output
        assert "Traceback" not in output
        return diagnosis

    return go
