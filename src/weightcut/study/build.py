"""Recipes to artifacts: each step is made once, kept by content, and a conversion proves itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

from weightcut import registry
from weightcut.compression import recipe
from weightcut.compression.method import Context, Method, Reading, Split, Texts, produced
from weightcut.data import training_text
from weightcut.data.blocks import token_blocks
from weightcut.data.corpus import corpus_digest, documents
from weightcut.engines.engine import Engine
from weightcut.engines.versions import installed
from weightcut.errors import UsageError
from weightcut.models.tokenizer import load_tokenizer
from weightcut.records import (
    Artifact,
    Checkpoint,
    Format,
    Named,
    Step,
    TextSource,
    TokenBlocks,
    digest,
)
from weightcut.store.artifacts import ArtifactStore
from weightcut.study.proof import prove

Report = Callable[[str, float | None], None]
SPLITS: tuple[Split, ...] = ("calibration", "training", "validation")


def open_engine(named: Named) -> Engine:
    """Return the engine with its options, ready to open artifacts."""
    model = registry.load("engine", named.kind)
    return cast("Engine", model.model_validate({"kind": named.kind, **named.settings}))


def fitted(steps: Sequence[Step], source: Format, engine: Named) -> tuple[Step, ...]:
    """Return the recipe with the conversions that the engine needs; UsageError where none fits."""
    opens = open_engine(engine).accepts
    first = recipe.build(steps[0]).accepts if steps else opens
    if source == "torch" and source not in first:
        raise UsageError(
            f"the model is a torch state dict (.bin or .pt), and {_wanting(steps, engine)} needs "
            "another format",
            cure="save it as safetensors where you trust it: AutoModelForCausalLM"
            ".from_pretrained(FOLDER).save_pretrained(ANOTHER), and its tokenizer likewise; as it "
            "is, only the transformers engine opens it, without a recipe",
        )
    return recipe.fit(steps, source, opens)


def _wanting(steps: Sequence[Step], engine: Named) -> str:
    return f"the step {steps[0].label()}" if steps else f"the engine {engine.kind}"


def as_artifact(checkpoint: Checkpoint) -> Artifact:
    """Return a checkpoint as the artifact of the empty recipe."""
    return Artifact(
        path=checkpoint.path,
        format=checkpoint.format,
        digest=checkpoint.digest,
        bytes=checkpoint.bytes,
        checkpoint=checkpoint.digest,
    )


def build_artifact(
    checkpoint: Checkpoint,
    steps: Sequence[Step],
    root: Path,
    seed: int = 0,
    report: Report = lambda _phrase, _share: None,
) -> Artifact:
    """Run the steps in order and return the last artifact; what was made before is reused.

    root: the folder of artifacts. A recipe's common beginning with another one is made once.
    """
    store = ArtifactStore(root)
    artifact = as_artifact(checkpoint)
    for index in range(len(steps)):
        done = tuple(steps[: index + 1])
        label = done[-1].label()
        report(label, index / len(steps))
        before = artifact
        artifact, cached = store.get_or_make(
            artifact_key(checkpoint, done, seed),
            lambda folder, before=before, done=done: _make(  # type: ignore[misc]
                checkpoint, before, done, folder, root, seed, report
            ),
            lambda phrase, label=label: report(f"{label}: {phrase}", None),  # type: ignore[misc]
        )
        if cached:
            report(f"{label}: made before, reused", (index + 1) / len(steps))
    return artifact


def artifact_key(checkpoint: Checkpoint, steps: Sequence[Step], seed: int) -> str:
    """Return the digest of all that decides what the steps produce, library versions included."""
    methods = [recipe.build(one) for one in steps]
    learns = any(method.needs_calibration or method.trains for method in methods)
    packages = sorted({p for method in methods for p in method.requirements().packages})
    return digest(
        {
            "checkpoint": checkpoint.digest,
            "steps": [cast("Any", method).model_dump(mode="json") for method in methods],
            "seed": seed if learns else None,
            "texts": [corpus_digest(split) for split in SPLITS] if learns else None,
            "versions": {name: package_version(name) for name in packages},
        }
        | ({"read": read} if any(read := [_read(method) for method in methods]) else {})
        | ({"prose": corpus_digest("prose")} if any(map(_reads_prose, methods)) else {})
    )[:32]


def _reads_prose(method: Method) -> bool:
    return getattr(method, "text", None) == "prose"


def _read(method: Method) -> dict[str, str]:
    """Return digests of what a method reads beside its source and the embedded texts."""
    if not isinstance(method, Reading):
        return {}
    source = method.text_source()
    return method.reads() | ({} if source is None else {"text": training_text.digest_of(source)})


def package_version(name: str) -> str | None:
    """Return the version of an installed package, None where it is not installed."""
    return installed(name)


def _make(
    checkpoint: Checkpoint,
    before: Artifact,
    steps: tuple[Step, ...],
    folder: Path,
    root: Path,
    seed: int,
    report: Report,
) -> Artifact:
    method = recipe.build(steps[-1])
    scratch = root / ".scratch" / artifact_key(checkpoint, steps, seed)
    scratch.mkdir(parents=True, exist_ok=True)
    context = Context(
        origin=checkpoint.path,
        texts=_texts(before.path),
        scratch=scratch,
        shared=root / ".shared",
        seed=seed,
        progress=lambda phrase, share: report(f"{steps[-1].label()}: {phrase}", share),
    )
    start = time.monotonic()
    method.compress(before.path, folder, context)
    if packages := method.requirements().packages:
        context.record["versions"] = {name: package_version(name) for name in packages}
    made = Artifact(
        path=folder,
        format=produced(method),
        digest="",
        bytes=0,
        checkpoint=checkpoint.digest,
        recipe=steps,
        details=before.details | ({steps[-1].kind: context.record} if context.record else {}),
        proofs=before.proofs,
        seconds=before.seconds + time.monotonic() - start,
    )
    if method.exact:
        report(f"{steps[-1].label()}: comparing predictions", None)
        proof = prove(before, made, steps[-1])
        made = made.model_copy(update={"proofs": {**made.proofs, steps[-1].kind: proof}})
    _remove(scratch)
    return made


def _remove(folder: Path) -> None:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)


def _texts(folder: Path) -> Texts:
    def texts(
        split: Split, blocks: int, length: int, source: TextSource | None = None
    ) -> TokenBlocks:
        if source is not None:
            return training_text.windows(source, split, load_tokenizer(folder), blocks, length)
        pages = (document.text for document in documents(split))
        return token_blocks(pages, load_tokenizer(folder), blocks, length, source=split)

    return texts
