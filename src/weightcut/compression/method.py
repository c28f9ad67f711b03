"""The contract of a compression method, and what one is given beside its source."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Protocol, runtime_checkable

from pydantic import Field

from weightcut.records import Format, TextSource, TokenBlocks

Split = Literal["calibration", "prose", "training", "validation"]
CalibrationText = Annotated[
    Literal["code", "prose"],
    Field(description="calibrate on Python source, or on English prose about Python"),
]
CALIBRATION: Mapping[CalibrationText, Split] = {"code": "calibration", "prose": "prose"}


@dataclass(frozen=True)
class Requirements:
    """What a method needs to run: packages that must import, and the extra that brings them.

    memory_per_weight: peak resident bytes for each weight of the source, beyond base_memory bytes.
    seconds_per_weight: rough wall seconds for each weight on one core of this generation.
    tokens, window: of the texts that pass through the model, all together and in one window.
    passes: forward passes that the work on each token is worth. weights_left: share of the layers'
    weights that are there after it. outer_bits: bits that a weight of embeddings and head has after
    it. Where costs were measured (`study/costs.yaml`), predictions use these five, not the figures
    by weight.
    """

    packages: tuple[str, ...] = ()
    extra: str = ""
    gpu: bool = False
    memory_per_weight: float = 4.0
    base_memory: int = 700_000_000
    seconds_per_weight: float = 5e-8
    base_seconds: float = 5.0
    disk_per_weight: float = 2.0
    tokens: int = 0
    window: int = 0
    passes: float = 1.0
    weights_left: float = 1.0
    outer_bits: float = 16.0


class Texts(Protocol):
    """Windows of a split's text as token ids; the splits are disjoint, also from evaluation text.

    source: a text of the user's own, for training and validation; None: the embedded text.
    """

    def __call__(
        self, split: Split, blocks: int, length: int, source: TextSource | None = None
    ) -> TokenBlocks:
        """Return `blocks` windows of `length` tokens; UsageError where the text is too short."""
        ...


def _silent(phrase: str, share: float | None) -> None:
    """Report progress to nobody."""


@dataclass(frozen=True)
class Context:
    """What every method may use and most ignore.

    origin: the checkpoint folder that the recipe started from (a teacher, for instance).
    texts: windows of text, `texts(split, blocks, length)`. seed: for anything random.
    progress: called with a phrase and the share done (0..1, or None where unknown).
    record: what the artifact's record shall say of the step (group sizes, layers, losses).
    scratch: a folder that outlives a killed run of the same step, for checkpoints to resume from.
    shared: a folder of what several steps can use, content-addressed and bounded by who fills it.
    """

    origin: Path
    texts: Texts
    scratch: Path
    seed: int = 0
    progress: Callable[[str, float | None], None] = _silent
    record: dict[str, Any] = field(default_factory=dict)
    shared: Path | None = None


@runtime_checkable
class Varying(Protocol):
    """A method whose settings decide the format of its result."""

    def produced(self) -> Format:
        """Return the format that these settings give, of which `produces` is the usual one."""
        ...


@runtime_checkable
class Reading(Protocol):
    """A method that reads more than its source: a teacher, a text of the user's own."""

    def text_source(self) -> TextSource | None:
        """Return the user's text that is trained on, None for the embedded one."""
        ...

    def reads(self) -> dict[str, str]:
        """Return digests of all other things read, by name; UsageError where one is not there."""
        ...


def produced(method: Method) -> Format:
    """Return the format of what a method with its settings writes."""
    return method.produced() if isinstance(method, Varying) else method.produces


@runtime_checkable
class Method(Protocol):
    """A compression step: a pydantic model of its settings that can compress.

    The class itself declares its capabilities; an instance holds validated settings.
    exact: a conversion that must not change predictions; it is proven and refused otherwise.
    paper: where the method is from.
    """

    kind: str
    accepts: ClassVar[frozenset[Format]]
    produces: ClassVar[Format]
    needs_calibration: ClassVar[bool]
    trains: ClassVar[bool]
    exact: ClassVar[bool]
    bits: ClassVar[float | None]
    paper: ClassVar[str]

    def requirements(self) -> Requirements:
        """Return what it needs, before anything runs."""
        ...

    def compress(self, source: Path, out: Path, context: Context) -> None:
        """Read the model in `source`, write the new one into the existing, empty folder `out`."""
        ...
