"""Data sets of a hub: a real server here speaks the part of its protocol that is used."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {
    "test.java-cs.txt.java": b"int a() { return 1; }\nint b() { return 2; }\n",
    "test.java-cs.txt.cs": b"int A() { return 1; }\nint B() { return 2; }\n",
    "evil.py": b"raise SystemExit",
}
ASK = """
import sys
from weightcut.errors import WeightcutError
from weightcut.tasks.translate import Translate
try:
    print(*[sample.reference for sample in Translate(data=sys.argv[1]).items()], sep="|")
except WeightcutError as error:
    sys.exit(f"{type(error).__name__} {error} {error.cure}")
"""


class _Handler(BaseHTTPRequestHandler):
    asked: list[str] = []

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        self.asked.append(path)
        api = "/api/datasets/org/pairs"
        name = path.removeprefix(f"/datasets/org/pairs/resolve/{COMMIT}/")
        if path == f"{api}/revision/{COMMIT}":
            siblings = [{"rfilename": one} for one in FILES]
            self.answer(
                json.dumps({"id": "org/pairs", "sha": COMMIT, "siblings": siblings}).encode()
            )
        elif path == f"{api}/tree/{COMMIT}":
            tree = [
                {"type": "file", "path": n, "size": len(b), "oid": "0" * 40}
                for n, b in FILES.items()
            ]
            self.answer(json.dumps(tree).encode())
        elif name in FILES:
            self.answer(FILES[name])
        else:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.end_headers()

    def answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


@pytest.fixture
def hub() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    _Handler.asked.clear()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def _ask(home: Path, hub: str, place: str, **more: str) -> subprocess.CompletedProcess[str]:
    cleared = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "WEIGHTCUT_"))}
    environment = {**cleared, "HF_ENDPOINT": hub, "WEIGHTCUT_HOME": str(home), **more}
    return subprocess.run(
        [sys.executable, "-c", ASK, place],
        env=environment, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def test_a_data_set_is_fetched_once_pinned_and_verified(tmp_path: Path, hub: str) -> None:
    place = f"hub:org/pairs@{COMMIT}"
    done = _ask(tmp_path, hub, place)
    assert done.stdout.strip() == "int A() { return 1; }|int B() { return 2; }", done.stderr
    assert not list(tmp_path.rglob("evil.py"))
    asked = len(_Handler.asked)
    again = _ask(tmp_path, hub, place, WEIGHTCUT_OFFLINE="1")
    assert again.stdout == done.stdout
    assert len(_Handler.asked) == asked
    (file,) = tmp_path.rglob("test.java-cs.txt.cs")
    file.write_bytes(b"int Evil() { return 1; }\nint B() { return 2; }\n")
    changed = _ask(tmp_path, hub, place)
    assert "BrokenInput" in changed.stderr
    assert "not what was downloaded" in changed.stderr


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("hub:org/pairs", "40 digits of the commit"),
        ("hub:org/pairs@main", "40 digits of the commit"),
        (f"hub:org/none@{COMMIT}", "the hub has no such repository"),
        ("hub:pairs", "not of the form hub:org/name@revision"),
    ],
)
def test_what_cannot_be_fetched(tmp_path: Path, hub: str, place: str, says: str) -> None:
    done = _ask(tmp_path, hub, place)
    assert "UsageError" in done.stderr
    assert says in done.stderr
    assert not list(tmp_path.rglob("*@*"))


def test_offline_it_asks_nobody(tmp_path: Path, hub: str) -> None:
    done = _ask(tmp_path, hub, f"hub:org/pairs@{COMMIT}", WEIGHTCUT_OFFLINE="1")
    assert "NotHere" in done.stderr
    assert not _Handler.asked
