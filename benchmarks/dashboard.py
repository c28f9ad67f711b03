"""How long the dashboard's pages take on a run with 100,000 stored samples.

    python benchmarks/dashboard.py [--samples 100000] [--browser]

Makes a run of five variants in a temporary folder, with answers of about 600 letters, and times
every page that reads it: first as the server draws it (no browser), with `--browser` also in
Chromium, from the request to the drawn page. Each page is opened twice; caches are cold at first.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.dashboard_runs import small_study, with_curve, write_run  # noqa: E402
from tests.studies import QUICKSTART  # noqa: E402

from weightcut.study.publish import publish  # noqa: E402

VARIANTS = (*QUICKSTART[:4], QUICKSTART[6])
PAGES = ("overview", "compare", "samples", "run", "train")


def make_run(folder: Path, samples: int) -> None:
    """Write a finished run with so many answers in all.

    Its `results.json` is that of a few of them: it has the same size, and the analysis, which a run
    makes once at its end, is not what is timed here.
    """
    study = small_study(characters=VARIANTS, samples=8)
    write_run(folder, study, with_curve)
    publish(folder, ("json",))
    draw = random.Random(0)
    each = samples // len(VARIANTS)
    connection = sqlite3.connect(folder / "results.sqlite")
    with connection:
        cells = connection.execute("select id from cells where task = 'humaneval'").fetchall()
        for (cell,) in cells:
            connection.execute("delete from observations where cell = ?", (cell,))
            connection.executemany(
                "insert into observations values (?, ?, 0, ?, ?)",
                (_answer(cell, number, draw) for number in range(each)),
            )
    connection.close()
    (folder / "results.json").touch()


def _answer(cell: int, number: int, draw: random.Random) -> tuple[int, str, str, str]:
    passed = float(draw.random() < 0.6)
    values = {
        "passed": passed, "codebleu": draw.random(), "parses": 1.0, "degenerate": 0.0,
        "token_limit": 0.0, "repetition": 0.0, "tokens": 120.0, "mean_logprob": -0.2,
    }  # fmt: skip
    body = "".join(f"    value_{i} = {draw.random():.3f}\n" for i in range(24))
    detail = {"text": f"def task_{number}():\n{body}", "output": "", "finish_reason": "stop"}
    return cell, f"sample-{number:06}", json.dumps(values), json.dumps(detail)


def draw(name: str, run: str) -> None:
    """Draw one page; what AppTest runs (its source is taken, so it stands alone)."""
    from importlib import import_module
    from pathlib import Path

    from weightcut.dashboard import show

    show.style()
    import_module(f"weightcut.dashboard.pages.{name}").show(Path(run), Path(run).parent)


def on_the_server(run: Path) -> None:
    """Print how long the server takes to draw each page."""
    from streamlit.testing.v1 import AppTest

    def opened(page: str) -> None:
        app = AppTest.from_function(draw, args=(page, str(run)), default_timeout=300).run()
        assert not app.exception, app.exception[0].message

    opened("run")  # imports what a server imports once
    _table("drawn by the server", opened)


def in_a_browser(run: Path) -> None:
    """Print how long a reader waits for each page in Chromium."""
    from playwright.sync_api import sync_playwright

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "weightcut", "dashboard", str(run.parent)]
    server = subprocess.Popen([*command, "--port", str(port), "--json"], stdout=subprocess.PIPE)
    assert server.stdout is not None
    server.stdout.readline()
    try:
        with sync_playwright() as play:
            browser = play.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
            )
            tab = browser.new_page()
            tab.set_default_timeout(120_000)

            def opened(page: str) -> None:
                tab.goto(f"http://127.0.0.1:{port}/{'' if page == 'overview' else page}")
                tab.locator(".wc-h1").first.wait_for()
                tab.wait_for_function(
                    "document.querySelector('[data-testid=stApp]')"
                    ".getAttribute('data-test-script-state') === 'notRunning'"
                )

            opened("run")
            _table("in Chromium, reload of the whole page included", opened)
            browser.close()
    finally:
        server.terminate()
        server.wait()


def _table(title: str, opened: Callable[[str], None]) -> None:
    print(f"\n{title}\n{'page':10} {'first':>8} {'again':>8}")
    for page in PAGES:
        times = []
        for _ in range(2):
            start = time.perf_counter()
            opened(page)
            times.append(time.perf_counter() - start)
        print(f"{page:10} {times[0]:7.2f}s {times[1]:7.2f}s")


def main() -> None:
    """Make the run and time the pages."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=100_000)
    parser.add_argument("--browser", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="weightcut-") as folder:
        run = Path(folder) / "runs" / "large"
        run.parent.mkdir()
        make_run(run, given.samples)
        on_the_server(run)
        if given.browser:
            in_a_browser(run)


if __name__ == "__main__":
    main()
