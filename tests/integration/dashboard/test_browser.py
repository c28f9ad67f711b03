"""The pages in a real browser that can reach nothing but them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.dashboard_runs import hostile_study, small_study, with_curve, with_real_names, write_run
from tests.scripted_models import humaneval_model, scripted_study

from weightcut.dashboard import jobs, runs

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytest.importorskip("streamlit", reason="the extra `dashboard` is not installed")
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
         "--disable-background-networking", "--disable-component-update"]  # fmt: skip
LONG_MS = 120_000
pytestmark = pytest.mark.skipif(BROWSER is None, reason="needs Chromium to open the pages in")
MAGIC = {"CSV": b"", "JSON": b"{", "HTML": b"<!doctype html", "PDF": b"%PDF-"}


class Server:
    """A dashboard in a process of its own."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        command = [sys.executable, "-m", "weightcut", "dashboard", str(folder),
                   "--port", str(self.port), "--json"]  # fmt: skip
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        lines = [self.process.stdout.readline() for _ in range(4)]
        self.url = json.loads("".join(lines))["url"]

    def close(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=60)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("runs")
    write_run(place / "hostile", hostile_study(), with_curve)
    write_run(place / "example", with_real_names(small_study(samples=64)), with_curve)
    return place


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    one = Server(folder)
    yield one
    one.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as play:
        one = play.chromium.launch(executable_path=BROWSER, args=FLAGS)
        yield one
        one.close()


@pytest.fixture
def tab(browser: Any) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    page = context.new_page()
    page.set_default_timeout(LONG_MS)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    yield page
    foreign = [url for url in asked if not url.startswith(("http://127.0.0.1", "data:", "blob:"))]
    assert not foreign
    context.close()


def _open(tab: Any, server: Server, page: str, run: str = "example") -> None:
    tab.goto(f"{server.url}/{page}?run={run}")
    tab.locator(".wc-h1").first.wait_for()
    _settled(tab)


def _settled(tab: Any) -> None:
    """Wait until the script of the page has run to its end."""
    tab.wait_for_function(
        "document.querySelector('[data-testid=stApp]')"
        ".getAttribute('data-test-script-state') === 'notRunning'"
    )
    assert tab.get_by_test_id("stException").count() == 0


def _choose(tab: Any, label: str, option: str, *, exact: bool = False) -> None:
    """Choose an option; where a redrawn page has closed the list or lost the click, once more."""
    field = tab.get_by_role("combobox", name=label).first
    wanted = tab.get_by_role("option", name=option, exact=exact).first
    tag = tab.locator(f"[data-tag][aria-label*='{option}']").first
    for _ in range(10):
        field.click()
        with contextlib.suppress(sync_api.TimeoutError):
            wanted.click(timeout=5_000)
        tab.locator(".wc-h1").first.click()  # closes the list
        _settled(tab)
        if tag.count() or option in field.input_value():
            return
    pytest.fail(f"{option} of {label} cannot be chosen")


def _downloaded(tab: Any, button: Any) -> Any:
    """Return the file behind a button; a click that a redrawn page has lost is made again."""
    for _ in range(4):
        _settled(tab)
        with contextlib.suppress(sync_api.TimeoutError), tab.expect_download(timeout=40_000) as one:
            button.click()
            return one.value
    pytest.fail("the button brings no file")


def _exports(tab: Any, key: str, folder: Path) -> dict[str, bytes]:
    found = {}
    for label, magic in MAGIC.items():
        button = tab.locator(f".st-key-wc-export-{key}").get_by_role("button", name=label)
        file = _downloaded(tab, button)
        path = folder / file.suggested_filename
        file.save_as(path)
        found[label] = path.read_bytes()
        assert found[label].startswith(magic)
        assert found[label]
    json.loads(found["JSON"])
    return found


@pytest.mark.parametrize(
    ("page", "key"),
    [("", "overview"), ("compare", "compare"), ("samples", "samples"), ("samples", "sample"),
     ("run", "progress"), ("train", "train")],
)  # fmt: skip
def test_what_a_page_shows_can_be_taken_along(
    tab: Any, server: Server, tmp_path: Path, page: str, key: str
) -> None:
    _open(tab, server, page)
    if key == "samples":
        tab.get_by_text("samples of this page").click()
    found = _exports(tab, key, tmp_path)
    assert b"ov-int8" in found["CSV"] or b"distilled-int8" in found["CSV"]


@pytest.mark.parametrize(
    ("label", "option", "left_out"),
    [("Method", "int8", 4), ("Engine", "transformers", 5), ("Bits", "4", 5),
     ("Verdict", "baseline", 6)],
)  # fmt: skip
def test_the_filters_of_the_overview(
    tab: Any, server: Server, label: str, option: str, left_out: int
) -> None:
    _open(tab, server, "")
    tab.get_by_text("Filters", exact=True).click()
    _choose(tab, label, option, exact=True)
    tab.get_by_text(f"{left_out} of 7 variants are filtered out").wait_for()
    _settled(tab)


def test_the_task_filter_and_the_axes_of_the_overview(tab: Any, server: Server) -> None:
    _open(tab, server, "")
    for axis in ("throughput, 32 at once", "size on disk"):
        _choose(tab, "Across", axis)
        chart = tab.locator(".st-key-wc-wide-tradeoff svg")
        chart.get_by_text(axis, exact=False).first.wait_for()
    tab.get_by_text("Filters", exact=True).click()
    _choose(tab, "Task", "perplexity", exact=True)
    tab.locator(".wc-h3", has_text="humaneval").first.wait_for(state="detached")
    _settled(tab)


def test_variants_to_compare_can_be_chosen(tab: Any, server: Server) -> None:
    _open(tab, server, "compare")
    _choose(tab, "Variants", "pruned-int8", exact=True)
    tab.locator(".wc-table thead", has_text="pruned-int8").first.wait_for()
    _settled(tab)


def test_flips_and_pages_of_samples(tab: Any, server: Server) -> None:
    _open(tab, server, "samples")
    tab.get_by_text("Sample (64 found)").wait_for()
    _choose(tab, "Show", "flips")
    tab.get_by_text("Sample (64 found)").wait_for(state="detached")
    _choose(tab, "Show", "all")
    number = tab.get_by_label("Page, of 4")
    number.fill("4")
    number.press("Enter")
    tab.get_by_text("The 4 samples of this page").wait_for()
    search = tab.get_by_label("Name contains")
    search.fill("011")
    search.press("Enter")
    tab.get_by_text("Sample (1 found)").wait_for()
    _settled(tab)


@pytest.mark.parametrize("page", ["", "compare", "samples", "train"])
def test_nothing_of_a_run_is_taken_as_markup(tab: Any, server: Server, page: str) -> None:
    _open(tab, server, page, "hostile")
    assert tab.evaluate("window.hacked") is None
    assert tab.locator("img[src='x']").count() == 0
    assert tab.locator("a[href*='e.invalid']").count() == 0


def test_a_phone_and_the_dark_theme(browser: Any, server: Server) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 800}, color_scheme="dark")
    tab = context.new_page()
    tab.set_default_timeout(LONG_MS)
    _open(tab, server, "")
    tab.locator(".st-key-wc-narrow-tradeoff svg").first.wait_for()
    assert not tab.locator(".st-key-wc-wide-tradeoff svg").first.is_visible()
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    ground = tab.evaluate("getComputedStyle(document.querySelector('.stApp')).backgroundColor")
    assert ground == "rgb(21, 24, 28)"
    context.close()


def test_a_router_is_learnt_and_a_prompt_tried(tab: Any, server: Server, tmp_path: Path) -> None:
    _open(tab, server, "router")
    tab.get_by_role("button", name="Learn a router").click()
    tab.get_by_text("threshold of the score").wait_for()
    prompt = tab.get_by_label("Your prompt")
    prompt.fill("Write a function that adds two numbers.")
    prompt.press("Control+Enter")
    tab.get_by_text("Decision", exact=True).wait_for()
    _settled(tab)
    found = _exports(tab, "promises", tmp_path)
    assert len(json.loads(found["JSON"])["promises"]) == 50
    tab.get_by_role("button", name="Evaluate").click()
    tab.get_by_text("Up and to the left is better").wait_for(timeout=120_000)
    _settled(tab)
    found = _exports(tab, "evaluation", tmp_path)
    assert {"blend", "random", "oracle"} <= set(json.loads(found["JSON"])["policies"])


def test_the_hardware_page_tells_what_runs(tab: Any, server: Server, tmp_path: Path) -> None:
    _open(tab, server, "hardware")
    tab.locator(".wc-h2", has_text="Methods").wait_for()
    _settled(tab)
    assert "parts" in json.loads(_exports(tab, "hardware", tmp_path)["JSON"])


@pytest.fixture
def long_study(tmp_path: Path) -> str:
    """A scripted study that would take minutes."""
    model = humaneval_model(tmp_path / "model", sleep_s=0.5)
    return scripted_study(tmp_path, model, limit=120, profile=None).read_text()


def _state(tab: Any, words: str) -> None:
    tab.get_by_test_id("run-state").get_by_text(words, exact=False).wait_for()


def test_a_study_is_planned_started_watched_stopped_and_gone_on_with(
    tab: Any, folder: Path, long_study: str
) -> None:
    server = Server(folder)
    try:
        _open(tab, server, "run")
        tab.get_by_text("New study", exact=True).click()
        tab.get_by_text("As a study file").click()
        tab.get_by_text("Edit by hand").click()
        text = tab.get_by_label("Study file")
        text.fill(long_study)
        text.press("Control+Enter")
        _settled(tab)
        tab.get_by_role("button", name="Show the plan").click()
        tab.get_by_text("12 of 12").wait_for()
        tab.get_by_role("button", name="Start", exact=False).last.click()
        _state(tab, "running")
        tab.locator("td", has_text="▶ running").wait_for()
        run = folder / "scripted"
        number = jobs.process(run)
        assert number is not None
    finally:
        server.close()  # the study goes on without the pages
    assert jobs.process(run) == number
    server = Server(folder)
    try:
        _open(tab, server, "run", "scripted")
        _state(tab, "running")
        tab.get_by_test_id("log").wait_for()
        tab.get_by_role("button", name="Stop").click()
        _state(tab, "stopped")
        assert jobs.process(run) is None
        kept = sum(runs.counts(run).values())
        tab.get_by_role("button", name="Go on").click()
        _state(tab, "running")
        assert sum(runs.counts(run).values()) >= kept
        tab.get_by_role("button", name="Stop").click()
        _state(tab, "stopped")
    finally:
        server.close()
        _kill(run)


def _kill(run: Path) -> None:
    number = jobs.process(run)
    if number is not None:
        os.kill(number, signal.SIGKILL)


def test_an_infeasible_and_a_wrong_study_are_explained(
    tab: Any, server: Server, long_study: str
) -> None:
    _open(tab, server, "run")
    tab.get_by_text("New study", exact=True).click()
    tab.get_by_text("As a study file").click()
    tab.get_by_text("Edit by hand").click()
    text = tab.get_by_label("Study file")
    for wrong, says in (
        (long_study.replace("engine: scripted", "engine: scripeted"), "did you mean 'scripted'"),
        ("study: [", "YAML"),
    ):
        text.fill(wrong)
        text.press("Control+Enter")
        _settled(tab)
        tab.get_by_role("button", name="Show the plan").click()
        tab.locator(".wc-notice.error", has_text=says).wait_for()


def test_foreign_pages_cannot_talk_to_the_server(server: Server) -> None:
    request = (
        "GET /_stcore/stream HTTP/1.1\r\nHost: evil.example\r\nOrigin: http://evil.example\r\n"
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as one:
        one.sendall(request.encode())
        assert b" 101 " not in one.recv(4096).partition(b"\r\n")[0]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_command_ends_the_server(folder: Path, number: signal.Signals) -> None:
    server = Server(folder)
    server.process.send_signal(number)
    server.process.communicate(timeout=60)
    assert server.process.returncode == 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port), timeout=10)
