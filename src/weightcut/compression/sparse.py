"""What the methods that set single weights to zero share: which, how many, and proof of it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from weightcut.compression import llm_compressor
from weightcut.compression.files import bytes_by_part
from weightcut.compression.hf_io import save_causal_lm
from weightcut.compression.hf_source import linear_layers, load_checked
from weightcut.compression.method import CalibrationText, Context, Requirements
from weightcut.errors import NotHere, UsageError
from weightcut.records import Format, Record

# YAML reads an unquoted 2:4 as 2 minutes and 4 seconds.
_AS_SECONDS = {124: "2:4", 248: "4:8"}


def _as_written(value: Any) -> Any:
    return _AS_SECONDS.get(value, value) if isinstance(value, int) else value


Pattern = Annotated[Literal["2:4", "4:8"] | None, BeforeValidator(_as_written)]


def check_pattern(pattern: Pattern, sparsity: float) -> None:
    """Refuse a share of zeros that a pattern cannot have; for a method's validator."""
    if pattern is not None and sparsity != 0.5:
        raise ValueError(f"the pattern {pattern} leaves half of the weights: sparsity is 0.5")


class Calibrated(Record):
    """What Wanda and SparseGPT share: all but the criterion, a modifier of llmcompressor's."""

    accepts: ClassVar[frozenset[Format]] = frozenset({"hf"})
    produces: ClassVar[Format] = "hf"
    needs_calibration: ClassVar[bool] = True
    trains: ClassVar[bool] = False
    exact: ClassVar[bool] = False
    bits: ClassVar[float | None] = None
    modifier: ClassVar[str]
    work: ClassVar[tuple[float, float]]
    """Forward passes that its work on the text is worth; seconds a weight of the rest."""

    sparsity: float = Field(0.5, gt=0, lt=1, description="share of the weights that become zero")
    pattern: Pattern = Field(
        None, description="weights left of each group of neighbours; null: anywhere"
    )
    windows: int = Field(32, ge=1, description="windows of calibration text")
    length: int = Field(512, ge=8, description="tokens of each window")
    text: CalibrationText = "code"

    @model_validator(mode="after")
    def _pattern_fits(self) -> Self:
        check_pattern(self.pattern, self.sparsity)
        return self

    def requirements(self) -> Requirements:
        """Return the 16-bit model, the activations of all windows, and a layer's statistics."""
        return llm_compressor.requirements(
            self.windows * self.length,
            *self.work,
            disk_per_weight=2.0,
            memory_per_weight=2.0,
            window=self.length,
        )

    def more(self) -> dict[str, Any]:
        """Return what the modifier is told beside sparsity and pattern."""
        return {}

    def compress(self, source: Path, out: Path, context: Context) -> None:
        """Prune every linear layer but the head, layer after layer, and write the result."""
        from importlib import import_module

        model = load_checked(source)
        layers = linear_layers(model)
        check_widths(self.pattern, ((name, layer.in_features) for name, layer in layers.items()))
        blocks = llm_compressor.windows(model, context, self.windows, self.length, self.text)
        context.progress("pruning layer after layer", None)
        module, _, name = self.modifier.partition(":")
        with llm_compressor.quiet():
            kind = getattr(import_module(f"llmcompressor.modifiers.pruning.{module}"), name)
            made = kind(
                sparsity=self.sparsity,
                mask_structure=self.pattern or "0:0",
                targets=list(layers),
                **self.more(),
            )
        llm_compressor.one_shot(model, [made], blocks)
        context.progress("writing", 0.95)
        zeros = {
            name: check_zeros(name, layer.weight, self.sparsity, self.pattern)
            for name, layer in layers.items()
        }
        save_causal_lm(model, source, out)
        tell(context, out, zeros, self.sparsity, self.pattern)


def check_widths(pattern: Pattern, layers: Iterable[tuple[str, int]]) -> None:
    """Refuse a pattern that does not divide a layer's inputs."""
    if pattern is None:
        return
    of = int(pattern.partition(":")[2])
    for name, inputs in layers:
        if inputs % of:
            raise UsageError(
                f"the pattern {pattern} does not divide the {inputs} inputs of {name}",
                cure="leave out the pattern: the same sparsity without one fits every width",
            )


def check_zeros(name: str, weight: Any, sparsity: float, pattern: Pattern) -> float:
    """Return the share of a pruned weight's elements that are zero; NotHere where it is too small.

    weight: [outputs, inputs]. A row may miss the share by one weight; a pattern must hold exactly.
    """
    zero = weight == 0
    share = float(zero.sum()) / int(zero.numel())
    good = bool(share >= sparsity - 1 / zero.shape[1])
    if pattern is not None:
        left, of = map(int, pattern.split(":"))
        good = bool((zero.reshape(-1, of).sum(1) >= of - left).all())
    if not good:
        raise NotHere(
            f"{name} has {share:.1%} zeros after pruning, not the {sparsity:.1%} "
            f"{f'in the pattern {pattern} ' if pattern else ''}that were asked for",
            cure="magnitude needs no calibration and prunes every family",
        )
    return share


def tell(
    context: Context, out: Path, zeros: dict[str, float], sparsity: float, pattern: str | None
) -> None:
    """Note what came of it: the zeros, and that they are stored like any other weight."""
    context.record.update(
        sparsity=sparsity,
        pattern=pattern,
        zeros_by_layer=zeros,
        stored="dense: as large and as slow as before on every engine here",
        bytes_by_part=bytes_by_part(out),
    )
