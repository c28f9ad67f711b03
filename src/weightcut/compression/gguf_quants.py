"""Quantized GGUF files: one class for each of llama.cpp's types that needs no data."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from weightcut.compression import gguf_weights
from weightcut.compression.method import Context, Requirements
from weightcut.records import Format, Record

_SOURCE = "https://github.com/ggml-org/llama.cpp/blob/master/tools/quantize/README.md"


class GgufQ80(Record):
    """Round the weights to 8 bit in blocks of 32 that share a 16-bit scale."""

    accepts: ClassVar[frozenset[Format]] = frozenset({"gguf"})
    produces: ClassVar[Format] = "gguf"
    needs_calibration: ClassVar[bool] = False
    trains: ClassVar[bool] = False
    exact: ClassVar[bool] = False
    bits: ClassVar[float | None] = 8.5
    paper: ClassVar[str] = _SOURCE

    kind: Literal["gguf-q8_0"] = "gguf-q8_0"

    def requirements(self) -> Requirements:
        """Return what llama.cpp needs."""
        return gguf_weights.requirements(8.5)

    def compress(self, source: Path, out: Path, context: Context) -> None:
        """Write the file with its weights rounded."""
        gguf_weights.quantize(source, out, context, "Q8_0")


class GgufQ6K(Record):
    """Round the weights to 6 bit in super-blocks of 256, whose 16 scales are 8 bit themselves.

    A matrix whose rows 256 does not divide gets a type with blocks of 32 instead; the record names
    each matrix by its type.
    """

    accepts: ClassVar[frozenset[Format]] = frozenset({"gguf"})
    produces: ClassVar[Format] = "gguf"
    needs_calibration: ClassVar[bool] = False
    trains: ClassVar[bool] = False
    exact: ClassVar[bool] = False
    bits: ClassVar[float | None] = 6.5625
    paper: ClassVar[str] = _SOURCE

    kind: Literal["gguf-q6_k"] = "gguf-q6_k"

    def requirements(self) -> Requirements:
        """Return what llama.cpp needs."""
        return gguf_weights.requirements(6.5625)

    def compress(self, source: Path, out: Path, context: Context) -> None:
        """Write the file with its weights rounded."""
        gguf_weights.quantize(source, out, context, "Q6_K")


class GgufQ5KM(Record):
    """Round the weights to 5 bit in super-blocks of 256, the tensors that matter most in 6 bit.

    A matrix whose rows 256 does not divide gets a type with blocks of 32 instead; the record names
    each matrix by its type.
    """

    accepts: ClassVar[frozenset[Format]] = frozenset({"gguf"})
    produces: ClassVar[Format] = "gguf"
    needs_calibration: ClassVar[bool] = False
    trains: ClassVar[bool] = False
    exact: ClassVar[bool] = False
    bits: ClassVar[float | None] = 5.5
    paper: ClassVar[str] = _SOURCE

    kind: Literal["gguf-q5_k_m"] = "gguf-q5_k_m"

    def requirements(self) -> Requirements:
        """Return what llama.cpp needs."""
        return gguf_weights.requirements(5.5)

    def compress(self, source: Path, out: Path, context: Context) -> None:
        """Write the file with its weights rounded."""
        gguf_weights.quantize(source, out, context, "Q5_K_M")


class GgufQ4KM(Record):
    """Round the weights to 4 bit in super-blocks of 256, the tensors that matter most in 6 bit.

    A matrix whose rows 256 does not divide gets a type with blocks of 32 instead; the record names
    each matrix by its type.
    """

    accepts: ClassVar[frozenset[Format]] = frozenset({"gguf"})
    produces: ClassVar[Format] = "gguf"
    needs_calibration: ClassVar[bool] = False
    trains: ClassVar[bool] = False
    exact: ClassVar[bool] = False
    bits: ClassVar[float | None] = 4.5
    paper: ClassVar[str] = _SOURCE

    kind: Literal["gguf-q4_k_m"] = "gguf-q4_k_m"

    def requirements(self) -> Requirements:
        """Return what llama.cpp needs."""
        return gguf_weights.requirements(4.5)

    def compress(self, source: Path, out: Path, context: Context) -> None:
        """Write the file with its weights rounded."""
        gguf_weights.quantize(source, out, context, "Q4_K_M")


class GgufQ40(Record):
    """Round the weights to 4 bit in blocks of 32 that share a 16-bit scale: quick everywhere."""

    accepts: ClassVar[frozenset[Format]] = frozenset({"gguf"})
    produces: ClassVar[Format] = "gguf"
    needs_calibration: ClassVar[bool] = False
    trains: ClassVar[bool] = False
    exact: ClassVar[bool] = False
    bits: ClassVar[float | None] = 4.5
    paper: ClassVar[str] = _SOURCE

    kind: Literal["gguf-q4_0"] = "gguf-q4_0"

    def requirements(self) -> Requirements:
        """Return what llama.cpp needs."""
        return gguf_weights.requirements(4.5)

    def compress(self, source: Path, out: Path, context: Context) -> None:
        """Write the file with its weights rounded."""
        gguf_weights.quantize(source, out, context, "Q4_0")


class GgufIQ4XS(Record):
    """Round the weights to 4 bit, on levels that lie denser near zero, in super-blocks of 256.

    A matrix whose rows 256 does not divide gets a type with blocks of 32 instead; the record names
    each matrix by its type.
    """

    accepts: ClassVar[frozenset[Format]] = frozenset({"gguf"})
    produces: ClassVar[Format] = "gguf"
    needs_calibration: ClassVar[bool] = False
    trains: ClassVar[bool] = False
    exact: ClassVar[bool] = False
    bits: ClassVar[float | None] = 4.25
    paper: ClassVar[str] = _SOURCE

    kind: Literal["gguf-iq4_xs"] = "gguf-iq4_xs"

    def requirements(self) -> Requirements:
        """Return what llama.cpp needs."""
        return gguf_weights.requirements(4.25)

    def compress(self, source: Path, out: Path, context: Context) -> None:
        """Write the file with its weights rounded."""
        gguf_weights.quantize(source, out, context, "IQ4_XS")


class GgufIQ4NL(Record):
    """Round the weights to 4 bit, on levels that lie denser near zero, in blocks of 32."""

    accepts: ClassVar[frozenset[Format]] = frozenset({"gguf"})
    produces: ClassVar[Format] = "gguf"
    needs_calibration: ClassVar[bool] = False
    trains: ClassVar[bool] = False
    exact: ClassVar[bool] = False
    bits: ClassVar[float | None] = 4.5
    paper: ClassVar[str] = _SOURCE

    kind: Literal["gguf-iq4_nl"] = "gguf-iq4_nl"

    def requirements(self) -> Requirements:
        """Return what llama.cpp needs."""
        return gguf_weights.requirements(4.5)

    def compress(self, source: Path, out: Path, context: Context) -> None:
        """Write the file with its weights rounded."""
        gguf_weights.quantize(source, out, context, "IQ4_NL")


class GgufQ3KM(Record):
    """Round the weights to 3 bit in super-blocks of 256, some tensors in 4 and 5 bit.

    A matrix whose rows 256 does not divide gets a type with blocks of 32 instead; the record names
    each matrix by its type.
    """

    accepts: ClassVar[frozenset[Format]] = frozenset({"gguf"})
    produces: ClassVar[Format] = "gguf"
    needs_calibration: ClassVar[bool] = False
    trains: ClassVar[bool] = False
    exact: ClassVar[bool] = False
    bits: ClassVar[float | None] = 3.4375
    paper: ClassVar[str] = _SOURCE

    kind: Literal["gguf-q3_k_m"] = "gguf-q3_k_m"

    def requirements(self) -> Requirements:
        """Return what llama.cpp needs."""
        return gguf_weights.requirements(3.4375)

    def compress(self, source: Path, out: Path, context: Context) -> None:
        """Write the file with its weights rounded."""
        gguf_weights.quantize(source, out, context, "Q3_K_M")


class GgufQ2K(Record):
    """Round the weights to 2 bit in super-blocks of 256, some tensors in 3 and 4 bit.

    A matrix whose rows 256 does not divide gets a type with blocks of 32 instead; the record names
    each matrix by its type.
    """

    accepts: ClassVar[frozenset[Format]] = frozenset({"gguf"})
    produces: ClassVar[Format] = "gguf"
    needs_calibration: ClassVar[bool] = False
    trains: ClassVar[bool] = False
    exact: ClassVar[bool] = False
    bits: ClassVar[float | None] = 2.625
    paper: ClassVar[str] = _SOURCE

    kind: Literal["gguf-q2_k"] = "gguf-q2_k"

    def requirements(self) -> Requirements:
        """Return what llama.cpp needs."""
        return gguf_weights.requirements(2.625)

    def compress(self, source: Path, out: Path, context: Context) -> None:
        """Write the file with its weights rounded."""
        gguf_weights.quantize(source, out, context, "Q2_K")
