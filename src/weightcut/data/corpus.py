"""Source code to calibrate on, train on and be measured on, without any download.

It is the Python standard library's own source, which every machine that runs weightcut has. Whole
modules go to one split, so that nothing measured was ever trained or calibrated on. Beside it
stands prose, to calibrate on for comparison: every second topic of Python's language reference.
"""

from __future__ import annotations

import platform
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, get_args

from weightcut.errors import BrokenInput, UsageError, nearest
from weightcut.records import digest

Split = Literal["calibration", "prose", "training", "validation", "evaluation"]

# Top-level modules and packages by split; every other one is for training. What shares passages
# stands in the same split (`pickle` and `pickletools`, `_pydatetime` and `datetime`); a test looks
# for shared passages between the splits. Names that only some Python versions have are harmless.
_EVALUATION = """
    _pydatetime argparse bisect calendar configparser csv datetime difflib fractions graphlib heapq
    ipaddress json locale plistlib shlex statistics string tarfile textwrap tomllib zoneinfo
"""
_VALIDATION = """
    enum functools operator optparse pprint random timeit traceback types uuid
"""
_CALIBRATION = """
    contextlib doctest html logging pathlib pickle pickletools shutil subprocess tempfile unittest
    zipfile
"""
_SPLITS: Mapping[str, Split] = {
    **dict.fromkeys(_EVALUATION.split(), "evaluation"),
    **dict.fromkeys(_VALIDATION.split(), "validation"),
    **dict.fromkeys(_CALIBRATION.split(), "calibration"),
}
# Tests, vendored, installed and removed packages, and modules that are tables rather than code.
_LEFT_OUT = """
    __hello__ __phello__ __pycache__ antigravity dist-packages distutils encodings ensurepip idlelib
    lib-dynload lib2to3 pydoc_data site-packages stringprep test this turtledemo
"""


@dataclass(frozen=True)
class Document:
    """One text. name: its path inside the corpus."""

    name: str
    text: str


def documents(split: Split) -> list[Document]:
    """Return the standard library's documents of one split, sorted by name."""
    if split not in get_args(Split):
        raise UsageError(f"unknown split {split!r}; {nearest(split, get_args(Split))}")
    if split == "prose":
        from pydoc_data.topics import topics

        return [Document(f"pydoc_data/{name}", topics[name]) for name in sorted(topics)[::2]]
    root = Path(sysconfig.get_paths()["stdlib"])
    found = [
        Document(path.relative_to(root).as_posix(), path.read_text(encoding="utf-8"))
        for path in _modules(root)
        if split_of(path.relative_to(root).parts[0].removesuffix(".py")) == split
    ]
    if not found:
        raise BrokenInput(
            "the Python installation has no standard library source",
            place=str(root),
            cure="use a Python that ships its .py files, or name a text file or folder instead",
        )
    return found


def source(split: Split) -> str:
    """Return a phrase that says where the documents of a split are from."""
    if split == "prose":
        return f"the language reference of Python {platform.python_version()}"
    return f"{split} modules of the standard library of Python {platform.python_version()}"


@cache
def corpus_digest(split: Split) -> str:
    """Return a digest of the names and texts of a split: another Python has another one."""
    return digest([[document.name, document.text] for document in documents(split)])


def split_of(module: str) -> Split:
    """Return the split of a top-level module or package."""
    return _SPLITS.get(module, "training")


def documents_at(path: Path) -> list[Document]:
    """Return the texts of a UTF-8 file, or of all text files below a folder, sorted by name.

    In a folder, hidden files and binary ones (with a NUL byte) are left out. Raises BrokenInput
    for a text that is no UTF-8 and UsageError where there is no text at all.
    """
    if path.is_file():
        return [Document(path.name, _text(path, path.read_bytes()))]
    if not path.is_dir():
        raise UsageError("there is no such text file or folder", place=str(path))
    found = []
    for file in sorted(path.rglob("*")):
        name = file.relative_to(path)
        if file.is_file() and not any(part.startswith(".") for part in name.parts):
            raw = file.read_bytes()
            if b"\0" not in raw:
                found.append(Document(name.as_posix(), _text(file, raw)))
    if not found:
        raise UsageError("the folder holds no text file", place=str(path))
    return found


def _modules(root: Path) -> Iterator[Path]:
    """Yield the library's own .py files in a fixed order."""
    left_out = frozenset(_LEFT_OUT.split())
    for top in sorted(root.iterdir()):
        generated = top.name.startswith(("_sysconfigdata", "config-"))
        if generated or top.name.removesuffix(".py") in left_out:
            continue
        if top.is_file() and top.suffix == ".py":
            yield top
        elif top.is_dir():
            for path in sorted(top.rglob("*.py")):
                if not {"test", "tests"} & set(path.relative_to(root).parts):
                    yield path


def _text(path: Path, raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BrokenInput(f"is no UTF-8 text: {error}", place=str(path)) from error
