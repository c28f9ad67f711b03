"""The page in a real browser that can reach nothing."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.studies import example_study

from weightcut.analysis.results import build_results
from weightcut.reports.html import write

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--virtual-time-budget=10000",
    "--enable-logging=stderr",
    "--v=0",
    "--proxy-server=127.0.0.1:9",
    "--dump-dom",
)


@pytest.mark.skipif(BROWSER is None, reason="needs Chromium to open the page in")
def test_charts_are_drawn_without_a_network(tmp_path: Path) -> None:
    path = write(build_results(*example_study(windows=12)), tmp_path / "run")
    assert BROWSER is not None
    done = subprocess.run(
        [BROWSER, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", path.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    charts = re.findall(r"<figure[^>]*data-chart=", path.read_text(encoding="utf-8"))
    assert len(charts) >= 6
    assert len(re.findall(r'<figure[^>]*class="is-live"', done.stdout)) == len(charts)
    assert "ov-int8" in re.findall(r"<svg.*?</svg>", done.stdout, re.DOTALL)[0]
    assert not re.findall(r".*CONSOLE.*(?:Error|Refused|WARN).*", done.stderr)
