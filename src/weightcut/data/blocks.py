"""Texts cut into windows of token ids, all of one length."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from weightcut.errors import UsageError
from weightcut.models.tokenizer import Tokenizer
from weightcut.records import TokenBlocks, no_text

# Tokens decoded along before a window: more than the bytes of any character.
_CONTEXT = 8
_CUT = "\N{REPLACEMENT CHARACTER}"


def token_blocks(
    texts: Iterable[str], tokenizer: Tokenizer, blocks: int, length: int, source: str = ""
) -> TokenBlocks:
    """Return `blocks` windows of `length` tokens, spread evenly over the texts, never overlapping.

    The texts are joined, a blank line between them. A window starts with the begin-of-text id if
    the tokenizer adds one, and with a token of the text otherwise. A character whose bytes are cut
    by a window's edge counts for the window in which it ends. Raises UsageError where the texts
    are too short, or the tokenizer does not give them back.
    """
    if blocks < 1 or length < 2:
        raise UsageError(f"{blocks} windows of {length} tokens cannot be cut")
    head = [tokenizer.bos_id] if tokenizer.adds_bos and tokenizer.bos_id is not None else []
    joined = [text.rstrip("\n") + "\n\n\n" for text in texts]
    whole = "".join(joined)
    if halves := no_text(whole):
        raise UsageError(halves, place=source)
    # A tokenizer that opens every text with a space of its own must see them as the one they are.
    pieces = joined if _joins(tokenizer) else [whole]
    stream = [token for text in pieces for token in tokenizer.encode(text)]
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
    for block in range(blocks):
        at = block * slots // blocks * body
        ids[block] = head + stream[at : at + body]
        # The first token of a window is given, not predicted; after a begin-of-text id all are.
        first = at + 1 - len(head)
        text = _text(stream, first, at + body, tokenizer)
        if text not in whole:
            raise UsageError(
                "the tokenizer does not give back the text that it was given, so that the bytes "
                "of its tokens cannot be counted",
                place=source,
            )
        sizes[block] = len(text.encode())
    return TokenBlocks(ids=ids, text_bytes=sizes, source=source)


def _joins(tokenizer: Tokenizer) -> bool:
    """Return whether texts that are encoded one by one give back the text that they make up."""
    ids = [*tokenizer.encode("a\n"), *tokenizer.encode("b\n")]
    return tokenizer.decode(ids, skip_special=False).lstrip(" ") == "a\nb\n"


def _text(stream: Sequence[int], first: int, end: int, tokenizer: Tokenizer) -> str:
    """Return the text of stream[first:end], characters that it ends in and not those it begins.

    The tokens before are decoded along and taken off again: a decoder that starts with these may
    drop a leading space, and cannot know a character that began earlier.
    """
    start = max(first - _CONTEXT, 0)
    # A decoder that puts bytes together fails on a run of them that begins within a character.
    while start and _CUT in tokenizer.decode([stream[start]], skip_special=False):
        start -= 1
    lead = _whole(stream[start:first], tokenizer)
    return _whole(stream[start:end], tokenizer).removeprefix(lead)


def _whole(ids: Sequence[int], tokenizer: Tokenizer) -> str:
    """Return the text of ids without the character that their end cuts."""
    text = tokenizer.decode(ids, skip_special=False)
    if not text.endswith(_CUT):
        return text
    # Where the end cuts a character, some decoders give up the whole characters before it too.
    shorter = (tokenizer.decode(ids[:-cut], skip_special=False) for cut in (1, 2, 3))
    return max((one.rstrip(_CUT) for one in (text, *shorter)), key=len)
