"""What `make load` sends: which tenant asks what, when, under which request id."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from services.demo.workload import Question, Tenant, questions

WORKFLOWS = ("order-status", "price-quote", "support-answer")
#: Finds a request id in a request to the model server.
LABEL = r"load-[a-z]+-[a-j]+-(?:order-status|price-quote|support-answer)"
NAMES = ("acme", "globex", "initech", "umbrella", "hooli")
#: Questions whose model call fails: retried with success, or for good.
FAILING = ("urgent", "drill")
SEED = 24


@dataclass(frozen=True)
class Arrival:
    """One request, sent `at` seconds after the start. `request` is its id: the session of its spans, and part
    of its question, by which the model server tells whose call it serves without looking at spans."""

    at: float
    request: str
    tenant: Tenant
    question: Question

    @property
    def text(self) -> str:
        return f"{self.question.text} [{self.request}]"


def tenants(number: int) -> list[Tenant]:
    """The first `number` tenants, with a key each."""
    names = [*NAMES, *(f"tenant{_letters(each)}" for each in range(number))][:number]
    return [Tenant(name, f"load-{name}", 1) for name in names]


def write_tenants(who: Sequence[Tenant], file: Path) -> Path:
    """Write the gateway's file of tenants."""
    tables = [f'[[tenant]]\nid = "{tenant.id}"\napi_key = "{tenant.api_key}"\n' for tenant in who]
    file.write_text("\n".join(tables), encoding="utf-8")
    return file


def arrivals(
    who: Sequence[Tenant], workflows: Sequence[str], rate: float, errors: float, minutes: float
) -> list[Arrival]:
    """Requests at `rate` a second, a share of `errors` with failing model calls; the same on every run."""
    chance = random.Random(SEED)
    asked = questions()
    words = itertools.cycle(FAILING)
    planned = []
    for number in range(max(1, round(rate * 60 * minutes))):
        workflow = workflows[number % len(workflows)]
        tenant = who[number // len(workflows) % len(who)]
        of_workflow = [question for question in asked if question.workflow == workflow]
        good = [question for question in of_workflow if not _fails(question)]
        if chance.random() < errors:
            answered = [question for question in good if question.status == 200]
            question = _failing(chance.choice(answered), next(words))
        else:
            question = chance.choice(good)
        request = f"load-{tenant.id}-{_letters(number)}-{workflow}"
        planned.append(Arrival(number / rate, request, tenant, question))
    return planned


def _fails(question: Question) -> bool:
    return any(word in question.text.lower() for word in FAILING)


def _failing(question: Question, word: str) -> Question:
    """The question with the word at which the slm-service asks a model that fails."""
    status = 503 if word == "drill" else 200
    return replace(question, text=f"{question.text} ({word})", status=status)


def _letters(number: int) -> str:
    """The number in letters: the model server reads digits in a question as facts."""
    return str(number).translate(str.maketrans("0123456789", "abcdefghij"))
