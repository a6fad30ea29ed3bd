"""One measured process: `run.py '{"system": "sdk", "work": "paced", …}'` prints its figures as JSON."""

from __future__ import annotations

import json
import os
import sys

import calls
import costs
import paced
import single
from systems import SYSTEMS

WORKS = {
    "paced": paced.paced,
    "tasks": paced.tasks,
    "threads": paced.threads,
    "attributes": paced.attributes,
    "block": single.block,
    "disabled": single.disabled,
    "queued": single.queued,
    "burst": single.burst,
    "redaction": single.redaction,
    "calls": calls.calls,
    "price": costs.price,
    "pricing": costs.pricing,
    "ledger": costs.ledger,
}


def main() -> None:
    given = json.loads(sys.argv[1])
    name = given.pop("system")
    work = given.pop("work")
    system = SYSTEMS[name](**given)
    if work == "calls" and name == "sdk":
        calls.instrument(given["client"])
    figures: dict[str, object] = dict(WORKS[work](system, name=name, **given))
    figures["delivered"] = system.delivered()
    print("\n" + json.dumps(figures), flush=True)
    os._exit(0)  # what a system does at exit is not part of any row


main()
