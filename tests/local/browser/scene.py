"""Sample data for screenshots: one day of a platform with several tenants and services."""

from __future__ import annotations

import math
import random
from contextlib import closing
from typing import Any

from somatrace.guard.removal_notes import RemovalNote, note
from somatrace.local.process_report import TenantReport
from somatrace.local.store.process_reports import ProcessReport
from somatrace.local.store.store import Store
from tests.support.local_server import NOW, Export, Running

SECOND = 1_000_000_000
HOUR = 3600 * SECOND
TENANTS = ("acme", "globex", "initech", "umbrella")
WORKFLOWS = ("answer-question", "triage-ticket", "summarise-call")
VERSIONS = {
    "gateway-api": "2.8.0",
    "orchestrator": "1.4.2",
    "recall-service": "0.9.7",
    "slm-service": "3.1.0",
}
ASKED = note([RemovalNote("gen_ai.prompt.0.content", 1204, "policy none")])
ANSWERED = note(
    [
        RemovalNote("gen_ai.prompt.0.content", 6203, "policy none"),
        RemovalNote("gen_ai.prompt.1.content", 1148, "policy none"),
        RemovalNote("gen_ai.completion.0.content", 412, "policy none"),
    ]
)
MODEL = {"gen_ai.operation.name": "chat", "gen_ai.system": "openai", "gen_ai.request.temperature": 0.2}


class Scene:
    """Spans of four services, each in its own export."""

    def __init__(self) -> None:
        self.rng = random.Random(7)
        self.exports = {
            name: Export(
                "somatrace",
                **{"service.name": name, "service.version": version, "service.instance.id": f"{name}-7d9f"},
            )
            for name, version in VERSIONS.items()
        }

    def workflow(self, start: int, tenant: str, name: str, *, seconds: float, failed: str = "") -> Any:
        """Add a workflow: gateway, orchestrator, retrieval steps, two model calls; returns its root."""
        rng = self.rng
        tags = {
            "langfuse.trace.name": name,
            "langfuse.trace.metadata.tenant_id": tenant,
            "langfuse.trace.metadata.workflow_name": name,
            "langfuse.trace.metadata.correlation_id": f"req-{rng.getrandbits(40):010x}",
            "langfuse.trace.tags": [f"tenant:{tenant}", f"workflow:{name}"],
        }

        def part(
            service: str, label: str, parent: Any, when: tuple[float, float], kind: str, **more: Any
        ) -> Any:
            error = more.pop("error", None)
            attributes = {**tags, "langfuse.observation.type": kind, **more.pop("also", {}), **more}
            return self.exports[service].span(
                label,
                parent=parent,
                start_ns=start + int(when[0] * seconds * SECOND),
                seconds=when[1] * seconds,
                failed=error,
                attributes=attributes,
            )

        def call(model: str, parent: Any, when: tuple[float, float], removed: str) -> Any:
            used = {
                "gen_ai.request.model": model,
                "gen_ai.usage.input_tokens": rng.randrange(600, 4200),
                "gen_ai.usage.output_tokens": rng.randrange(40, 480),
                "gen_ai.usage.cost": rng.uniform(0.0004, 0.006),
                "somatrace.guard.removed": removed,
            }
            return part("slm-service", f"chat {model}", parent, when, "generation", also=MODEL | used)

        passed = f"{failed}, passed on" if failed else None
        code = {"error.type": "UpstreamError", "error.code": "shard_away", "error.retryable": True}
        root = part("gateway-api", "POST /v1/assist", None, (0, 1), "span", error=passed)
        chain = part("orchestrator", name, root, (0.01, 0.97), "chain", error=passed)
        agent = part(
            "orchestrator", "plan-and-answer", chain, (0.03, 0.93), "agent", agent_id="planner", error=passed
        )
        call("small-1", agent, (0.05, 0.18), ASKED)
        found = part("recall-service", "retrieve", agent, (0.25, 0.3), "retriever", error=passed)
        embedded = {"gen_ai.operation.name": "embeddings", "gen_ai.usage.input_tokens": 240}
        for number in range(8):
            part(
                "recall-service",
                "embed chunk",
                found,
                (0.26 + number * 0.012, 0.011),
                "embedding",
                also=embedded,
            )
        for number, shard in enumerate(("shard 1", "shard 2", "shard 3")):
            last = bool(failed) and number == 2
            part(
                "recall-service",
                f"search {shard}",
                found,
                (0.36, 0.06 + 0.04 * number),
                "tool",
                **({"error": failed, "also": code} if last else {}),
            )
        call("large-2", agent, (0.57, 0.36), ANSWERED)
        part("orchestrator", "check answer", agent, (0.935, 0.02), "guardrail")
        return root

    def day(self) -> None:
        """Add about five hundred workflows of the last 23 hours, more of them in working hours."""
        rng = self.rng
        for number in range(520):
            at = (number + rng.random()) / 520 * 23
            if rng.random() > 0.55 + 0.45 * math.sin((at - 6) / 23 * 2 * math.pi):
                continue
            tenant = rng.choices(TENANTS, (6, 3, 2, 1))[0]
            broken = 0.25 if tenant == "globex" and 15 < at < 17 else 0.015
            self.workflow(
                NOW - int((23.2 - at) * HOUR),
                tenant,
                rng.choice(WORKFLOWS),
                seconds=rng.lognormvariate(0.9, 0.45),
                failed="index shard 3 did not answer within 2 s" if rng.random() < broken else "",
            )

    def send(self, server: Running) -> None:
        for export in self.exports.values():
            server.send(export)


def set_up(server: Running) -> str:
    """Fill a server with one day; returns the path of its latest trace, which failed."""
    scene = Scene()
    scene.day()
    root = scene.workflow(
        NOW - 300 * SECOND,
        "globex",
        "triage-ticket",
        seconds=4.2,
        failed="index shard 3 did not answer within 2 s",
    )
    scene.send(server)
    reports(server)
    return f"/trace/{root.trace_id.hex()}"


def reports(server: Running) -> None:
    """Store tracing reports of three of the four services; the gateway sends over the network."""
    with closing(Store(server.data_dir)) as store:
        store.report(
            "orchestrator",
            "a/211",
            ProcessReport(
                9120, 9116, 4, {"not_sampled": 310}, {"fastapi": "on", "httpx": "on", "openai": "on"}
            ),
        )
        store.report(
            "recall-service",
            "a/305",
            ProcessReport(
                6240,
                6102,
                0,
                {"queue_full": 138},
                {"fastapi": "on", "redis": "on", "qdrant": "on"},
                tenants={"acme": TenantReport(0, 5002, {"queue_full": 138}), "globex": TenantReport(0, 1100)},
            ),
        )
        store.report(
            "slm-service",
            "a/77",
            ProcessReport(
                3020,
                3020,
                0,
                {},
                {"fastapi": "on", "transformers": "off: needs `pip install somatrace[transformers]`"},
                ("SOMATRACE_SAMPLE_RATE: use a number from 0 to 1",),
            ),
        )
