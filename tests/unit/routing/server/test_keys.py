from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from weightcut.errors import BrokenInput, UsageError
from weightcut.routing.server.keys import Keys, add_key, read_keys, revoke_key


def test_a_key_is_kept_as_a_hash_alone(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    key = add_key(file, "alice")
    assert key not in file.read_text()
    assert hashlib.sha256(key.encode()).hexdigest() in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    assert len(key) > 40


def test_only_the_whole_key_is_known(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    alice, bob = add_key(file, "alice"), add_key(file, "bob")
    keys = Keys(read_keys(file))
    assert keys.name(alice.encode()) == "alice"
    assert keys.name(bob.encode()) == "bob"
    for wrong in (b"", alice[:-1].encode(), (alice + "x").encode(), b"\xff\xfe"):
        assert keys.name(wrong) is None


def test_names_are_unique_and_revoked_keys_are_gone(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    key = add_key(file, "alice")
    with pytest.raises(UsageError, match="already"):
        add_key(file, "alice")
    revoke_key(file, "alice")
    assert Keys(read_keys(file)).name(key.encode()) is None
    with pytest.raises(UsageError, match="no key"):
        revoke_key(file, "alice")


@pytest.mark.parametrize("text", ["", "[]", '{"keys": [{"name": "a"}]}', "\xff", '{"keys": 1}'])
def test_what_is_no_key_file_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "keys.json"
    file.write_text(text)
    with pytest.raises(BrokenInput, match="not a key file"):
        read_keys(file)
