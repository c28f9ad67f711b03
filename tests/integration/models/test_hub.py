"""Models of a hub: a real server on this machine speaks the part of its protocol that is used."""

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
from typing import Any

import pytest
from tests.gguf_files import write_gguf

from weightcut.models.gguf import convert_gguf

COMMIT = "0123456789abcdef0123456789abcdef01234567"
PAGES = {"/api/models/org/tiny", *(f"/api/models/org/tiny/revision/{r}" for r in ("main", COMMIT))}
PULL = """
import sys
from weightcut.errors import WeightcutError
from weightcut.models.resolve import resolve
try:
    print(resolve(sys.argv[1]).model_dump_json())
except WeightcutError as error:
    sys.exit(f"{type(error).__name__} {error} {error.cure}")
"""
EXTRA = {"pytorch_model.bin": b"pickle", "evil.py": b"code", "onnx/config.json": b"{}"}


class Hub:
    """A hub with one model, `org/tiny`."""

    def __init__(self, folder: Path) -> None:
        self.files = {p.name: p.read_bytes() for p in folder.iterdir()} | EXTRA
        self.asked: list[str] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def do_HEAD(self) -> None:
                self.do_GET()

            def do_GET(self) -> None:
                path = self.path.split("?")[0]
                hub.asked.append(path)
                name = path.removeprefix(f"/org/tiny/resolve/{COMMIT}/")
                if (
                    path in (f"/api/models/org/tiny/revision/{r}" for r in ("main", COMMIT))
                    or path == "/api/models/org/tiny"
                ):
                    self.answer(json.dumps(hub.describe()).encode())
                elif path == f"/api/models/org/tiny/tree/{COMMIT}":
                    self.answer(json.dumps(hub.tree()).encode())
                elif name in hub.files:
                    self.answer(hub.files[name])
                else:
                    revision = path.startswith("/api/models/org/tiny/")
                    code = "RevisionNotFound" if revision else "RepoNotFound"
                    self.send_response(404)
                    self.send_header("X-Error-Code", code)
                    self.end_headers()

            def answer(self, body: bytes) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
                self.send_header("X-Repo-Commit", COMMIT)
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def describe(self) -> dict[str, Any]:
        siblings = [{"rfilename": n, "size": len(b)} for n, b in self.files.items()]
        return {"id": "org/tiny", "sha": COMMIT, "siblings": siblings}

    def tree(self) -> list[dict[str, Any]]:
        return [
            {"type": "file", "path": name, "size": len(body), "oid": "0" * 40}
            for name, body in self.files.items()
        ]

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    folder = tmp_path / "source"
    folder.mkdir()
    write_gguf(tmp_path / "m.gguf")
    convert_gguf(tmp_path / "m.gguf", folder)
    found = Hub(folder)
    yield found
    found.server.shutdown()
    found.server.server_close()


def _pull(hub: Hub, home: Path, reference: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Resolve in a process of its own: the hub's address is read at import."""
    command = [sys.executable, "-c", PULL, reference]
    environment = {**os.environ, "HF_ENDPOINT": hub.address, "WEIGHTCUT_HOME": str(home)}
    environment |= {"HF_HOME": str(home / "hf"), "PYTHONWARNINGS": "default", **more}
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment, timeout=120
    )


def test_a_name_without_revision_is_pinned_and_only_safe_files_come(
    hub: Hub, tmp_path: Path
) -> None:
    done = _pull(hub, tmp_path / "home", "hub:org/tiny")
    assert done.returncode == 0, (done.stderr, hub.asked)
    found = json.loads(done.stdout)
    assert found["reference"] == f"hub:org/tiny@{COMMIT}"
    assert found["origin"] == f"org/tiny at {COMMIT} on the Hugging Face hub"
    names = {p.name for p in Path(found["path"]).iterdir()}
    assert names == {*hub.files} - {*EXTRA} | {"weightcut.json"}

    assert {path.split("/")[1] for path in hub.asked} == {"api", "org"}
    assert not [path for path in hub.asked if "agent" in path]  # no telemetry

    # Pinned and in the cache: the hub is not asked again, nor needed.
    hub.asked.clear()
    again = _pull(hub, tmp_path / "home", f"hub:org/tiny@{COMMIT}", WEIGHTCUT_OFFLINE="1")
    assert json.loads(again.stdout)["digest"] == found["digest"]
    assert hub.asked == []


@pytest.mark.parametrize(
    ("reference", "cause"),
    [
        ("hub:org/tiny@v9", "UsageError hub:org/tiny@v9: the repository has no such revision"),
        ("hub:org/none", "UsageError hub:org/none: the hub has no such repository"),
    ],
)
def test_what_the_hub_does_not_have(hub: Hub, tmp_path: Path, reference: str, cause: str) -> None:
    done = _pull(hub, tmp_path / "home", reference)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(cause)


def test_a_hub_out_of_reach_says_what_to_do(hub: Hub, tmp_path: Path) -> None:
    hub.server.shutdown()
    hub.server.server_close()
    done = _pull(hub, tmp_path / "home", "hub:org/tiny")
    assert done.returncode == 1
    assert "NotHere hub:org/tiny: the Hugging Face hub cannot be reached" in done.stderr
    assert "copy the folder" in done.stderr
