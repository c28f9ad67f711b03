"""Where weightcut keeps things on this machine, from the environment and with defaults."""

from __future__ import annotations

import os
from pathlib import Path


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
