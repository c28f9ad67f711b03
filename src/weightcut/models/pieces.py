"""The bytes that single tokens stand for, of which text keeps only whole characters."""

from __future__ import annotations

import re
from typing import Any

_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_SPACE = "\u2581"
"""How SentencePiece writes a space."""


class Pieces:
    """Reads a tokenizer's vocabulary as its decoder does, one token at a time.

    How it does so is tried out: the ways of writing bytes are a matter of the decoder's parts.
    """

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        self._letters = _letters() if _decoded(backend, ["\u0120"]) == " " else {}
        self._spaces = _decoded(backend, ["a", _SPACE]) == "a "
        self._bytes = _decoded(backend, ["<0x41>"]) == "A"

    def of(self, token: int) -> bytes:
        """Return the bytes of a token that is not special."""
        piece = self._backend.id_to_token(token)
        if piece is None:
            return b""
        if self._letters and all(letter in self._letters for letter in piece):
            return bytes(self._letters[letter] for letter in piece)
        if self._bytes and (found := _BYTE.fullmatch(piece)):
            return bytes.fromhex(found[1])
        if self._letters or self._spaces or self._bytes:
            text = piece.replace(_SPACE, " ") if self._spaces else piece
        else:
            text = self._backend.decode([token], skip_special_tokens=False)
        return str(text).encode("utf-8", "replace")


def _decoded(backend: Any, pieces: list[str]) -> str:
    return "" if backend.decoder is None else str(backend.decoder.decode(pieces))


def _letters() -> dict[str, int]:
    """Return the byte that each letter of GPT-2's alphabet for bytes stands for."""
    plain = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + i): b for i, b in enumerate(others)}
