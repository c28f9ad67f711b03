"""Log-probabilities of tokens, given out beside the text that the tokens stand for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from weightcut.routing.server.calls import TokenLogprob
from weightcut.routing.server.upstreams.text_stream import Decode


class TokenTexts:
    """Keeps tokens back for as long as their text is, and drops those of a stop text.

    So tokens and text agree in every piece of an answer. token_bytes: of a token's id. decode: of
    ids after the prompt, which may drop a space that an answer begins with.
    """

    def __init__(self, token_bytes: Callable[[int], bytes], decode: Decode) -> None:
        self._bytes, self._decode = token_bytes, decode
        self._waiting: deque[tuple[int, int, TokenLogprob]] = deque()
        self._begun = self._given = 0

    def add(self, tokens: Sequence[tuple[int, float | None]]) -> None:
        """Take new tokens."""
        for token, logprob in tokens:
            data = self._bytes(token)
            if not self._begun and data[:1] == b" " and self._decode([token])[:1] != " ":
                data = data[1:]
            made = TokenLogprob.of(data, logprob or 0.0)
            begin, self._begun = self._begun, self._begun + made.begins
            self._waiting.append((begin, self._begun, made))

    def given(self, text: str, *, last: bool, stopped: bool) -> tuple[TokenLogprob, ...]:
        """Return the tokens of a text that is given out, after what was given before."""
        self._given += len(text)
        found = []
        while self._waiting:
            begin, end, token = self._waiting[0]
            if end > self._given and not (last and (begin < self._given or not stopped)):
                break
            found.append(token)
            self._waiting.popleft()
        return tuple(found)
