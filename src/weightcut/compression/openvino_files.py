"""Read and write the files of an OpenVINO model folder, with errors that say what is wrong."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from weightcut.errors import BrokenInput

GRAPH = "openvino_model.xml"
WEIGHTS = "openvino_model.bin"


def read_graph(folder: Path) -> Any:
    """Return the OpenVINO model of a folder, its weights mapped from the file.

    BrokenInput where a file lacks or cannot be read.
    """
    import openvino as ov

    for name in (GRAPH, WEIGHTS):
        if not (folder / name).is_file():
            raise BrokenInput(f"there is no {name}", place=str(folder))
    try:
        return ov.Core().read_model(folder / GRAPH)
    except RuntimeError as error:
        raise BrokenInput(
            f"OpenVINO cannot read the model: {str(error).strip().splitlines()[-1][:300]}",
            place=str(folder / GRAPH),
        ) from error


def save_graph(graph: Any, out: Path) -> None:
    """Write an OpenVINO model into a folder; equal weights are stored once."""
    import openvino as ov

    ov.save_model(graph, out / GRAPH, compress_to_fp16=False)


def copy_beside(source: Path, out: Path) -> None:
    """Copy every file of an OpenVINO folder but the model itself (tokenizer, configs, licence)."""
    for path in sorted(source.iterdir()):
        if path.is_file() and path.name not in (GRAPH, WEIGHTS, "weightcut.json"):
            shutil.copyfile(path, out / path.name)
