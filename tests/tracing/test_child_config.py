"""A child process is traced with every setting that its parent was given in code."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from pathlib import Path

import pytest

from somatrace import Config, ContentPolicy
from somatrace.tracing.child_config import pickled, restored
from tests.support.config_samples import samples
from tests.support.otlp_server import otlp_server
from tests.support.programs import otlp_env, run_program

UNPICKLABLE = "content_policy lambda"
URL = "http://127.0.0.1:4318/v1/traces"
NAMES = sorted(samples(URL))
#: As many cases as one program runs: a child of `spawn` takes a second or two to start.
CHUNK = 8

PROGRAM = """
import multiprocessing, os, sys, traceback
from pathlib import Path
from tests.support.config_samples import samples
from somatrace import Config, bind, flush, init_tracing, shutdown, span

METHOD, URL, NAMES = CASE

def work(name):
    with span(name): pass
    flush(60)  # an exit waits a second, in which a busy machine may not get to it

def main(name):
    init_tracing("parent", config=Config(**samples(URL, Path.cwd())[name]))
    with bind(tenant_id="acme"):
        child = multiprocessing.get_context(METHOD).Process(target=work, args=(name,))
        child.start()
        child.join(60)
    shutdown(60)
    return child.exitcode

if __name__ == "__main__":
    import somatrace.tracing.assembly
    for name in NAMES:  # one process per case, because `init_tracing` works once
        process = os.fork()
        if process == 0:
            try: status = main(name)
            except BaseException: traceback.print_exc(); status = 1
            multiprocessing.util._exit_function()  # ends the server of `forkserver`
            os._exit(status)
        if os.waitpid(process, 0)[1] != 0: print("failed:", name)
"""


@pytest.mark.slow
@pytest.mark.parametrize("start", range(0, len(NAMES), CHUNK))
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_child_sends_tagged_spans_whichever_setting_was_given_in_code(
    method: str, start: int, root: Path, tmp_path: Path
) -> None:
    names = NAMES[start : start + CHUNK]
    with otlp_server() as server:
        source = f"CASE = {(method, server.traces_url, names)!r}\n{PROGRAM}"
        env = otlp_env(server.url, PYTHONPATH=str(root))
        assert run_program(source, env, directory=tmp_path, timeout=280).stdout == ""
        spans = {span.name: span for span in server.wait_for(len(names))}
    assert sorted(spans) == names
    assert {span.attributes["tenant_id"] for span in spans.values()} == {"acme"}


def test_the_samples_are_usable_and_cover_every_field(tmp_path: Path) -> None:
    cases = samples(URL, tmp_path)

    assert {field for case in cases.values() for field in case} == {
        field.name for field in dataclasses.fields(Config)
    }
    for case in cases.values():
        Config(**case).check({})


@pytest.mark.parametrize("name", [name for name in NAMES if name != UNPICKLABLE])
def test_each_setting_arrives_as_it_was_given(name: str, tmp_path: Path) -> None:
    given = Config(**samples(URL, tmp_path)[name])

    config, problems = restored(pickle.loads(pickle.dumps(pickled(given))))

    assert problems == ()
    for field in dataclasses.fields(Config):
        before, after = getattr(given, field.name), getattr(config, field.name)
        assert (before == after) or (callable(before) and before("acme") == after("acme") == "redacted")


def test_a_policy_that_cannot_be_pickled_leaves_no_content_and_is_a_problem(tmp_path: Path) -> None:
    given = Config(content="redacted", **samples(URL, tmp_path)[UNPICKLABLE])

    config, problems = restored(pickled(given))

    assert config == Config(content="never")
    assert problems == (
        "content_policy cannot be passed on to this child process: use plain data, or a function of a module",
    )


def test_a_setting_that_cannot_be_unpickled_in_the_child_is_a_problem() -> None:
    config, problems = restored({"release": pickle.dumps("1"), "headers": b"nothing"})

    assert config == Config(release="1")
    assert len(problems) == 1


def test_without_a_config_a_child_gets_none() -> None:
    assert restored(pickled(None)) == (None, ())


def test_a_content_policy_can_be_pickled_and_copied() -> None:
    policy = ContentPolicy.parse({"tenants": {"acme": {"content": "redacted"}}, "terms": ["Falcon"]})

    assert pickle.loads(pickle.dumps(policy)) == copy.deepcopy(policy) == copy.copy(policy) == policy
