"""The policy file: validated with line numbers, reloaded on changes, and safe when broken or missing."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from somatrace.guard.policy import policy_text
from somatrace.guard.policy import resolver as granting_module
from somatrace.guard.policy.file_source import parse_text, read_policy
from somatrace.guard.policy.model import NOTHING, PolicyError
from somatrace.guard.policy.resolver import PolicyResolver
from somatrace.runtime import watched_file
from somatrace.runtime.watched_file import MAX_BYTES

NOW = dt.datetime(2026, 11, 21, 12, tzinfo=dt.UTC)
YAML = """\
# who may have content
default: none
tenants:
  acme:
    content: full
    until: 2026-12-31
    reason: "support case 4711"
    safe_keys: [app.stage, 'app.score.*']
  on: {content: redacted}
  007:
    content: redacted
    terms:
      - Project Falcon
"""
TOML = """\
default = "none"

[tenants.acme]
content = "full"
until = 2026-12-31
reason = "support case 4711"
safe_keys = ["app.stage", "app.score.*"]

[tenants.on]
content = "redacted"

[tenants.007]
content = "redacted"
terms = ["Project Falcon"]
"""


@pytest.fixture
def soon(monkeypatch):
    monkeypatch.setattr(granting_module, "INTERVAL", 0.0)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "policy.yaml"
    path.write_text("tenants: {acme: {content: redacted}}")
    return path


@pytest.fixture
def grants(file, soon):
    made = PolicyResolver(path=file, clock=lambda: NOW)
    yield made
    made.close()


def replace(path, text):
    """Replace the file with a new one of the same name, as editors and Kubernetes do."""
    new = path.with_name("new")
    new.write_text(text)
    new.replace(path)


def eventually(what):
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if what():
            return True
        time.sleep(0.01)
    return False


# -- reading -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("suffix", "text"), [(".yaml", YAML), (".toml", TOML)])
def test_yaml_and_toml_give_the_same_policy(suffix, text):
    policy = parse_text(text, suffix, now=NOW)

    assert {tenant: policy.grant(tenant, now=NOW).mode for tenant in ("acme", "on", "007", "other")} == {
        "acme": "full",
        "on": "redacted",
        "007": "redacted",
        "other": "none",
    }
    assert policy.grant("acme", now=NOW).safe_keys == ("app.stage", "app.score.*")
    assert policy.grant("007", now=NOW).own == ("Project Falcon",)
    assert policy.tenants["acme"].until == dt.datetime(2027, 1, 1, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("default: full", "line 1: default: use none or redacted"),
        (
            "tenants:\n  acme:\n    content: open",
            "line 3: tenants.acme.content: use none or redacted or full",
        ),
        ("tenants:\n  acme:\n    content: full\n    reason: x", "line 2: tenants.acme: full requires until"),
        (
            "tenants:\n  acme:\n    content: full\n    reason: x\n    until: 2030-01-01",
            "line 5: .*at most 90 days",
        ),
        (
            "tenants:\n  acme: {content: none}\n  acme: {content: redacted}",
            "line 3: 'acme' is a duplicate key",
        ),
        ("a: &x [1]\nb: *x", "line 1: anchors and aliases are not allowed"),
        ("tenants: !!python/object:os.system {}", "line 1: tags are not allowed"),
        ("a: {b: {c: {d: {e: {f: {g: 1}}}}}}", "line 1: nested too deeply"),
        ("default: none\n---\ndefault: redacted", "line 2: only one document is allowed"),
        ("default: [none", "line [12]: not YAML"),
        ("{[a]: b}", "line 1: a name must be a text"),
        ("tenants:\n\tacme: x", "line 2: not YAML"),
        ("- a", "must be a table of names and values"),
    ],
)
def test_yaml_mistakes_are_reported_with_their_line(text, message):
    with pytest.raises(PolicyError, match=message):
        parse_text(text, ".yaml", now=NOW)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('default = "full"', "line 1: default"),
        ('[tenants.acme]\ncontent = "full"\nreason = "x"\nuntil = 2030-01-01', "line 4: .*at most 90 days"),
        ('\n[tenants."a.b"]\ncontent = 1', "line 3: tenants.a.b.content"),
        ("x = [", "line 1: not TOML"),
        ('a = "x"\na = "y"', "line 2: not TOML"),
    ],
)
def test_toml_mistakes_are_reported_with_their_line(text, message):
    with pytest.raises(PolicyError, match=message):
        parse_text(text, ".toml", now=NOW)


@pytest.mark.parametrize("text", ["", "# nothing", "tenants:", "default: ~"])
def test_an_empty_policy_grants_nothing(text):
    assert parse_text(text, ".yml").grant("acme") == NOTHING


ODD = st.text("abc: -[]{}#&*!|>'\"%@`\n\t,?~=.0", max_size=80)


@given(ODD | st.text() | st.text(st.characters()), st.sampled_from([".yaml", ".toml"]))
def test_any_text_is_parsed_or_rejected(text, suffix):
    try:
        policy = parse_text(text, suffix, now=NOW)
    except PolicyError:
        return
    assert policy.grant("acme", now=NOW).mode in ("none", "redacted")


@pytest.mark.parametrize(
    "bomb", ["[" * 100_000, "- " * 100_000, "a: " * 10_000, "{a: " * 50_000, "\x00", "%" * 1000]
)
def test_a_hostile_yaml_file_is_rejected(bomb):
    with pytest.raises(PolicyError):
        parse_text(bomb, ".yaml")


DEEP = ".".join("a" * 20_000)


@pytest.mark.parametrize(
    "bomb",
    [
        f"{DEEP} = 1",
        f"[{DEEP}]",
        f"[[{DEEP}]]",
        f"x = {{ {DEEP} = 1 }}",
        f"x = [{{ y = 1, {DEEP} = 1 }}]",
        " . ".join(['"a"', "'='"] * 9_999) + " = 1",
        f'x = "\\"" # "\n{DEEP} = 1',
        f'x = """ "" \\""" """"\n{DEEP} = 1',
        f"x = '''\n' '''\n{DEEP} = 1",
        f"x = '\\'\n{DEEP} = 1",
    ],
)
def test_a_key_too_deep_for_tomllib_is_rejected_before_parsing(bomb, monkeypatch):
    monkeypatch.setattr(policy_text.tomllib, "loads", lambda text: pytest.fail("it was parsed"))

    with pytest.raises(PolicyError, match=r"line \d: nested too deeply"):
        parse_text(bomb, ".toml")


@pytest.mark.parametrize("bomb", ["x = " + "9" * 10_000, "x = " + "[" * 100_000, "x = " + "{a=" * 50_000])
def test_a_hostile_toml_file_is_rejected(bomb):
    with pytest.raises(PolicyError, match="line 1: not TOML"):
        parse_text(bomb, ".toml")


def test_dots_in_toml_strings_and_comments_do_not_count_as_nesting():
    text = """\
# a.b.c.d.e.f.g.h.i.j
[tenants."a.b.c.d.e.f.g.h"] # x.x.x.x.x.x.x.x
content = 'redacted'
reason = "so...... it. is. then. at. last. \\" ......"
safe_keys = ["a.b.c.d.e.f.g", 'app.a.b.c.d.e.f', "x.one.two", "x.y.three.four"]
"""

    assert [*parse_text(text, ".toml", now=NOW).tenants] == ["a.b.c.d.e.f.g.h"]


def test_yaml_alias_expansion_is_rejected():
    laughs = "a: &a [x, x]\n" + "".join(f"{one}: &{one} [*{one}, *{one}]\n" for one in "bcdefgh")

    with pytest.raises(PolicyError, match="line 1: anchors and aliases are not allowed"):
        parse_text(laughs, ".yaml")


def test_a_file_larger_than_a_megabyte_is_rejected(tmp_path):
    path = tmp_path / "policy.yaml"
    path.write_bytes(b"#" * (MAX_BYTES + 1))

    with pytest.raises(PolicyError, match="larger than"):
        read_policy(path)


def test_a_file_with_another_encoding_or_extension_is_rejected(tmp_path):
    path = tmp_path / "policy.toml"
    path.write_bytes(b"# a\n\xff")

    with pytest.raises(PolicyError, match="line 2: not UTF-8"):
        read_policy(path)
    with pytest.raises(PolicyError, match=r"\.yaml, \.yml or \.toml"):
        parse_text("{}", ".json")


def test_yaml_without_its_extra_names_the_extra_to_install(tmp_path):
    code = (
        "import sys; sys.modules['yaml'] = None\n"
        "from somatrace.guard.policy.file_source import parse_text\n"
        "try: parse_text('default: none', '.yaml')\n"
        "except ValueError as error: print(error)\n"
        "print(parse_text('default = \"none\"', '.toml').default)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=180
    )

    assert done.stdout.splitlines() == [
        "a YAML file requires the extra yaml: pip install 'somatrace[yaml]', or use TOML",
        "none",
    ]


# -- reloading -----------------------------------------------------------------------------------------------


def test_a_changed_file_applies_soon_without_a_restart(file, grants):
    assert grants.resolve("acme").mode == "redacted"

    replace(file, "tenants: {other: {content: redacted}}")

    assert eventually(lambda: grants.resolve("other").mode == "redacted")
    assert grants.resolve("acme") == NOTHING


def test_a_broken_file_keeps_the_last_good_policy_and_is_reported_once(file, grants, caplog):
    replace(file, "tenants: {acme: {content: open}}")

    assert eventually(lambda: grants.resolve("acme") and grants.problems)
    for _ in range(5):
        assert grants.resolve("acme").mode == "redacted"

    [problem] = grants.problems
    wrong = "line 1: tenants.acme.content: use none or redacted or full"
    assert problem == f"SOMATRACE_CONTENT_POLICY_FILE: the last good policy stays in force: {wrong}"
    assert [record.getMessage() for record in caplog.records if record.name == "somatrace"] == list(
        grants.problems
    )

    replace(file, "tenants: {acme: {content: none}}")
    assert eventually(lambda: not (grants.resolve("acme").mode == "redacted" or grants.problems))


def test_a_removed_file_grants_nothing(file, grants):
    file.unlink()

    assert eventually(lambda: grants.resolve("acme") == NOTHING)
    assert "missing" in grants.problems[0]


@pytest.mark.parametrize("text", [None, "default: full", "default: redacted: x"])
def test_a_file_that_was_never_readable_grants_nothing_regardless_of_the_default(tmp_path, text):
    path = tmp_path / "policy.yaml"
    if text is not None:
        path.write_text(text)
    grants = PolicyResolver(path=path, default="redacted")

    assert grants.resolve("acme") == NOTHING
    assert len(grants.problems) == 1


NOT_A_FILE = "SOMATRACE_CONTENT_POLICY_FILE: nothing is granted: not a regular file: set the path of one"


def unreadable(path, kind):
    """Put something other than a regular file at the path."""
    path.unlink(missing_ok=True)
    if kind == "directory":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to({"device": "/dev/zero", "link to itself": path.name}[kind])


@pytest.mark.parametrize("kind", ["directory", "pipe", "device"])
def test_a_path_other_than_a_regular_file_grants_nothing_without_blocking(tmp_path, kind):
    path = tmp_path / "policy.yaml"
    unreadable(path, kind)

    grants = PolicyResolver(path=path, default="redacted")

    assert grants.resolve("acme") == NOTHING
    assert grants.problems == (NOT_A_FILE,)
    grants.close()


def test_an_invalid_path_grants_nothing(tmp_path):
    grants = PolicyResolver(path=tmp_path / "a\0b.yaml", default="redacted")

    assert grants.resolve("acme") == NOTHING
    assert "cannot be read (ValueError): check its path" in grants.problems[0]
    grants.close()


@pytest.mark.parametrize("kind", ["directory", "pipe", "device", "link to itself"])
def test_replacing_the_file_with_something_unreadable_revokes_until_a_file_returns(file, grants, kind):
    assert grants.resolve("acme").mode == "redacted"

    unreadable(file, kind)

    assert eventually(lambda: grants.resolve("acme") == NOTHING)
    assert eventually(lambda: grants.problems)

    file.rmdir() if kind == "directory" else file.unlink()
    file.write_text("tenants: {acme: {content: redacted}}")

    assert eventually(lambda: grants.resolve("acme").mode == "redacted")
    assert grants.problems == ()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_losing_read_permission_revokes(file, grants):
    file.chmod(0)

    assert eventually(lambda: grants.resolve("acme") == NOTHING)
    assert "PermissionError" in grants.problems[0]


def test_any_failure_to_open_the_file_revokes(file, grants, monkeypatch):
    def failing(*_, **__):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "open", failing)
    replace(file, "tenants: {acme: {content: redacted}} # touched")

    assert eventually(lambda: grants.resolve("acme") == NOTHING)
    monkeypatch.undo()


def test_a_file_that_appears_later_is_read(tmp_path, soon):
    path = tmp_path / "policy.yaml"
    grants = PolicyResolver(path=path)
    assert grants.resolve("acme") == NOTHING

    path.write_text("tenants: {acme: {content: redacted}}")

    assert eventually(lambda: grants.resolve("acme").mode == "redacted")
    assert grants.problems == ()
    grants.close()


def test_a_swapped_kubernetes_volume_applies_soon(tmp_path, soon):
    for name, mode in (("..1", "redacted"), ("..2", "none")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "policy.yaml").write_text(f"tenants: {{acme: {{content: {mode}}}}}")
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "policy.yaml").symlink_to("..data/policy.yaml")
    grants = PolicyResolver(path=tmp_path / "policy.yaml")
    assert grants.resolve("acme").mode == "redacted"

    (tmp_path / "..new").symlink_to("..2")
    (tmp_path / "..new").replace(tmp_path / "..data")

    assert eventually(lambda: grants.resolve("acme") == NOTHING)
    grants.close()


@pytest.mark.parametrize("unsettled", [0, 2_000_000_000], ids=["long after", "at once"])
def test_an_edit_that_keeps_size_time_and_inode_is_detected(tmp_path, soon, monkeypatch, unsettled):
    monkeypatch.setattr(watched_file, "UNSETTLED", unsettled, raising=False)
    path = tmp_path / "policy.yaml"
    path.write_text("tenants: {acme: {content: redacted}}")
    before = path.stat()
    grants = PolicyResolver(path=path)
    assert grants.resolve("acme").mode == "redacted"

    while not unsettled and path.stat().st_ctime_ns == before.st_ctime_ns:
        path.touch()  # until the clock of the file system has moved on
    path.write_text("tenants: {acme: {content: none    }}")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    assert (path.stat().st_size, path.stat().st_ino) == (before.st_size, before.st_ino)
    assert eventually(lambda: grants.resolve("acme") == NOTHING)
    grants.close()


def test_a_file_that_changes_during_reading_is_read_again(file, monkeypatch):
    looked = os.fstat

    def changing(handle):
        status = looked(handle)
        if "acme" in file.read_text():
            file.write_text("default: none")
        return status

    monkeypatch.setattr(os, "fstat", changing)

    assert read_policy(file).tenants == {}


def test_a_file_that_never_stops_changing_is_not_applied(file, monkeypatch):
    looked = os.fstat

    def changing(handle):
        status = looked(handle)
        with file.open("a") as end:
            end.write("\n")
        return status

    monkeypatch.setattr(os, "fstat", changing)

    with pytest.raises(OSError, match="keeps changing while it is read"):
        read_policy(file)


def test_an_entry_ended_by_a_wrong_clock_applies_again_after_the_file_changes(file, soon):
    replace(file, text := "tenants: {acme: {content: redacted, until: 2026-12-31}}")
    moment = [NOW]
    grants = PolicyResolver(path=file, clock=lambda: moment[0])
    moment[0] = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)
    assert grants.resolve("acme") == NOTHING
    moment[0] = NOW
    assert grants.resolve("acme") == NOTHING

    replace(file, text + " # confirmed")

    assert eventually(lambda: grants.resolve("acme").mode == "redacted")
    grants.close()


def test_the_files_entry_takes_precedence_over_code(file):
    grants = PolicyResolver(
        {"default": "redacted", "tenants": {"acme": {"content": "none"}, "b": {"content": "none"}}}, path=file
    )

    assert grants.resolve("acme").mode == "redacted"
    assert grants.resolve("b").mode == "none"
    assert grants.resolve("c").mode == "redacted"
    grants.close()


@pytest.mark.slow
@pytest.mark.forks
def test_a_forked_child_detects_changes(file, grants):
    assert grants.resolve("acme").mode == "redacted"
    child = os.fork()
    if child == 0:
        replace(file, "tenants: {acme: {content: none}}")
        os._exit(0 if eventually(lambda: grants.resolve("acme").mode == "none") else 1)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert eventually(lambda: grants.resolve("acme").mode == "none")


@pytest.mark.slow
@pytest.mark.forks
def test_a_child_forked_while_a_thread_held_the_lock_detects_changes(file, grants):
    taken, release = threading.Event(), threading.Event()

    def hold():
        with grants._lock:
            taken.set()
            release.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    taken.wait(60)
    child = os.fork()
    if child == 0:
        replace(file, "tenants: {acme: {content: none}}")
        os._exit(0 if eventually(lambda: grants.resolve("acme").mode == "none") else 1)
    release.set()
    thread.join()

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
