"""Text of a user's own or of the hub to train on: read, split, proven disjoint, cut up."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from pathlib import Path

import numpy as np

from weightcut.data.blocks import token_blocks
from weightcut.data.corpus import Document
from weightcut.data.folder import content_digest
from weightcut.data.overlap import Measured, Overlap, measured_by_default
from weightcut.data.tables import Row, files_of, rows_of
from weightcut.errors import UsageError
from weightcut.files import file_digest
from weightcut.models.tokenizer import Tokenizer
from weightcut.records import TextSource, TokenBlocks, digest

HELD_OUT = 10
"""One text in so many is held out for validation, by a hash of what it says."""
_PIECE = 6_000  # characters of a piece where there are too few texts to hold some out
_FEWEST = 40  # texts from which on whole ones are held out


def windows(
    source: TextSource, split: str, tokenizer: Tokenizer, blocks: int, length: int
) -> TokenBlocks:
    """Return windows of a user's text: `training`, or `validation`, which holds other texts.

    Texts and answers as `TextSource` says; with answers only their tokens are scored, each row on
    its own as the chat template frames it. Raises UsageError where the text is too short, and where
    it shares a passage with a text that models are measured on (Overlap).
    """
    if split not in ("training", "validation"):
        raise UsageError(f"a text to train on has no {split} part", place=source.reference)
    rows = [row for row in _read(source) if _held_out(row) == (split == "validation")]
    named = f"{split} part of {source.reference}"
    if source.answer:
        return _answered(rows, tokenizer, blocks, length, named)
    return token_blocks((row.text for row in rows), tokenizer, blocks, length, source=named)


def digest_of(source: TextSource) -> str:
    """Return a digest of all that decides the windows: the files and how they are read."""
    files = files_of(source.reference)
    return digest([source.model_dump(mode="json"), [_digest(*_status(path)) for path in files]])


def overlaps(source: TextSource, measured: Iterable[tuple[str, str]]) -> list[Overlap]:
    """Return a passage of each text that shares one with a measured text.

    measured: (name, text) of the texts that models are measured on.
    """
    known = Measured(measured)
    found = (known.shared(Document(row.name, row.whole)) for row in _unchecked(source))
    return [one for one in found if one is not None]


def refuse(source: TextSource, found: Sequence[Overlap]) -> None:
    """Raise the error that names what is shared; nothing where nothing is."""
    if not found:
        return
    first = found[0]
    raise UsageError(
        f"{len(found)} of its texts share passages with texts that models are measured on; the "
        f"first, {first.text}, shares with {first.measured}: {_short(first.passage)!r}",
        place=source.reference,
        cure="take these texts out, or set leave_out_overlap",
    )


@lru_cache(maxsize=4)
def _read(source: TextSource) -> tuple[Row, ...]:
    """Return the texts, each once, without overlap with what is measured."""
    rows = _unchecked(source)
    known = _default_measured()
    shared = {row.name: one for row in rows if (one := known.shared(row.document())) is not None}
    if source.overlap == "refuse":
        refuse(source, list(shared.values()))
    kept = tuple(row for row in rows if row.name not in shared)
    if not kept:
        raise UsageError("all its texts are left out", place=source.reference)
    return kept


@lru_cache(maxsize=4)
def _unchecked(source: TextSource) -> tuple[Row, ...]:
    once = {content_digest(row.whole): row for row in rows_of(source)}
    rows = tuple(once.values())
    if not rows:
        raise UsageError("there is no text in it", place=source.reference)
    if len(rows) >= _FEWEST or source.answer:
        return rows
    return tuple(piece for row in rows for piece in _pieces(row))


@cache
def _default_measured() -> Measured:
    return Measured(measured_by_default())


def _held_out(row: Row) -> bool:
    found = hashlib.sha256(row.whole.encode("utf-8", "replace")).digest()
    return int.from_bytes(found[:8]) % HELD_OUT == 0


def _pieces(row: Row) -> Iterable[Row]:
    """Yield a long text in pieces that end at ends of lines."""
    lines, size, count = list[str](), 0, 0
    for line in row.text.splitlines(keepends=True):
        lines.append(line)
        size += len(line)
        if size >= _PIECE:
            yield Row(f"{row.name}, piece {count}", "".join(lines))
            lines, size, count = [], 0, count + 1
    if "".join(lines).strip():
        yield Row(f"{row.name}, piece {count}" if count else row.name, "".join(lines))


def _answered(
    rows: Sequence[Row], tokenizer: Tokenizer, blocks: int, length: int, source: str
) -> TokenBlocks:
    """Return windows of one or more framed rows each; what does not fit a window is cut off.

    Rows are put one behind the other while they fit whole; a longer one has a window of its own.
    """
    packed: list[tuple[list[int], list[bool]]] = []
    for row in rows:
        asked, said = _framed(row, tokenizer)
        ids = [*asked, *said][:length]
        scored = ([False] * len(asked) + [True] * len(said))[:length]
        if not any(scored[1:]):
            continue
        if packed and len(packed[-1][0]) + len(ids) <= length:
            packed[-1][0].extend(ids)
            packed[-1][1].extend(scored)
        else:
            packed.append((ids, scored))
    if len(packed) < blocks:
        raise UsageError(
            f"the text holds {len(packed)} windows of {length} tokens, {blocks} are asked for",
            place=source,
            cure="give more text, fewer steps or shorter windows",
        )
    fill = tokenizer.stop_ids[0] if tokenizer.stop_ids else 0
    chosen = [packed[block * len(packed) // blocks] for block in range(blocks)]
    rows_of_ids = np.full((blocks, length), fill, dtype=np.int64)
    counted = np.zeros((blocks, length), dtype=np.bool_)
    sizes = np.empty(blocks, dtype=np.int64)
    for at, (tokens, scored) in enumerate(chosen):
        rows_of_ids[at, : len(tokens)], counted[at, : len(scored)] = tokens, scored
        sizes[at] = len(tokenizer.decode(tokens[1:]).encode())
    return TokenBlocks(ids=rows_of_ids, text_bytes=sizes, source=source, scored=counted)


def _framed(row: Row, tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """Return the ids of what is asked, as a prompt, and of its answer with the id that ends it.

    That is the one by which the template ends the question's turn, where it has such.
    """
    opening = 1 if tokenizer.adds_bos and tokenizer.bos_id is not None else 0
    if tokenizer.has_chat_template:
        asked = tokenizer.chat_ids([{"role": "user", "content": row.text}])[1]
    else:
        asked = tokenizer.plain_ids(row.text + "\n\n")
    ends = [one for one in asked if one in tokenizer.stop_ids] or [*tokenizer.stop_ids]
    return asked, [*tokenizer.plain_ids(row.answer)[opening:], *ends[-1:]]


def _short(passage: str) -> str:
    return passage if len(passage) <= 100 else passage[:100] + " ..."


def _status(path: Path) -> tuple[str, int, int]:
    status = path.stat()
    return str(path), status.st_size, status.st_mtime_ns


@lru_cache(maxsize=4096)
def _digest(path: str, _size: int, _time: int) -> str:
    return file_digest(Path(path))
