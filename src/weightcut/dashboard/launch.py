"""Starting the server of the pages: loopback alone, no telemetry, nothing fetched from outside."""

from __future__ import annotations

import ipaddress
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from urllib.error import URLError

from weightcut.errors import NotHere, UsageError, missing_extra

RUNS = "WEIGHTCUT_DASHBOARD_RUNS"
"""The environment variable by which the pages learn which folder they show."""
_SCRIPT = Path(__file__).parent / "entry" / "app.py"
_START_S = 60.0
_LIGHT = {
    "primaryColor": "#00664b",
    "backgroundColor": "#ffffff",
    "secondaryBackgroundColor": "#f3f5f6",
    "textColor": "#1b1f24",
    "linkColor": "#005f96",
    "borderColor": "#dfe2e6",
}
_DARK = {
    "primaryColor": "#178263",
    "backgroundColor": "#15181c",
    "secondaryBackgroundColor": "#20252b",
    "textColor": "#e6e9ed",
    "linkColor": "#74c3f2",
    "borderColor": "#39414a",
}


def serve(
    runs: Path, host: str, port: int, started: Callable[[str], None] = lambda _url: None
) -> int:
    """Serve the pages until interrupted; return the exit code.

    runs: a folder of runs, or a run. started: told the address once the pages can be opened.
    """
    loopback(host)
    if find_spec("streamlit") is None:
        raise missing_extra("streamlit", "dashboard")
    if _taken(host, port):
        raise UsageError(
            f"port {port} is taken", place=f"--port {port}", cure="choose another --port"
        )
    command = [sys.executable, "-m", "streamlit", "run", str(_SCRIPT), *_options(host, port)]
    environment = {**os.environ, RUNS: str(runs.resolve()), "PYTHONSAFEPATH": "1"}
    child = subprocess.Popen(  # noqa: S603
        command, env=environment, stdin=subprocess.DEVNULL, stdout=sys.stderr
    )
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    try:
        _wait(child, host, port)
        started(address(host, port))
        return child.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        if child.poll() is None:
            child.terminate()
            child.wait()


def loopback(host: str) -> None:
    """Raise where others than this machine's users could reach the pages."""
    try:
        inside = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        inside = False
    if not inside:
        raise UsageError(
            f"{host} is not an address of loopback: the pages start processes and ask for no "
            "password",
            place=f"--host {host}",
            cure="keep 127.0.0.1, and reach it from afar through ssh -L 8501:127.0.0.1:8501",
        )


def address(host: str, port: int) -> str:
    """Return the address of the pages."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _options(host: str, port: int) -> list[str]:
    options = {
        "server.address": host,
        "server.port": port,
        "server.headless": True,
        "server.showEmailPrompt": False,
        "server.fileWatcherType": "none",
        "server.enableCORS": True,
        "server.enableXsrfProtection": True,
        "browser.gatherUsageStats": False,
        "browser.serverAddress": host,
        "client.toolbarMode": "minimal",
        "client.showErrorDetails": "type",
        "client.showErrorLinks": False,
        "logger.level": "warning",
        "logger.hideWelcomeMessage": True,
        "theme.baseRadius": "8px",
        "theme.showWidgetBorder": True,
        **{f"theme.light.{key}": value for key, value in _LIGHT.items()},
        **{f"theme.dark.{key}": value for key, value in _DARK.items()},
    }
    # A foreign page cannot reach the server under a name of its own (DNS rebinding).
    hosts = [f"--server.allowedHosts={name}" for name in dict.fromkeys(("localhost", host))]
    return hosts + [f"--{key}={_written(value)}" for key, value in options.items()]


def _written(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _taken(host: str, port: int) -> bool:
    import socket

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind((host, port))
        except OSError:
            return True
    return False


def _wait(child: subprocess.Popen[bytes], host: str, port: int) -> None:
    # Never through a proxy of the environment: the request stays on this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        if child.poll() is not None:
            raise NotHere(f"the server of the pages ended at once (exit code {child.returncode})")
        try:
            with opener.open(f"{address(host, port)}/_stcore/health", timeout=2):
                return
        except (URLError, OSError):
            time.sleep(0.1)
    raise NotHere(f"the pages did not answer within {_START_S:.0f} s")
