"""One process of a launched training: `accelerate launch -m` with this module.

It runs the method as it would run alone; accelerate's environment tells the Trainer of the others.
What it has to say goes to stdout as lines of JSON behind a mark.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

from weightcut.compression import recipe
from weightcut.compression.accelerate_launch import MARK, load_windows
from weightcut.compression.method import Context, Split
from weightcut.errors import WeightcutError
from weightcut.records import Step, TextSource, TokenBlocks


def main() -> int:
    """Run the job in the folder that the first argument names."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # die with the launcher
    folder = Path(sys.argv[1])
    job = json.loads((folder / "job.json").read_text())
    _compile_nothing()
    first = os.environ.get("RANK", "0") == "0"
    kind = job["step"].pop("kind")
    context = Context(
        origin=Path(job["origin"]),
        texts=_texts(folder),
        scratch=Path(job["scratch"]),
        seed=job["seed"],
        progress=lambda phrase, share: _tell({"phrase": phrase, "share": share}) if first else None,
        shared=Path(job["shared"]) if job["shared"] else None,
    )
    try:
        method = recipe.build(Step(kind=kind, settings=job["step"]))
        method.compress(Path(job["source"]), Path(job["out"]), context)
    except WeightcutError as error:
        told = {"kind": type(error).__name__, "place": error.place, "cure": error.cure}
        _tell({"error": error.cause, **told})
        return 1
    except Exception as error:  # noqa: BLE001 - whatever a library raises costs this training only
        traceback.print_exc()
        said = f"process {os.environ.get('RANK', '0')}: {type(error).__name__}: {error}"
        _tell({"error": said, "kind": "WeightcutError", "place": "", "cure": ""})
        return 1
    if first:
        _tell({"record": context.record})
    return 0


def _compile_nothing() -> None:
    """Have DeepSpeed's processes on a CPU talk by gloo alone.

    It would compile an extension for it at first use, and whoever is killed at that leaves a lock
    that all later ones wait for, for ever.
    """
    import torch

    if os.environ.get("ACCELERATE_USE_DEEPSPEED") == "true" and not torch.cuda.is_available():
        from deepspeed import ops

        ops.__compatible_ops__["deepspeed_shm_comm"] = False


def _texts(folder: Path) -> Any:
    def texts(split: Split, *_asked: int | TextSource) -> TokenBlocks:
        return load_windows(folder / f"{split}.npz")

    return texts


def _tell(data: dict[str, Any]) -> None:
    sys.stdout.write(MARK + json.dumps(data) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
