"""The demo's processes, all on loopback and configured through environment variables."""

from __future__ import annotations

import base64
import json
import os
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from services.demo.processes import Processes, held_ports, wait_for_file, wait_for_port

ROOT = Path(__file__).resolve().parents[2]
TENANTS = Path(__file__).with_name("tenants.toml")
#: What the model server's model would cost, so that the table and the page show money.
PRICES = Path(__file__).with_name("prices.json")
#: The services in start order, with the version that each reports.
SERVICES = {
    "recall-service": "0.9.7",
    "slm-service": "3.1.0",
    "orchestrator": "1.4.2",
    "gateway-api": "2.8.0",
}
#: Prefixes of variables that could redirect the demo's spans, prompts or requests.
EXCLUDED = (
    "SOMATRACE_",
    "OTEL_",
    "LANGFUSE_",
    "TRACELOOP_",
    "TRACE_CONTENT",
    "OPENAI_",
    "LITELLM_",
    "PYTHONPATH",
)
PROXIES = ("http_proxy", "https_proxy", "all_proxy")


@dataclass(frozen=True)
class Ingester:
    """The running local ingester; `page` is a one-time link to its web page."""

    url: str
    public_key: str
    secret_key: str = field(repr=False)
    page: str = field(default="", repr=False)

    def settings(self) -> dict[str, str]:
        """The environment that makes it the target, as with any Langfuse server."""
        return {
            "LANGFUSE_BASE_URL": self.url,
            "LANGFUSE_PUBLIC_KEY": self.public_key,
            "LANGFUSE_SECRET_KEY": self.secret_key,
        }


def clean_environment() -> dict[str, str]:
    """The caller's environment without variables that would affect the demo."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(EXCLUDED) and name.lower() not in PROXIES
    }
    # without this, importing litellm downloads a price table
    return {**kept, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "PYTHONUNBUFFERED": "1"}


def start_ingester(processes: Processes, data: Path) -> Ingester:
    """Start the local ingester with its store in `data`."""
    ready = data / "ingester.json"
    arguments = ["local", "--port", "0", "--data-dir", str(data), "--ready-file", str(ready)]
    child = processes.start(
        "ingester", [sys.executable, "-m", "somatrace", *arguments], env=clean_environment()
    )
    found = json.loads(wait_for_file(child, ready))
    ready.unlink()  # it contains the secret key and a link that opens the page
    return Ingester(found["url"], found["public_key"], found["secret_key"], found.get("page", ""))


def start_model(processes: Processes, data: Path, *arguments: str) -> str:
    """Start the model server with further arguments, and return its base URL."""
    ready = data / "model.url"
    command = [sys.executable, "-m", "somatrace.modelserver", "--port", "0", "--ready-file", str(ready)]
    child = processes.start("model", [*command, *arguments], env=clean_environment())
    return wait_for_file(child, ready).strip() + "/v1"


def data_dir(data: Path) -> Path:
    """Where the services keep what waits, and their cost ledger."""
    return data / "spool"


def start_services(processes: Processes, data: Path, model_url: str, tracing: Mapping[str, str]) -> str:
    """Start the four services with the settings in `tracing` and return the gateway's URL."""
    with held_ports(len(SERVICES)) as numbers:
        ports = dict(zip(SERVICES, numbers, strict=True))
        urls = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
        env = {
            **clean_environment(),
            "MODEL_URL": model_url,
            "RECALL_URL": urls["recall-service"],
            "SLM_URL": urls["slm-service"],
            "ORCHESTRATOR_URL": urls["orchestrator"],
            "TENANTS_FILE": str(TENANTS),
            "SOMATRACE_DATA_DIR": str(data_dir(data)),
            "SOMATRACE_PRICES_FILE": str(PRICES),
            # a key for this run, so that services trust each other's signed tags
            "SOMATRACE_TRUST_KEYS": "demo:" + base64.b64encode(secrets.token_bytes(32)).decode(),
            **tracing,
        }
        children = {
            name: processes.start(
                name,
                [sys.executable, "-m", "uvicorn", "app.main:app", "--port", str(port), "--no-access-log"],
                env={"SOMATRACE_SERVICE_VERSION": SERVICES[name], **env},
                cwd=ROOT / "services" / name,
            )
            for name, port in ports.items()
        }
        for name, child in children.items():
            wait_for_port(child, ports[name])
    return urls["gateway-api"]


@contextmanager
def running(data: Path, tracing: Mapping[str, str]) -> Iterator[str]:
    """Run the model server and services without an ingester and yield the gateway's URL."""
    with Processes(data / "logs") as processes:
        yield start_services(processes, data, start_model(processes, data), tracing)
