"""A router on disk: `router.json` (readable) and `weights.npz` (numbers), no pickle.

`router.json` holds the SHA-256 of the arrays and of itself, so that damage and hand edits are
noticed. A digest is no signature: whoever can write the folder can write a fitting digest, so a
router deserves the trust that its origin does. Reading one never runs code from it.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, FiniteFloat, ValidationError

from weightcut.errors import BrokenInput, UsageError
from weightcut.files import whole_folder
from weightcut.records import Record, digest
from weightcut.routing.policy import POLICIES, Arrays, State, restore_policy
from weightcut.routing.router import Router

FORMAT = "weightcut-router"
VERSION = 3
FACTS = "router.json"
WEIGHTS = "weights.npz"
LARGEST = 512 << 20
"""Bytes; no router is larger, and a larger file is not read."""


class _Facts(Record):
    variants: list[str] = Field(min_length=2)
    costs: list[FiniteFloat]
    qualities: list[FiniteFloat]
    policy: str
    settings: dict[str, Any]
    allowance: float | None = Field(allow_inf_nan=False)
    promise: dict[str, Any]
    trained: dict[str, Any]
    weights: str = Field(description="SHA-256 of weights.npz")


def write_router(router: Router, folder: Path) -> Path:
    """Write a router to a new folder, whole or not at all."""
    check_new(folder)
    state = router.policy.state()
    stream = io.BytesIO()
    np.savez_compressed(stream, allow_pickle=False, **state.arrays)
    weights = stream.getvalue()
    facts = _Facts(
        variants=list(router.variants),
        costs=list(router.costs),
        qualities=list(router.qualities),
        policy=router.policy.kind,
        settings=state.settings,
        allowance=router.allowance,
        promise=dict(router.promise),
        trained=dict(router.trained),
        weights=hashlib.sha256(weights).hexdigest(),
    ).model_dump(mode="json")
    whole = {"format": FORMAT, "version": VERSION, "digest": digest(facts), **facts}
    with whole_folder(folder) as draft:
        text = json.dumps(whole, indent=2, allow_nan=False, ensure_ascii=False)
        (draft / FACTS).write_text(text + "\n", encoding="utf-8")
        (draft / WEIGHTS).write_bytes(weights)
    return folder


def check_new(folder: Path) -> None:
    """Raise where something is in the way of a new router."""
    if folder.exists() or folder.is_symlink():
        raise UsageError("this is already there", place=str(folder), cure="name a new folder")


def read_router(folder: Path) -> Router:
    """Read a router; BrokenInput says what is wrong with it."""
    if not (folder / FACTS).is_file():
        raise UsageError(
            f"no router here: {FACTS} is missing",
            place=str(folder),
            cure="name a folder that `weightcut router fit` wrote",
        )
    facts = _facts(folder / FACTS)
    weights = _bytes(folder / WEIGHTS)
    if hashlib.sha256(weights).hexdigest() != facts.weights:
        raise BrokenInput(
            "the file is not the one that the router was written with",
            place=str(folder / WEIGHTS),
            cure="fit the router anew, or copy both of its files again",
        )
    if facts.policy not in POLICIES:
        raise BrokenInput(f"unknown policy {facts.policy!r}", place=str(folder / FACTS))
    try:
        state = State(facts.settings, _arrays(weights))
        policy = restore_policy(facts.policy, state, len(facts.variants))
    except (
        ValueError,
        KeyError,
        TypeError,
        OSError,
        EOFError,
        IndexError,
        RuntimeError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise BrokenInput(
            f"not the weights of a {facts.policy} policy ({error})", place=str(folder / WEIGHTS)
        ) from error
    return Router(
        variants=tuple(facts.variants),
        costs=tuple(facts.costs),
        qualities=tuple(facts.qualities),
        policy=policy,
        allowance=facts.allowance,
        promise=facts.promise,
        trained=facts.trained,
        digest=facts.weights,
    )


def _facts(path: Path) -> _Facts:
    place = str(path)
    try:
        data = json.loads(_bytes(path))
    except (ValueError, RecursionError) as error:
        raise BrokenInput(f"not JSON ({error})", place=place, cure="fit it anew") from error
    if not isinstance(data, dict) or data.pop("format", None) != FORMAT:
        raise BrokenInput("not a router", place=place, cure="name a folder with a router")
    version = data.pop("version", None)
    if version != VERSION:
        raise BrokenInput(
            f"the router has version {version!r}, this weightcut reads version {VERSION}",
            place=place,
            cure="fit it anew with this version, or use the version that wrote it",
        )
    if data.pop("digest", None) != digest(data):
        raise BrokenInput(
            "the content does not match its digest: it was damaged or edited by hand",
            place=place,
            cure="fit the router anew, or take it from its origin again",
        )
    try:
        facts = _Facts.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise BrokenInput(f"not a router: {where}: {first['msg']}", place=place) from error
    counts = {len(facts.variants), len(set(facts.variants)), len(facts.costs), len(facts.qualities)}
    if len(counts) > 1 or facts.costs != sorted(facts.costs) or facts.costs[0] < 0:
        raise BrokenInput("variants, costs and qualities do not fit together", place=place)
    return facts


def _bytes(path: Path) -> bytes:
    try:
        if path.stat().st_size > LARGEST:
            raise BrokenInput("too large for a router", place=str(path))
        return path.read_bytes()
    except OSError as error:
        raise BrokenInput(f"cannot be read ({error.strerror})", place=str(path)) from error


def _arrays(data: bytes) -> Arrays:
    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        if sum(member.file_size for member in packed.infolist()) > LARGEST:
            raise ValueError("too large when unpacked")
    with np.load(io.BytesIO(data), allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}
