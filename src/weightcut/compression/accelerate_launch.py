"""Training in several processes: `accelerate launch` by a config, DeepSpeed's included."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
from collections import deque
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from weightcut import settings
from weightcut.compression.accelerate_start import BACKEND
from weightcut.compression.method import Context
from weightcut.compression.training import Windows
from weightcut.errors import (
    BrokenInput,
    NotHere,
    UsageError,
    WeightcutError,
    missing_extra,
    nearest,
)
from weightcut.files import write_whole
from weightcut.records import TokenBlocks

MARK = "weightcut:"
"""How lines of a training process begin that are meant for the one that launched it."""
_SHIPPED = Path(__file__).parents[1] / "studies" / "accelerate"
_ERRORS = {kind.__name__: kind for kind in (BrokenInput, NotHere, UsageError, WeightcutError)}


def wanted() -> bool:
    """Return whether training is to be launched: a config is named, and this is no launched one."""
    return bool(settings.accelerate_config()) and "LOCAL_RANK" not in os.environ


def run(method: Any, source: Path, out: Path, context: Context, text: Windows) -> None:
    """Have a method train in the processes of `accelerate launch`; its record goes to the context.

    They read the windows from `context.scratch`, so that all see the same ones. Whatever they
    raise is raised here.
    """
    config = _config(settings.accelerate_config())
    folder = context.scratch / "launch"
    folder.mkdir(exist_ok=True)
    for split, blocks in (("training", text.training), ("validation", text.held_out)):
        _save(folder / f"{split}.npz", blocks)
    job = {
        "step": {"kind": method.kind, **method.model_dump(mode="json", exclude={"kind"})},
        "source": str(source),
        "out": str(out),
        "origin": str(context.origin),
        "scratch": str(context.scratch),
        "shared": str(context.shared) if context.shared else None,
        "seed": context.seed,
    }
    write_whole(folder / "job.json", json.dumps(job).encode())
    launcher = "weightcut.compression.accelerate_start"
    command = [sys.executable, "-m", launcher, "--config_file", str(config)]
    command += ["--main_process_ip", "127.0.0.1", "--main_process_port", "0"]
    command += ["--rdzv_backend", BACKEND]
    command += ["-m", "weightcut.compression.accelerate_worker", str(folder)]
    tail: deque[str] = deque(maxlen=200)
    result: dict[str, Any] = {}
    with subprocess.Popen(  # noqa: S603 - the command is ours, a list and no shell's
        command,
        env=_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        preexec_fn=_die_with_parent,
    ) as process:
        for line in process.stdout or ():
            if not line.startswith(MARK):
                tail.append(line)
                continue
            told = json.loads(line.removeprefix(MARK))
            if "phrase" in told:
                context.progress(told["phrase"], told["share"])
            else:
                result = result if "error" in result else told
    if "error" in result:
        sys.stderr.writelines(tail)
        kind = _ERRORS.get(result["kind"], WeightcutError)
        raise kind(result["error"], place=result["place"], cure=result["cure"])
    if process.returncode or "record" not in result:
        sys.stderr.writelines(tail)
        said = next(
            (line.strip() for line in reversed(tail) if "Error" in line), "no error was told"
        )
        raise WeightcutError(
            f"accelerate launch ended with code {process.returncode}: {said}", place=str(config)
        )
    context.record.update(result["record"] | {"accelerate": config.stem})


def load_windows(path: Path) -> TokenBlocks:
    """Return windows that were saved for the launched processes."""
    with np.load(path, allow_pickle=False) as found:
        return TokenBlocks(
            ids=found["ids"],
            text_bytes=found["text_bytes"],
            source=str(found["source"]),
            scored=found.get("scored"),
        )


def _save(path: Path, blocks: TokenBlocks) -> None:
    more: dict[str, Any] = {} if blocks.scored is None else {"scored": blocks.scored}
    np.savez(
        path, ids=blocks.ids, text_bytes=blocks.text_bytes, source=np.array(blocks.source), **more
    )


def _config(name: str) -> Path:
    """Return the file of a config: one of weightcut's own by name, or the user's."""
    path = Path(name).expanduser()
    shipped = {file.stem: file for file in _SHIPPED.glob("*.yaml")}
    if name in shipped:
        path = shipped[name]
    elif not path.is_file():
        raise UsageError(
            f"WEIGHTCUT_ACCELERATE names no accelerate config: {name!r}; {nearest(name, shipped)}",
            cure="name one of these or a file that `accelerate config` wrote",
        )
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise BrokenInput(f"is no accelerate config: {error}", place=str(path)) from error
    if not isinstance(found, dict):
        raise BrokenInput("is no accelerate config: no mapping", place=str(path))
    if found.get("distributed_type") == "DEEPSPEED" and find_spec("deepspeed") is None:
        raise missing_extra("deepspeed", "deepspeed")
    return path


def _environment() -> dict[str, str]:
    """Return the environment: no hub, and connections of gloo and NCCL on the loopback alone."""
    found = settings.isolated_environment()
    found.pop("WEIGHTCUT_ACCELERATE", None)  # it is launched already
    found.setdefault("GLOO_SOCKET_IFNAME", "lo")
    found.setdefault("NCCL_SOCKET_IFNAME", "lo")
    found.setdefault("OMP_NUM_THREADS", "1")
    return found


def _die_with_parent() -> None:
    """Have the kernel kill the launcher when weightcut ends, however it ends."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
