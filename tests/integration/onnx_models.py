"""Small families exported to ONNX, each once for all tests that look at it."""

from __future__ import annotations

import functools
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.families import make_family
from tests.integration.openvino_models import context, reference

from weightcut.records import Artifact

_FOLDER = TemporaryDirectory(prefix="onnx-families-")


class Family:
    """A family: its checkpoint, its export, transformers' model."""

    def __init__(self, name: str) -> None:
        from weightcut.compression.export_onnx import ExportONNX

        folder = Path(_FOLDER.name) / name
        self.source, self.out = make_family(name, folder / "hf"), folder / "onnx"
        self.out.mkdir()
        made = context(self.source)
        ExportONNX().compress(self.source, self.out, made)
        self.record: dict[str, Any] = made.record
        self.model = reference(self.source)


@functools.cache
def exported(name: str) -> Family:
    return Family(name)


def artifact(folder: Path, format_: str = "onnx") -> Artifact:
    return Artifact(path=folder, format=format_, digest="", bytes=0, checkpoint="")
