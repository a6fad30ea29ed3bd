"""Measure redaction speed against one big regular expression, and that hostile texts delay nobody.

The last table is about five spans, each with a text of 200 KB that makes detectors work as much as possible,
and one span of another tenant that ends right after them: the time until that one has been delivered.

Each figure is the best CPU time of several runs in this process, which excludes other load on the machine.
Absolute figures differ between machines; the limits apply to the ratios. Exits with 1 if one is missed.

    python benchmarks/redact.py [--rounds 7] [--texts 3]
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

from somatrace.guard import redact_text
from somatrace.guard.policy.resolver import PolicyResolver


def words(text: str) -> list[str]:
    return text.split()


WORDS = words(
    """
    the model answered that we should compare the results of both runs and then decide which of them is better
    for users in Berlin because every answer takes about two seconds and costs less than it did last year
    """
)
VALUES = (
    "ada.lovelace@example.com",
    "+49 151 23456789",
    "4111 1111 1111 1111",
    "DE89 3704 0044 0532 0130 00",
    "10.20.30.40",
    "password=hunter2-Zq81",
    "sk-proj-" + "aB3dE6gH" * 6,
    "postgres://app:s3cretpw@db.example.com/app",
)
#: A naive implementation: all patterns in one alternation, tried at every character.
NAIVE = re.compile(
    r"[\w.+%-]+@[\w-]+(?:\.[\w-]+)+"
    r"|\+\d[\d ()-]{7,16}\d"
    r"|\b(?:\d[ -]?){13,19}\b"
    r"|\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}\b"
    r"|\b(?:\d{1,3}\.){3}\d{1,3}\b"
    r"|(?i:password|passwd|pwd|secret|token|api[_-]?key|authorization)[\"']?\s*[:=]\s*[\"']?[^\s\"',;&]+"
    r"|\b(?:sk|pk|rk)[-_](?:[a-z]+[-_])*[A-Za-z0-9]{16,}"
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\bgh[pousr]_\w{36}\b|\bgithub_pat_\w+|\bglpat-[\w-]{20}|\bxox[a-z]-[\w-]+"
    r"|\bAIza[\w-]{35}\b|\beyJ[\w-]+\.[\w-]+\.[\w-]*|\bhf_\w{30,}|\bnpm_\w{36}|\bSG\.[\w-]+\.[\w-]+"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?-----END [A-Z ]*PRIVATE KEY-----"
    r"|\w+://[^\s:/@]*:[^\s/@]+@"
)
#: Texts that make careless patterns slow.
HOSTILE = (
    *words(
        """?key= ?_key= key= keykey sig= auth: sk- ://a: &token= eyJ. password=" @ a@a. 1.1.1. \\u0040 %40"""
    ),
    *words("""&#64; A 0 ://a:b@ ::a """ + "\uff55 a\u0430"),
    *("1 1 1 ", "0000 ", "00 1", "+49 ", "key: ", "Cookie: a=b", "-----BEGIN PRIVATE KEY-----"),
)
RUSSIAN = "модель ответила за две секунды, "
MIB = 1_000_000
#: Milliseconds.
HOLD = 10.0
DELAYED = """
import sys, threading, time
from somatrace import Config, bind, flush, init_tracing, span, status
quick, count = threading.Event(), 0
def listen(record):
    global count
    if record.phase == "ended":
        count += 1
        if record.span_name == "quick":
            quick.set()
policy = lambda tenant: "redacted" if tenant == "slow" else None
init_tracing("bench", config=Config(content_policy=policy, target="local"), listeners=[listen])
with span("first"):
    pass
flush(30)
text = sys.argv[1] * (200_000 // len(sys.argv[1])) if sys.argv[1] else ""
for number in range(5):
    with bind(tenant_id="slow"), span("slow") as current:
        current.set_attribute("gen_ai.input.messages", text)
with bind(tenant_id="quick"), span("quick"):
    pass
began = time.monotonic()
quick.wait(300)
needed = count
while status().delivered < needed:
    time.sleep(0.001)
print(time.monotonic() - began)
"""


def chat(characters: int, values: int) -> str:
    """A model request as instrumentors record it: JSON, prose, ids, counters, and some sensitive values."""
    rng = random.Random(characters + values)
    words = [rng.choice(WORDS) for _ in range(characters // 6)]
    for _ in range(values):
        words.insert(rng.randrange(len(words)), rng.choice(VALUES))
    document = {
        "model": "gpt-4o-mini-2024-07-18",
        "messages": [{"role": "user", "content": " ".join(words)}],
        "usage": {"prompt_tokens": 1200, "completion_tokens": 34, "total_tokens": 1234},
        "id": "chatcmpl-" + "9xYzAbCd" * 4,
    }
    return json.dumps(document)


def seconds(work: Callable[[], object], rounds: int, least: float = 0.02) -> float:
    """The best CPU time of one call."""
    start = time.process_time()
    work()
    times = max(1, int(least / max(time.process_time() - start, 1e-7)))
    best = float("inf")
    for _ in range(rounds):
        start = time.process_time()
        for _ in range(times):
            work()
        best = min(best, (time.process_time() - start) / times)
    return best


def throughput(rounds: int) -> float:
    """Print the table; return the smallest speedup over the naive expression on typical texts."""
    print("| text | characters | µs | MB/s | naive MB/s | times faster |\n|---|---:|---:|---:|---:|---:|")
    ratios = []
    for name, characters, values in (
        ("chat, nothing in it", 2_000, 0),
        ("chat, two values", 2_000, 2),
        ("long context, nothing in it", 100_000, 0),
        ("long context, a value per KB", 100_000, 100),
    ):
        text = chat(characters, values)
        ours = seconds(lambda text=text: redact_text(text), rounds)  # type: ignore[misc]
        naive = seconds(lambda text=text: NAIVE.sub("[X]", text), rounds)  # type: ignore[misc]
        ratios.append(naive / ours)
        speed, other = len(text) / ours / MIB, len(text) / naive / MIB
        print(f"| {name} | {len(text)} | {ours * 1e6:.0f} | {speed:.1f} | {other:.1f} | {naive / ours:.1f} |")
    return min(ratios)


def growth(rounds: int, texts: int) -> float:
    """Print the slowest hostile texts; return the largest ratio of t(24 KB) to t(12 KB).

    The ratio is the median of rounds that measure the text between two runs of its half, so that load which
    comes and goes does not count. Both are below the work limit, above which a text takes bounded time: a
    search that stops at the limit, and another one of the beginning.
    """
    results = []
    for seed in HOSTILE[:texts]:
        half = seed * (12_000 // len(seed))
        ratios = []
        for _ in range(max(3, rounds)):
            before, whole, after = (seconds_of(text) for text in (half, half * 2, half))
            ratios.append(2 * whole / (before + after))
        eightfold = min(seconds_of(seed * (200_000 // len(seed))) for _ in range(2))
        results.append((eightfold, statistics.median(ratios), seed))
    print("\n| text of | times that of half the text | 200 KB, ms |\n|---|---:|---:|")
    for eightfold, ratio, seed in sorted(results, reverse=True)[:8]:
        print(f"| `{seed}` | {ratio:.2f} | {eightfold * 1000:.0f} |")
    return max(ratio for _, ratio, _ in results)


def seconds_of(text: str) -> float:
    """The CPU time of redacting a text, per call, over enough calls for the clock."""
    return seconds(lambda: redact_text(text), rounds=1)


def holding(texts: int) -> float:
    """Print the texts of 200 KB that hold the interpreter longest; return the largest hold in ms.

    Other threads of the program get their turn between two calls. So the CPU time between two events of a
    profiler is at least that of each regular expression and each search in the text.
    """
    named = [(f"`{seed}`", seed * (200_000 // len(seed))) for seed in HOSTILE[:texts]]
    named += [("chat, a value per KB", chat(200_000, 200)), ("prose in Cyrillic letters", RUSSIAN * 6_250)]
    results = []
    for name, text in named:
        longest = longest_hold(text) * 1000
        if longest > HOLD:  # once more: other load makes single calls slower
            longest = min(longest, *(longest_hold(text) * 1000 for _ in range(4)))
        results.append((longest, name))
    print("\n| 200 KB of | longest hold, ms |\n|---|---:|")
    for longest, name in sorted(results, reverse=True)[:6]:
        print(f"| {name} | {longest:.1f} |")
    return max(results)[0]


def longest_hold(text: str) -> float:
    """The longest CPU time between two calls or returns during the redaction of a text."""
    longest = last = 0.0

    def measure(*_: object) -> None:
        nonlocal longest, last
        now = time.thread_time()
        longest, last = max(longest, now - last), now

    gc.collect()
    gc.disable()
    last = time.thread_time()
    sys.setprofile(measure)
    try:
        redact_text(text)
    finally:
        sys.setprofile(None)
        gc.enable()
    return longest


def delay(rounds: int, texts: int) -> float:
    """Print the seconds until another tenant's span is delivered; return the longest with hostile texts."""
    print("\n| another tenant's span, after five spans of | s |\n|---|---:|")
    worst = 0.0
    for seed in ("", *("key=", "?key=", "sk-", "://a:")[:texts]):
        runs = []
        for _ in range(min(rounds, 3)):
            with tempfile.TemporaryDirectory() as directory:
                done = subprocess.run(
                    [sys.executable, "-c", DELAYED, seed],
                    env={**os.environ, "SOMATRACE_DATA_DIR": directory, "HOME": directory},
                    cwd=directory,
                    capture_output=True,
                    text=True,
                    check=True,
                )
            runs.append(float(done.stdout))
        print(f"| {f'200 KB of `{seed}`' if seed else 'nothing'} | {min(runs):.2f} |")
        worst = max(worst, min(runs)) if seed else worst
    return worst


def resolving(rounds: int) -> float:
    """Microseconds to resolve a tenant's grant."""
    grants = PolicyResolver(
        {"tenants": {f"tenant-{number}": {"content": "redacted"} for number in range(1000)}}
    )
    return seconds(lambda: grants.resolve("tenant-7"), rounds) * 1e6


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--rounds", type=int, default=7, help="runs of each case, the best counts (default 7)"
    )
    parser.add_argument(
        "--texts", type=int, default=len(HOSTILE), help="how many hostile texts (default all)"
    )
    options = parser.parse_args()
    rounds, texts = max(1, options.rounds), max(1, options.texts)
    faster, grown, asked = throughput(rounds), growth(rounds, texts), resolving(rounds)
    held, late = holding(texts), delay(rounds, texts)
    print("\n| promise | figure | bar | |\n|---|---:|---:|---|")
    results = (
        ("times faster than one big expression, at least", faster, 2.0, faster >= 2.0),
        ("times that of half the hostile text, at most", grown, 2.5, grown <= 2.5),
        ("ms that 200 KB hold the interpreter at once, at most", held, HOLD, held <= HOLD),
        ("µs to resolve a tenant, at most", asked, 2.0, asked <= 2.0),
        ("s until another tenant's span is delivered, at most", late, 5.0, late <= 5.0),
    )
    for name, figure, bar, kept in results:
        print(f"| {name} | {figure:.2f} | {bar:.2f} | {'kept' if kept else 'MISSED'} |")
    return int(not all(kept for *_, kept in results))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
