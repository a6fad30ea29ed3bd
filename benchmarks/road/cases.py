"""The measured programs: a system, its work, and the environment that it is started in."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

#: A closed port: nothing leaves the machine.
_CLOSED = "http://127.0.0.1:9"
#: Room for the SDK's batch processor, so that a paced run loses nothing.
_ROOMY = {"OTEL_BSP_MAX_QUEUE_SIZE": "16384"}
_LANGFUSE_KEYS = {"LANGFUSE_PUBLIC_KEY": "pk-lf-bench", "LANGFUSE_SECRET_KEY": "sk-lf-bench"}
_OTLP = {"OTEL_EXPORTER_OTLP_ENDPOINT": "{sink}"}

ENVIRONMENTS: dict[str, dict[str, str]] = {
    "none": {},
    "sdk": _OTLP | _ROOMY,
    "traceloop": {
        "TRACELOOP_BASE_URL": "{sink}",
        "TRACELOOP_API_KEY": "bench",
        "TRACELOOP_METRICS_ENABLED": "false",
    }
    | _ROOMY,
    "langfuse": {"LANGFUSE_BASE_URL": "{sink}"} | _LANGFUSE_KEYS | _ROOMY,
    "logfire": _ROOMY,
    "ours": {"LANGFUSE_HOST": "{sink}"} | _LANGFUSE_KEYS,
}
LOCAL: dict[str, str] = {}
PEERS = {"traceloop": "traceloop-sdk", "langfuse": "langfuse", "logfire": "logfire"}
NAMES = {"none": "without tracing", "sdk": "plain SDK", "ours": "somatrace", **PEERS}


@dataclass(frozen=True)
class Case:
    """One measured program. `environment` is set over the system's own; `checked`: every span must arrive."""

    system: str
    work: str
    options: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] | None = None
    further: dict[str, str] = field(default_factory=dict)
    checked: bool = True
    tree: Path | None = None

    @property
    def _own(self) -> dict[str, str]:
        return ENVIRONMENTS[self.system] if self.environment is None else self.environment

    @property
    def sends(self) -> bool:
        """Whether spans go to the sink."""
        return self.system == "logfire" or any("{sink}" in value for value in self._own.values())

    def variables(self, sink: str, directory: str) -> dict[str, str]:
        base = {
            "PATH": os.environ.get("PATH", ""),
            "HOME": directory,
            "SOMATRACE_DATA_DIR": directory,
            "NO_PROXY": "127.0.0.1",
            "HTTP_PROXY": _CLOSED,
            "HTTPS_PROXY": _CLOSED,
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "OPENAI_BASE_URL": f"{sink}/v1",
            "OPENAI_API_KEY": "sk-bench",
        }
        if self.tree is not None:
            base["PYTHONPATH"] = str(self.tree)
        further = self._own | self.further
        return base | {name: value.format(sink=sink) for name, value in further.items()}


def installed_peers() -> list[str]:
    return [peer for peer in PEERS if importlib.util.find_spec(peer) is not None]
