"""The languages that the sandbox runs, and what each lacks on this machine."""

from __future__ import annotations

from typing import Literal, Protocol

from weightcut.errors import NotHere
from weightcut.records import ExecutionResult
from weightcut.sandbox.capabilities import Protections
from weightcut.sandbox.csharp import CSharp, find_mono
from weightcut.sandbox.java import JavaRuntime, find_java
from weightcut.sandbox.tool import Tool
from weightcut.sandbox.worker import Worker

Language = Literal["python", "java", "csharp"]
LANGUAGES: tuple[Language, ...] = ("python", "java", "csharp")
SUFFIXES: dict[str, Language] = {".py": "python", ".java": "java", ".cs": "csharp"}
"""File name endings of programs."""


class Toolchain(Protocol):
    """Compiles programs of one language, and says how to start them."""

    @property
    def overhead(self) -> int:
        """Bytes that the runtime needs beside the heap."""

    @property
    def tool(self) -> Tool:
        """What a worker needs in order to run the programs."""

    def compile(self, worker: Worker, program: bytes) -> bytes | ExecutionResult:
        """Return the program in the form that it is started in, or why there is none."""

    def command(self, memory: int) -> list[str]:
        """Return the command that runs a program with a heap of `memory` bytes."""

    def close(self) -> None:
        """End what was started, remove what was written."""


def missing(language: Language) -> str | None:
    """Return why programs of a language cannot be run here, None if they can."""
    found = {"python": lambda: None, "java": find_java, "csharp": find_mono}[language]()
    return found if isinstance(found, str) else None


def toolchain(language: Language, protections: Protections) -> Toolchain:
    """Return what runs a language other than Python; NotHere where this machine lacks it."""
    java, mono = find_java(), find_mono()
    if language == "java" and not isinstance(java, str):
        return JavaRuntime(java, protections)
    if language == "csharp" and not isinstance(mono, str):
        return CSharp(mono, protections)
    raise NotHere(f"programs in {language} cannot be run here: {missing(language)}")
