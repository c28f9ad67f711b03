"""Every code block of the docs is treated; how is said in tests/docs_blocks.py."""

from __future__ import annotations

import json
import re
import shutil
import sys
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.command_line import check_cli, commands, read_curl
from tests.docs_blocks import LANGUAGES, ROOT, Block, blocks, parse
from tests.serving import Served, config
from tests.studies import QUICKSTART as CHARACTERS
from tests.studies import example_study
from typer.testing import CliRunner

from weightcut.analysis.prices import read_prices
from weightcut.cli.main import app
from weightcut.errors import WeightcutError
from weightcut.records import Prices, StudySpec
from weightcut.routing.server.config import ServeConfig, read_config
from weightcut.store.run_store import RunStore
from weightcut.study.publish import publish
from weightcut.study.spec import load_study

BLOCKS = blocks()
OUTSIDE = {"docker", "openssl"}
"""What a block may call that is not the project's, if it says so."""
HARMLESS = {"cd", "cp", "mkdir", "export", "patch", ".", "echo"}


def of(*languages: str) -> list[Block]:
    return [block for block in BLOCKS if block.language in languages]


def test_every_block_has_a_treatment(capsys: pytest.CaptureFixture[str]) -> None:
    for block in BLOCKS:
        assert block.language in LANGUAGES, f"{block}: say the language, {LANGUAGES}"
    counts = Counter(f"{b.language}{f' ({b.mark})' if b.mark else ''}" for b in BLOCKS)
    with capsys.disabled():
        sys.stdout.write(f"\n{len(BLOCKS)} code blocks: {dict(sorted(counts.items()))}\n")
    assert counts["text"] < len(BLOCKS) / 2, "most blocks are shown and not tested"


# sh


@pytest.mark.parametrize("block", of("sh"), ids=str)
def test_shell_blocks_call_what_exists(block: Block) -> None:
    lines = list(commands(block))
    assert lines, f"{block}: nothing in it"
    for words in lines:
        check_words(words, block)


def check_words(words: list[str], block: Block) -> None:
    """Check one command against what it calls."""
    while words and re.match(r"[A-Z_]+=", words[0]):
        words = words[1:]  # VARIABLE=value in front of a command
    words = words[: next((i for i, w in enumerate(words) if w in (">", ">>", "<")), len(words))]
    program, *rest = words
    checks: dict[str, Callable[[list[str]], None]] = {
        "weightcut": check_cli,
        "make": check_make,
        "pip": check_pip,
        "python": check_python,
        "python3": check_python,
        "curl": lambda _rest: None,  # sent by test_curl_and_clients_are_answered
    }
    if program in checks:
        checks[program](rest)
    elif program in OUTSIDE:
        assert block.mark == "outside", f"{block}: {program} is not ours; mark the block"
        if rest[:1] == ["compose"]:
            check_compose(rest[1:])
    else:
        assert program in HARMLESS, f"{block}: what is {program!r}?"


def check_make(words: list[str]) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert words[0] in targets


def check_pip(words: list[str]) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert words[0] in ("install", "wheel", "download")
    for word in words[1:]:
        found = re.fullmatch(r"(?:weightcut|\.)\[([a-z,]+)\]", word)
        for extra in found[1].split(",") if found else ():
            assert extra in extras["optional-dependencies"], extra
    if "-c" in words:
        assert words[words.index("-c") + 1].endswith("constraints.txt")


def check_python(words: list[str]) -> None:
    if words[0] == "-c":
        compile(words[1], "docs", "exec")
    elif words[0] == "-m":
        assert words[1] in ("venv", "pip")
    else:
        assert (ROOT / words[0]).is_file(), words[0]


def check_compose(words: list[str]) -> None:
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    command, *rest = words
    assert command in ("build", "run", "up", "down", "logs")
    if command == "run":
        rest = [word for word in rest if word not in ("--rm", "-T")]
        assert rest[0] in services
        check_cli(rest[1:])


# What is run needs a place that looks like a user's.


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run, a price file, pairs to score, and the examples."""
    folder = tmp_path_factory.mktemp("place")
    run = folder / "runs" / "quickstart"
    study = example_study(samples=10, windows=2, characters=CHARACTERS[:2])
    store = RunStore.create(run, study.spec)
    for key, fact in (("conditions", study.conditions), ("machine", study.machine)):
        store.remember(key, fact)
    store.remember("started", "2026-11-20T10:00:00+00:00")
    store.plan([cell.key for cell in study.cells])
    for cell in study.cells:
        store.update(cell.key, state="done", manifest=cell.manifest, seconds=cell.seconds)
        for observation in study.observations[cell.key]:
            store.add(cell.key, observation)
    store.close()
    publish(run, ("json",))
    shutil.copytree(ROOT / "examples", folder / "examples")
    return folder


@pytest.fixture
def inside(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, with everything that reads the environment pointed at it."""
    monkeypatch.chdir(place)
    monkeypatch.setenv("WEIGHTCUT_HOME", str(place / "home"))
    return place


@pytest.mark.parametrize(
    "page", sorted({b.page for b in BLOCKS if b.language == "python" or b.mark == "run"})
)
def test_blocks_run_in_the_order_of_their_page(page: str, inside: Path) -> None:
    namespace: dict[str, Any] = {"__name__": "docs"}
    for block in (b for b in BLOCKS if b.page == page):
        if block.language == "python" and block.mark != "served":
            exec(compile("\n" * block.line + block.text, page, "exec"), namespace)
        if block.mark == "run":
            for words in commands(block):
                assert words[0] == "weightcut", f"{block}: only weightcut's commands are run"
                done = CliRunner().invoke(app, words[1:])
                assert done.exit_code == 0, f"{block}: {words}: {done.output} {done.exception}"


# What asks a server is asked of one.


@pytest.mark.parametrize(
    "block", [b for b in BLOCKS if b.mark == "served" or "\ncurl " in f"\n{b.text}"], ids=str
)
def test_curl_and_clients_are_answered(block: Block, served: str) -> None:
    import httpx

    text = block.text.replace("http://127.0.0.1:8080", served)
    if block.language == "python":
        exec(compile(text, str(block), "exec"), {"__name__": "docs"})
        return
    for words in commands(Block(block.page, block.line, "sh", text)):
        if words[0] != "curl":
            continue
        url, headers, data = read_curl(words[1:])
        method = "POST" if data is not None else "GET"
        answer = httpx.request(method, url, headers=headers, content=data, trust_env=False)
        assert answer.status_code == 200, f"{block}: {answer.text}"


@pytest.fixture(scope="module")
def served() -> Iterator[str]:
    """The address of the real server with scripted upstreams, in a thread."""
    import threading

    import uvicorn

    made = Served(config())
    server = uvicorn.Server(
        uvicorn.Config(made.app, host="127.0.0.1", port=0, log_level="error", ws="none")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        thread.join(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(10)


# yaml, json, toml


QUICKSTART = [b for b in of("yaml") if b.page == "docs/quickstart.md"]
"""The built-in study in pieces, which make sense together."""


@pytest.mark.parametrize("block", [b for b in of("yaml") if b not in QUICKSTART], ids=str)
def test_yaml_blocks_are_what_their_keys_say(block: Block, tmp_path: Path) -> None:
    path = tmp_path / "file.yaml"
    path.write_text(block.text)
    shutil.copy(ROOT / "examples" / "own_task.py", tmp_path)
    keys = set(yaml.safe_load(block.text))
    if keys <= set(Prices.model_fields):
        read_prices(path)
    elif keys <= set(ServeConfig.model_fields):
        read_config(path)
    else:
        assert keys <= set(StudySpec.model_fields), f"{block}: neither study, prices nor config"
        part = yaml.safe_load(block.text)
        path.write_text(yaml.safe_dump({**LEAST, **part}))
        load_study(path)


LEAST = {"model": "smollm2-135m", "variants": {"full": {"engine": "openvino"}}}


def test_the_quickstart_is_shown_whole() -> None:
    shown = "".join(block.text for block in QUICKSTART)
    assert yaml.safe_load(shown) == yaml.safe_load((ROOT / "studies/quickstart.yaml").read_text())


@pytest.mark.parametrize("block", of("json"), ids=str)
def test_json_blocks_are_json(block: Block) -> None:
    json.loads(block.text)


@pytest.mark.parametrize("block", of("toml"), ids=str)
def test_toml_blocks_are_toml(block: Block) -> None:
    tomllib.loads(block.text)


# The checks above see what is wrong.


@pytest.mark.parametrize(
    "line",
    [
        "weightcut rum quickstart",
        "weightcut run quickstart --nothing",
        "weightcut compress small --recipe int9 -o out",
        "weightcut doctor --gpu 'Voodoo 2'",
        "weightcut report runs/x --format docx",
        "weightcut run quickstart --set keep.shape=1",
        "weightcut evaluate small --engine steam",
        "weightcut evaluate small --task FILE.py:Class extra",
        "make coffee",
        "pip install 'weightcut[moon]'",
        "python benchmarks/nothing.py",
        "docker build .",
        "rm -rf /",
    ],
)
def test_a_wrong_line_is_seen(line: str) -> None:
    (block,) = parse(f"```sh\n{line}\n```\n", "page")
    with pytest.raises((AssertionError, WeightcutError)):
        test_shell_blocks_call_what_exists(block)


def test_marks_hold_for_the_next_block_alone() -> None:
    text = "<!-- run -->\n```sh\na\n```\n\n```sh\nb\n```\n\n<!-- parsed: why -->\n\ntext\n\n    c\n"
    assert [block.mark for block in parse(text, "page")] == ["run", "", ""]


def test_every_variable_of_the_environment_is_documented() -> None:
    text = (ROOT / "docs" / "environment.md").read_text()
    for path in (ROOT / "src").rglob("*.py"):
        for name in re.findall(r"\bWEIGHTCUT_[A-Z_]*[A-Z]\b(?!_)", path.read_text()):
            assert f"`{name}`" in text, name
    for name in re.findall(r"`(WEIGHTCUT_[A-Z_]+)`", text):
        assert any(name in path.read_text() for path in (ROOT / "src").rglob("*.py")), name
