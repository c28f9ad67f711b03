"""Texts cut into windows of token ids, all of one length."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from weightcut.errors import UsageError
from weightcut.models.tokenizer import Tokenizer
from weightcut.records import TokenBlocks

# How many tokens a window may move on to find a place where its text is whole characters.
_SHIFTS = 8


def token_blocks(
    texts: Iterable[str], tokenizer: Tokenizer, blocks: int, length: int, source: str = ""
) -> TokenBlocks:
    """Return `blocks` windows of `length` tokens, spread evenly over the texts, never overlapping.

    The texts are joined, a blank line between them. A window starts with the begin-of-text id if
    the tokenizer adds one, and with a token of the text otherwise. A window that would begin or
    end inside a character is moved on. Raises UsageError where the texts are too short.
    """
    if blocks < 1 or length < 2:
        raise UsageError(f"{blocks} windows of {length} tokens cannot be cut")
    head = [tokenizer.bos_id] if tokenizer.adds_bos and tokenizer.bos_id is not None else []
    joined = [text.rstrip("\n") + "\n\n\n" for text in texts]
    stream = [token for text in joined for token in tokenizer.encode(text)]
    whole = "".join(joined)
    body = length - len(head)
    slots = len(stream) // body
    if slots < blocks:
        raise UsageError(
            f"the text holds {slots} windows of {length} tokens, {blocks} are asked for",
            place=source,
            cure="give more text, fewer windows or shorter ones",
        )
    ids = np.empty((blocks, length), dtype=np.int64)
    sizes = np.empty(blocks, dtype=np.int64)
    free = 0
    for block in range(blocks):
        at = max(free, block * slots // blocks * body)
        at, size = _place(stream, tokenizer, whole, at, body, predicted_from=1 - len(head))
        ids[block] = head + stream[at : at + body]
        sizes[block] = size
        free = at + body
    return TokenBlocks(ids=ids, text_bytes=sizes, source=source)


def _place(
    stream: Sequence[int],
    tokenizer: Tokenizer,
    whole: str,
    start: int,
    body: int,
    predicted_from: int,
) -> tuple[int, int]:
    """Return where a window can begin, at `start` or a little later, and its predicted bytes."""
    for at in range(start, min(start + _SHIFTS, len(stream) - body + 1)):
        first = at + predicted_from
        size = _bytes(stream, tokenizer, whole, first, at + body)
        if size is not None:
            return at, size
    raise UsageError(
        "the tokenizer does not give back the text that it was given, so that its bytes cannot "
        "be counted"
    )


def _bytes(
    stream: Sequence[int], tokenizer: Tokenizer, whole: str, first: int, end: int
) -> int | None:
    """Return the UTF-8 bytes of stream[first:end], None where they are no whole characters.

    The token before is decoded along and taken off again: some decoders drop a leading space.
    """
    before = list(stream[max(first - 1, 0) : first])
    lead = tokenizer.decode(before, skip_special=False)
    text = tokenizer.decode([*before, *stream[first:end]], skip_special=False)
    if text not in whole or not text.startswith(lead):
        return None
    return len(text.encode()) - len(lead.encode())
