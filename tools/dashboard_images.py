"""The pictures of docs/dashboard.md: every page of the dashboard on a run, in Chromium.

python tools/dashboard_images.py [RUNS] [--out docs/images]
"""

from __future__ import annotations

import argparse
import io
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

WIDE, TALL, PHONE = (1280, 1000), (1280, 1200), (390, 844)
COLOURS = 200


def main() -> None:
    """Start a dashboard, open every page, and write one picture of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="?", type=Path, default=Path("runs"))
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    given = parser.parse_args()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "weightcut", "dashboard", str(given.runs)]
    server = subprocess.Popen([*command, "--port", str(port), "--json"], stdout=subprocess.PIPE)
    assert server.stdout is not None
    server.stdout.readline()
    try:
        with sync_playwright() as play:
            browser = play.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
            )
            for name, (page, size, look, act) in PICTURES.items():
                context = browser.new_context(
                    viewport={"width": size[0], "height": size[1]}, color_scheme=look
                )
                tab = context.new_page()
                tab.set_default_timeout(120_000)
                tab.goto(f"http://127.0.0.1:{port}/{page}")
                _settle(tab)
                act(tab)
                _settle(tab)
                _write(tab.screenshot(), given.out / f"dashboard-{name}.png")
                context.close()
            browser.close()
    finally:
        server.terminate()
        server.wait()


def _settle(tab: Any) -> None:
    tab.locator(".wc-h1").first.wait_for()
    tab.wait_for_function(
        "document.querySelector('[data-testid=stApp]')"
        ".getAttribute('data-test-script-state') === 'notRunning'"
    )
    tab.wait_for_timeout(2_500)  # charts are drawn after the page


def _write(picture: bytes, path: Path) -> None:
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    image.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


def _flips(tab: Any) -> None:
    tab.get_by_role("combobox", name="Show").click()
    tab.get_by_role("option", name="flips", exact=False).first.click()
    _settle(tab)
    tab.get_by_text("Prompt", exact=True).click()


def _form(tab: Any) -> None:
    tab.get_by_text("New study", exact=True).click()


def _learn(tab: Any) -> None:
    tab.get_by_role("button", name="Learn a router").click()
    tab.get_by_text("threshold of the score").wait_for()
    _settle(tab)
    tab.get_by_role("slider").last.focus()
    for _ in range(30):
        tab.keyboard.press("ArrowLeft")


def _nothing(_tab: Any) -> None:
    return None


PICTURES: dict[str, tuple[str, tuple[int, int], Any, Callable[[Any], None]]] = {
    "overview": ("", TALL, "light", _nothing),
    "overview-phone": ("", PHONE, "dark", _nothing),
    "compare": ("compare", TALL, "dark", _nothing),
    "samples": ("samples", WIDE, "light", _flips),
    "run": ("run", WIDE, "light", _form),
    "train": ("train", WIDE, "dark", _nothing),
    "router": ("router", WIDE, "light", _learn),
    "hardware": ("hardware", WIDE, "light", _nothing),
}


if __name__ == "__main__":
    main()
