"""docs/tutorial.md from top to bottom, on the scripted engine instead of the real one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import httpx
import pytest
import yaml
from tests.command_line import commands, read_curl
from tests.docs_blocks import ROOT, Block, blocks_of
from tests.scripted_models import humaneval_model

PAGE = ROOT / "docs" / "tutorial.md"
DOCUMENTED = "http://127.0.0.1:8080"
INSTALLING = ("make", ".", "pip")
"""What stands for the environment that the tests run in."""


def stand_in(study: dict[str, Any], model: Path) -> dict[str, Any]:
    """The tutorial's study with the fakes in place of model, engine and methods, and shorter."""
    shrink = {"kind": "scripted-shrink", "speedup": 2, "size": 0.5, "skill_lost": 0.1}
    for variant in study["variants"].values():
        variant["engine"] = "scripted"
        variant["recipe"] = [shrink for _ in variant["recipe"]]
    tasks = [{"name": t, "limit": 40} if isinstance(t, str) else t for t in study["tasks"]]
    return study | {"model": str(model), "tasks": tasks}


class Reader:
    """Somebody who does what the page says, in one folder."""

    def __init__(self, folder: Path, model: Path) -> None:
        self.folder, self.model = folder, model
        home = {"WEIGHTCUT_HOME": str(folder / "home"), "OMP_NUM_THREADS": "1"}
        self.environment = dict(os.environ) | home
        self.said: dict[str, str] = {}
        self.url = ""
        self.server: subprocess.Popen[str] | None = None

    def do(self, block: Block) -> None:
        """Do what a block says."""
        if block.language == "yaml":
            study = stand_in(yaml.safe_load(block.text), self.model)
            (self.folder / "tutorial.yaml").write_text(yaml.safe_dump(study, sort_keys=False))
        elif block.language == "python":
            assert self.url, "nothing is served yet"
            exec(block.text.replace(DOCUMENTED, self.url), {"__name__": "tutorial"})
        elif block.language == "sh":
            for words in commands(block):
                self.type(words)
        else:
            assert block.language == "text"

    def type(self, words: list[str]) -> None:
        """Run one command."""
        if words[0] == "curl":
            url, headers, data = read_curl(words[1:])
            method = "POST" if data is not None else "GET"
            url = url.replace(DOCUMENTED, self.url)
            answer = httpx.request(method, url, headers=headers, content=data, trust_env=False)
            assert answer.status_code == 200, answer.text
        elif words[:2] == ["weightcut", "serve"] and "--check" not in words:
            self.serve(words)
        elif words[0] == "weightcut":
            done = subprocess.run(self.command(words), **self.how(), check=False)
            assert done.returncode == 0, (words, done.stderr)
            self.said[" ".join(words[:2])] = done.stdout
        else:
            assert words[0] in INSTALLING, words

    def serve(self, words: list[str]) -> None:
        """Start the server on any free port, and wait until it says where it is."""
        words = ["0" if word == "8080" else word for word in words]
        self.server = subprocess.Popen([*self.command(words), "--json"], **self.how())
        stdout: IO[str] | None = self.server.stdout
        assert stdout is not None
        text = ""
        while not text.endswith("\n}\n"):
            line = stdout.readline()
            assert line, "the server ended"
            text += line
        self.url = json.loads(text)["url"]

    def command(self, words: list[str]) -> list[str]:
        return [sys.executable, "-m", "weightcut", *words[1:]]

    def how(self) -> dict[str, Any]:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return {"cwd": self.folder, "env": self.environment, **pipes}


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    model = humaneval_model(tmp_path / "model", skill=0.6)
    one = Reader(tmp_path, model)
    yield one
    if one.server is not None:
        one.server.kill()
        one.server.communicate()


def test_the_tutorial_works_as_it_is_written(reader: Reader) -> None:
    for block in blocks_of(PAGE):
        reader.do(block)
    assert "small" in reader.said["weightcut run"]
    run = reader.folder / "runs" / "tutorial"
    assert (run / "report.pdf").is_file()
    assert (reader.folder / "my-router" / "router.json").is_file()
    assert reader.server is not None
    reader.server.send_signal(signal.SIGINT)
    assert reader.server.wait(60) == 0, "Ctrl-C ends it as the page says"
