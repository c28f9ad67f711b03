"""Where weightcut keeps things on this machine, from the environment and with defaults."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, cast


def home() -> Path:
    """Return the cache folder: `WEIGHTCUT_HOME`, else `weightcut` under the user's cache folder."""
    if "WEIGHTCUT_HOME" in os.environ:
        return Path(os.environ["WEIGHTCUT_HOME"]).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "weightcut"


def models_folder() -> Path:
    """Return the folder of pulled checkpoints."""
    return home() / "models"


def artifacts_folder() -> Path:
    """Return the folder of content-addressed compressed artifacts."""
    return home() / "artifacts"


def offline() -> bool:
    """Return whether the user forbade every network access (`WEIGHTCUT_OFFLINE=1`)."""
    return os.environ.get("WEIGHTCUT_OFFLINE", "") not in ("", "0")


def sandbox() -> str:
    """Return the name of the sandbox for untrusted code (`WEIGHTCUT_SANDBOX`)."""
    return os.environ.get("WEIGHTCUT_SANDBOX", "") or "fork-server"


def weak_sandbox_allowed() -> bool:
    """Return whether untrusted code may run without a protection that this machine lacks."""
    return os.environ.get("WEIGHTCUT_SANDBOX_ALLOW_WEAK", "") not in ("", "0")


def accelerate_config() -> str:
    """Return by which accelerate config models are trained (`WEIGHTCUT_ACCELERATE`), "" for none.

    It is a file, or the name of one of those that come with weightcut; none trains in one process.
    """
    return os.environ.get("WEIGHTCUT_ACCELERATE", "")


def isolated_environment() -> dict[str, str]:
    """Return the environment for processes that handle models: no hub, no telemetry, quiet."""
    return dict(os.environ) | {
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "DO_NOT_TRACK": "1",
        # The one switch by which openvino_telemetry (a dependency of NNCF) sends nothing.
        "CI": "true",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONHASHSEED": "0",
    }


def silence_telemetry() -> None:
    """Keep OpenVINO and NNCF, which report usage by default, from ever doing so in this process.

    Call it before importing them: without their reporting package both fall back to a stub.
    """
    sys.modules.setdefault("openvino_telemetry", cast("Any", None))
