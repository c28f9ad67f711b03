"""Export a Hugging Face causal language model to ONNX, with the key-value cache as inputs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar, Literal

from pydantic import Field

from weightcut.compression.files import copy_companions
from weightcut.compression.hf_source import check_source
from weightcut.compression.method import Context, Requirements
from weightcut.compression.onnx_files import GRAPH, PACKAGES, WEIGHTS, stored_bytes
from weightcut.errors import NotHere
from weightcut.records import Format, Record
from weightcut.settings import isolated_environment

_CURE = "use another engine: transformers and openvino open this model"


class ExportONNX(Record):
    """Write the model as an ONNX graph of ONNX Runtime's fused operators.

    The model builder of onnxruntime-genai writes it: attention with grouped queries, sliding
    windows and rotary embedding is one operator (GroupQueryAttention) over key-value buffers that
    are inputs and outputs. In 32 bit the weights are exactly those of a 16-bit source; in 16 bit
    (fp16) they take half the disk, and ONNX Runtime widens them on a CPU when it opens them.
    """

    accepts: ClassVar[frozenset[Format]] = frozenset({"hf"})
    produces: ClassVar[Format] = "onnx"
    needs_calibration: ClassVar[bool] = False
    trains: ClassVar[bool] = False
    exact: ClassVar[bool] = True
    paper: ClassVar[str] = "https://onnxruntime.ai/docs/genai/howto/build-model.html"

    kind: Literal["export-onnx"] = "export-onnx"
    dtype: Literal["float32", "float16"] = Field(
        "float32", description="type of weights and activations in the graph"
    )

    @property
    def bits(self) -> float | None:
        """Bits of a stored weight."""
        return 32 if self.dtype == "float32" else 16

    def requirements(self) -> Requirements:
        """Return the model in the type asked for, twice, and what transformers weighs."""
        return Requirements(
            packages=(*PACKAGES, "torch", "transformers"),
            extra="onnx",
            memory_per_weight=10.0,
            base_memory=900_000_000,
            seconds_per_weight=3e-8,
            base_seconds=20.0,
            disk_per_weight=4.0 if self.dtype == "float32" else 2.0,
        )

    def compress(self, source: Path, out: Path, context: Context) -> None:
        """Let the builder write the graph, in a process of its own."""
        check_source(source)
        context.progress("writing the graph", None)
        with TemporaryDirectory(dir=out) as cache:
            _build(source, out, "fp32" if self.dtype == "float32" else "fp16", cache)
        (out / "config.json").write_bytes((source / "config.json").read_bytes())
        copy_companions(source, out)
        context.record.update(dtype=self.dtype, weights_bytes=stored_bytes(out))


def _build(source: Path, out: Path, precision: str, cache: str) -> None:
    """Run the model builder; NotHere with what it said where it does not know the family."""
    words = ["-i", str(source), "-o", str(out), "-p", precision, "-e", "cpu", "-c", cache]
    words += ["--extra_options", "hf_token=false"]
    done = subprocess.run(  # noqa: S603 - a fixed program; the words are paths of ours
        [sys.executable, "-P", "-m", "onnxruntime_genai.models.builder", *words],
        env=isolated_environment(),
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode or not all((out / name).is_file() for name in (GRAPH, WEIGHTS)):
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        why = lines[-1][:300] if lines else f"it ended with code {done.returncode}"
        raise NotHere(
            f"onnxruntime-genai's model builder cannot write this model: {why}",
            place=str(source),
            cure=_CURE,
        )
