"""llama.cpp's shared library, and what it says while it works."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from weightcut.errors import NotHere, missing_extra

_SAID: list[str] = []


@cache
def load_library() -> Any:
    """Return the module `llama_cpp`, its log off the terminal; NotHere where it is not here."""
    try:
        import llama_cpp
    except ImportError as error:
        raise missing_extra("llama_cpp", "gguf") from error
    except (OSError, RuntimeError) as error:
        raise NotHere(
            f"llama.cpp's library cannot be loaded: {error}",
            cure="install it anew: make gguf-native",
        ) from error
    llama_cpp.llama_log_set(_listener(), ctypes.c_void_p(0))
    llama_cpp.llama_backend_init()
    return llama_cpp


@contextmanager
def listening() -> Iterator[list[str]]:
    """Give the list of the lines that llama.cpp says meanwhile."""
    _SAID.clear()
    try:
        yield _SAID
    finally:
        _SAID.clear()


def last_words(said: list[str]) -> str:
    """Return the last line that tells of a failure, "" where there is none."""
    lines = [line.strip() for line in "".join(said).splitlines() if line.strip()]
    telling = [line for line in lines if "error" in line.lower() or "fail" in line.lower()]
    return (telling or lines or [""])[0][:200]


@cache
def _listener() -> Any:
    """Return the callback that takes what llama.cpp says; it must live as long as the process."""
    import llama_cpp

    def listen(_level: int, text: bytes, _data: Any) -> None:
        _SAID.append(text.decode(errors="replace"))
        del _SAID[:-500]

    return llama_cpp.llama_log_callback(listen)
