"""API keys: random, kept as hashes, compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import time
from pathlib import Path

from pydantic import Field, ValidationError

from weightcut.errors import BrokenInput, UsageError
from weightcut.files import locked, write_whole
from weightcut.records import Record

_PREFIX = "wc-"
_BYTES = 32


class Key(Record):
    """One key. sha256: of the key itself; 256 random bits need no salt and no slow hash."""

    name: str = Field(min_length=1, max_length=100)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    created: str


class _File(Record):
    keys: list[Key] = []


class Keys:
    """The keys that a server accepts."""

    def __init__(self, keys: list[Key]) -> None:
        self._keys = [(key.name, bytes.fromhex(key.sha256)) for key in keys]

    def __len__(self) -> int:
        return len(self._keys)

    def name(self, given: bytes) -> str | None:
        """Return the name of a key, or None; how long that takes tells nothing of the keys."""
        digest = hashlib.sha256(given).digest()
        found = None
        for name, known in self._keys:
            if hmac.compare_digest(digest, known):
                found = name
        return found


def read_keys(path: Path) -> list[Key]:
    """Read a key file; one that is absent holds no keys."""
    try:
        return list(_File.model_validate_json(path.read_bytes()).keys)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UsageError(f"cannot be read ({error.strerror})", place=str(path)) from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise BrokenInput(f"not a key file: {first['msg']}", place=str(path)) from None


def add_key(path: Path, name: str) -> str:
    """Make a key, keep its hash, and return it: it can never be shown again."""
    with locked(path.with_name(f".{path.name}.lock")):
        keys = read_keys(path)
        if any(key.name == name for key in keys):
            raise UsageError(f"there is a key {name!r} already", place=str(path))
        key = _PREFIX + secrets.token_urlsafe(_BYTES)
        created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        digest = hashlib.sha256(key.encode()).hexdigest()
        _write(path, [*keys, Key(name=name, sha256=digest, created=created)])
    return key


def revoke_key(path: Path, name: str) -> None:
    """Forget a key; servers that run must be started anew."""
    with locked(path.with_name(f".{path.name}.lock")):
        keys = read_keys(path)
        rest = [key for key in keys if key.name != name]
        if len(rest) == len(keys):
            raise UsageError(f"there is no key {name!r}", place=str(path))
        _write(path, rest)


def _write(path: Path, keys: list[Key]) -> None:
    data = _File(keys=keys).model_dump(mode="json")
    write_whole(path, (json.dumps(data, indent=1) + "\n").encode())
    path.chmod(0o600)
