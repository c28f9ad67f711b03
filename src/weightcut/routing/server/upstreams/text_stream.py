"""Token ids to text while they come: no half characters, and nothing of a stop text."""

from __future__ import annotations

from collections.abc import Callable, Sequence

Decode = Callable[[Sequence[int]], str]


class TextStream:
    """Gives out text as soon as it is certain.

    A token may hold part of a character, and what follows a token may change how it is written;
    so new tokens are decoded after the ones before them. Text that may be the beginning of a stop
    text is kept back.
    """

    def __init__(self, decode: Decode, stops: Sequence[str] = ()) -> None:
        self._decode, self._stops = decode, tuple(stops)
        self._ids: list[int] = []
        self._begin = self._read = 0
        self._held = ""
        self.stopped = False
        """Whether a stop text has come; nothing is given out after it."""

    def add(self, ids: Sequence[int]) -> str:
        """Take new tokens, and return what is certain of their text."""
        self._ids.extend(ids)
        return self._give(self._fresh(last=False), last=False)

    def finish(self) -> str:
        """Return what is left at the end of the answer."""
        return self._give(self._fresh(last=True), last=True)

    def _fresh(self, last: bool) -> str:
        known = self._decode(self._ids[self._begin : self._read])
        text = self._decode(self._ids[self._begin :])
        if not last and (len(text) <= len(known) or text.endswith("\ufffd")):
            return ""
        self._begin, self._read = self._read, len(self._ids)
        return text[len(known) :]

    def _give(self, fresh: str, last: bool) -> str:
        if self.stopped:
            return ""
        text = self._held + fresh
        found = [at for stop in self._stops if (at := text.find(stop)) >= 0]
        if found:
            self.stopped, self._held = True, ""
            return text[: min(found)]
        keep = 0 if last else max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]


def _overlap(text: str, stop: str) -> int:
    """Return how many characters at the end of the text begin the stop text."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)
