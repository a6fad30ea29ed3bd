"""The data directory and the generated keys: location, permissions, and rejected files."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from somatrace.local.access.keys import FILE, KeysError, load_keys
from somatrace.local.data_dir import data_dir


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_operators_directory_is_used_unchanged_and_private_if_created(tmp_path):
    assert data_dir(str(tmp_path / "a" / "b")) == tmp_path / "a" / "b"
    assert mode(tmp_path / "a" / "b") == 0o700


def test_an_unusable_operators_directory_is_never_replaced_by_another(tmp_path):
    (tmp_path / "file").write_text("")
    assert data_dir(str(tmp_path / "file")) is None
    assert data_dir(str(tmp_path / "file" / "below")) is None


def test_without_a_setting_the_state_directory_is_used_and_made_private(tmp_path):
    (tmp_path / "somatrace").mkdir(mode=0o755)
    assert data_dir("", str(tmp_path)) == tmp_path / "somatrace"
    assert mode(tmp_path / "somatrace") == 0o700


def test_without_a_state_directory_the_data_is_below_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert data_dir("") == tmp_path / ".local" / "state" / "somatrace"


def test_without_a_usable_home_it_is_a_private_temporary_directory(tmp_path, monkeypatch):
    (tmp_path / "home").write_text("a file")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    found = data_dir("")
    assert found == tmp_path / f"somatrace-{os.geteuid()}"
    assert mode(found) == 0o700


def test_a_symlink_planted_in_the_temporary_directory_is_not_followed(tmp_path, monkeypatch):
    (tmp_path / "home").write_text("a file")
    (tmp_path / "victim").mkdir(mode=0o755)
    (tmp_path / f"somatrace-{os.geteuid()}").symlink_to(tmp_path / "victim")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert data_dir("") is None
    assert mode(tmp_path / "victim") == 0o755


def test_keys_are_generated_once_in_langfuses_format_and_kept_private(tmp_path):
    keys = load_keys(tmp_path)
    assert keys.public_key.startswith("pk-lf-")
    assert keys.secret_key.startswith("sk-lf-")
    assert load_keys(tmp_path) == keys
    assert mode(tmp_path / FILE) == 0o600


def test_keys_do_not_show_in_a_repr(tmp_path):
    keys = load_keys(tmp_path)
    assert keys.secret_key not in repr(keys)
    assert keys.page_secret not in repr(keys)


def test_processes_that_start_together_get_the_same_keys(tmp_path):
    program = (
        "import sys, pathlib; from somatrace.local import data_dir; data_dir._LOCK_SECONDS = 60.0; "
        "from somatrace.local.access.keys import load_keys; "
        "print(load_keys(pathlib.Path(sys.argv[1])).secret_key)"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE)
        for _ in range(4)
    ]
    printed = {process.communicate(timeout=180)[0] for process in started}
    assert len(printed) == 1
    assert printed.pop().startswith(b"sk-lf-")


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"public_key": "pk"}', '{"a": 1}', "\udcff"])
def test_a_damaged_key_file_is_rejected_with_a_remedy(tmp_path, damage):
    load_keys(tmp_path)
    (tmp_path / FILE).write_bytes(damage.encode("utf-8", "surrogateescape"))
    with pytest.raises(KeysError, match=r"delete .* to generate new keys"):
        load_keys(tmp_path)


def test_a_key_file_that_others_can_read_is_rejected(tmp_path):
    load_keys(tmp_path)
    (tmp_path / FILE).chmod(0o644)
    with pytest.raises(KeysError, match="not private"):
        load_keys(tmp_path)


def test_a_key_file_that_is_a_symlink_is_rejected(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    load_keys(tmp_path / "elsewhere")
    (tmp_path / FILE).symlink_to(tmp_path / "elsewhere" / FILE)
    with pytest.raises(KeysError):
        load_keys(tmp_path)


def test_a_signed_value_is_valid_only_for_its_purpose_and_lifetime(tmp_path):
    keys = load_keys(tmp_path)
    value = keys.sign("link", 60)
    assert keys.verify("link", value)
    assert not keys.verify("session", value)
    assert not keys.verify("link", keys.sign("link", -1))
    assert not keys.verify("link", "9" + value)
    for forged in ("", ".", "..", "a.b.c", "é.ü.ß", "\ud800"):
        assert not keys.verify("link", forged)
