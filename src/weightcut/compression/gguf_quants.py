"""Quantized GGUF files: one class for each of llama.cpp's types that needs no data."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from weightcut.compression import gguf_weights
from weightcut.compression.method import Context, Requirements
from weightcut.records import Format, Record

_SOURCE = "https://github.com/ggml-org/llama.cpp/blob/master/tools/quantize/README.md"


class GgufRounding(Record):
    """What the types have in common: a name, bits for each weight, and no settings.

    Where a type has super-blocks of 256, a matrix whose rows 256 does not divide gets a type with
    blocks of 32 instead; the record names each matrix by its type.
    """

    accepts: ClassVar[frozenset[Format]] = frozenset({"gguf"})
    produces: ClassVar[Format] = "gguf"
    needs_calibration: ClassVar[bool] = False
    trains: ClassVar[bool] = False
    exact: ClassVar[bool] = False
    bits: ClassVar[float | None]
    paper: ClassVar[str] = _SOURCE

    kind: str

    def requirements(self) -> Requirements:
        """Return what llama.cpp needs."""
        return gguf_weights.requirements(self.bits or 16)

    def compress(self, source: Path, out: Path, context: Context) -> None:
        """Write the file with its weights rounded."""
        gguf_weights.quantize(source, out, context, self.kind.removeprefix("gguf-").upper())


class GgufQ80(GgufRounding):
    """Round the weights to 8 bit in blocks of 32 that share a 16-bit scale."""

    bits: ClassVar[float | None] = 8.5
    kind: Literal["gguf-q8_0"] = "gguf-q8_0"


class GgufQ6K(GgufRounding):
    """Round the weights to 6 bit in super-blocks of 256, whose 16 scales are 8 bit themselves."""

    bits: ClassVar[float | None] = 6.5625
    kind: Literal["gguf-q6_k"] = "gguf-q6_k"


class GgufQ5KM(GgufRounding):
    """Round the weights to 5 bit in super-blocks of 256, the tensors that matter most in 6 bit."""

    bits: ClassVar[float | None] = 5.5
    kind: Literal["gguf-q5_k_m"] = "gguf-q5_k_m"


class GgufQ4KM(GgufRounding):
    """Round the weights to 4 bit in super-blocks of 256, the tensors that matter most in 6 bit."""

    bits: ClassVar[float | None] = 4.5
    kind: Literal["gguf-q4_k_m"] = "gguf-q4_k_m"


class GgufQ40(GgufRounding):
    """Round the weights to 4 bit in blocks of 32 that share a 16-bit scale: quick everywhere."""

    bits: ClassVar[float | None] = 4.5
    kind: Literal["gguf-q4_0"] = "gguf-q4_0"


class GgufIQ4XS(GgufRounding):
    """Round the weights to 4 bit, on levels that lie denser near zero, in super-blocks of 256."""

    bits: ClassVar[float | None] = 4.25
    kind: Literal["gguf-iq4_xs"] = "gguf-iq4_xs"


class GgufIQ4NL(GgufRounding):
    """Round the weights to 4 bit, on levels that lie denser near zero, in blocks of 32."""

    bits: ClassVar[float | None] = 4.5
    kind: Literal["gguf-iq4_nl"] = "gguf-iq4_nl"


class GgufQ3KM(GgufRounding):
    """Round the weights to 3 bit in super-blocks of 256, some tensors in 4 and 5 bit."""

    bits: ClassVar[float | None] = 3.4375
    kind: Literal["gguf-q3_k_m"] = "gguf-q3_k_m"


class GgufQ2K(GgufRounding):
    """Round the weights to 2 bit in super-blocks of 256, some tensors in 3 and 4 bit."""

    bits: ClassVar[float | None] = 2.625
    kind: Literal["gguf-q2_k"] = "gguf-q2_k"
