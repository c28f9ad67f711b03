"""The command that fills a cache folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def compress(model: Path, home: Path, recipe: str, out: str) -> subprocess.CompletedProcess[str]:
    """Run `weightcut compress` in the model's parent folder, with a cache folder."""
    environment = dict(os.environ) | {"WEIGHTCUT_HOME": str(home), "COLUMNS": "200"}
    words = ["compress", str(model), "--recipe", recipe, "-o", out]
    return subprocess.run(
        [sys.executable, "-m", "weightcut", *words],
        cwd=model.parent, capture_output=True, text=True, env=environment, check=False,
    )  # fmt: skip
