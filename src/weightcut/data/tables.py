"""Rows of text from a user's file or folder, or from a data set of the hub, read within bounds."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

from weightcut.data.corpus import Document
from weightcut.data.folder import read_texts
from weightcut.errors import BrokenInput, UsageError, missing_extra, nearest
from weightcut.records import TextSource, no_text

ENOUGH = 64 << 20
"""Characters of text that are read; more would only cost time (some 16 million tokens)."""
LONGEST = 1 << 20
"""Characters of one line or text; a longer one is data or generated, and is passed over."""
_LINES = (".jsonl", ".ndjson", ".json", ".jsonl.gz", ".json.gz")
_PARQUET = (".parquet",)
TABLES = (*_LINES, *_PARQUET)
_USUAL = ("text", "content", "code")
_HUB_BYTES = 1 << 30


@dataclass(frozen=True)
class Row:
    """A text, or what is asked and its answer. name: where it stands, for people."""

    name: str
    text: str
    answer: str = ""

    @property
    def whole(self) -> str:
        """All that it says."""
        return f"{self.text}\n{self.answer}" if self.answer else self.text

    def document(self) -> Document:
        """Return it as one text."""
        return Document(self.name, self.whole)


def files_of(reference: str) -> list[Path]:
    """Return the files that a reference means, sorted: a file, a folder's, a hub data set's.

    A data set of the hub is named with its commit; what of it is not in the cache is fetched, of
    large ones the first files alone. UsageError where there is nothing, NotHere without a network.
    """
    if reference.startswith("hub:"):
        from weightcut.models.hub import dataset_files, parse

        found = dataset_files(parse(reference), TABLES, _HUB_BYTES)
        if not found:
            raise UsageError(f"the data set has no {_listed(TABLES)} file", place=reference)
        return found
    path = Path(reference).expanduser()
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UsageError("there is no such text, table or folder", place=reference)
    inside = sorted(p for p in path.rglob("*") if p.is_file() and not p.is_symlink())
    tables = [file for file in inside if _is(file, TABLES)]
    return tables or inside


def rows_of(source: TextSource) -> Iterator[Row]:
    """Yield the rows of a source, in order, at most ENOUGH characters of them.

    Raises BrokenInput with file and line for what is no table, UsageError for columns that are not
    there, with those that are.
    """
    if bool(source.instruction) != bool(source.answer):
        raise UsageError("name both instruction_column and answer_column, or neither")
    if source.text and source.answer:
        raise UsageError("name text_column, or instruction_column and answer_column, not all three")
    files = files_of(source.reference)
    left = ENOUGH
    for row in _rows(source, files):
        left -= len(row.whole)
        if left < 0:
            return
        yield row


def _rows(source: TextSource, files: Sequence[Path]) -> Iterator[Row]:
    if not any(_is(file, TABLES) for file in files):
        if source.text or source.answer:
            raise UsageError(
                "columns are named, and it is no table", place=source.reference,
                cure=f"give a {_listed(TABLES)} file",
            )  # fmt: skip
        for document in read_texts(Path(source.reference).expanduser()).documents:
            yield Row(document.name, document.text)
        return
    for file in files:
        table = _parquet(file, source) if _is(file, _PARQUET) else _lines(file)
        for number, data in table:
            row = _row(source, data, f"{file.name}:{number}", file)
            if row.text.strip() and len(row.whole) <= LONGEST:
                yield row


def _row(source: TextSource, data: dict[str, Any], name: str, file: Path) -> Row:
    if source.answer:
        asked = [_cell(data, column, name, file) for column in source.instruction.split()]
        answer = _cell(data, source.answer, name, file)
        return Row(name, "\n\n".join(filter(str.strip, asked)), answer)
    column = source.text or next((usual for usual in _USUAL if usual in data), "")
    if not column:
        raise UsageError(
            f"it is not said which column holds the text; there are {', '.join(map(repr, data))}",
            place=f"{file}",
            cure="name text_column, or instruction_column and answer_column",
        )
    return Row(name, _cell(data, column, name, file))


def _cell(data: dict[str, Any], column: str, name: str, file: Path) -> str:
    if column not in data:
        raise UsageError(f"there is no column {column!r}; {nearest(column, data)}", place=str(file))
    value = data[column]
    if value is None:
        return ""
    if not isinstance(value, str):
        raise BrokenInput(
            f"{name}: the column {column!r} holds no text ({type(value).__name__})", place=str(file)
        )
    return value


def _lines(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield number and object of each line of JSON lines, or of the items of one JSON list."""
    try:
        with _opened(file) as stream:
            if _first_sign(stream) == "[":
                yield from _items(stream, file)
                return
            for number, line in _bounded(stream):
                if line.strip():
                    yield number, _object(line, f"{file}:{number}")
    except UnicodeDecodeError as error:
        raise BrokenInput(f"is no UTF-8 (byte {error.start})", place=str(file)) from error
    except (OSError, EOFError) as error:
        raise BrokenInput(f"cannot be read: {error}", place=str(file)) from error


def _opened(file: Path) -> IO[str]:
    if file.suffix == ".gz":
        return gzip.open(file, "rt", encoding="utf-8")
    return file.open(encoding="utf-8-sig")


def _first_sign(stream: IO[str]) -> str:
    """Return the first sign that is no white space, and go back to the beginning."""
    start = stream.read(4096).lstrip()
    stream.seek(0)
    return start[:1]


def _items(stream: IO[str], file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    whole = stream.read(4 * ENOUGH + 1)
    if len(whole) > 4 * ENOUGH:
        raise BrokenInput(
            "is one JSON list of more than 256 MiB", place=str(file), cure="write JSON lines"
        )
    try:
        items = json.loads(whole)
    except (ValueError, RecursionError) as error:
        raise BrokenInput(f"is no JSON: {error}", place=str(file)) from None
    for number, item in enumerate(items, start=1):
        if not isinstance(item, dict):
            raise BrokenInput(f"item {number} is no JSON object", place=str(file))
        if halves := no_text(item):
            raise BrokenInput(f"item {number}: {halves}", place=str(file))
        yield number, item


def _bounded(stream: IO[str]) -> Iterator[tuple[int, str]]:
    """Yield numbered lines; one that is too long is passed over without being held."""
    number = 0
    while line := stream.readline(4 * LONGEST):
        number += 1
        if line.endswith("\n") or len(line) < 4 * LONGEST:
            yield number, line
            continue
        while (rest := stream.readline(4 * LONGEST)) and not rest.endswith("\n"):
            pass


def _object(line: str, place: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
        halves = no_text(found)
    except (ValueError, RecursionError) as error:
        raise BrokenInput(f"is no JSON: {error}", place=place) from None
    if not isinstance(found, dict):
        raise BrokenInput("is no JSON object", place=place)
    if halves:
        raise BrokenInput(halves, place=place)
    return found


def _parquet(file: Path, source: TextSource) -> Iterator[tuple[int, dict[str, Any]]]:
    if find_spec("pyarrow") is None:
        raise missing_extra("pyarrow", "train")
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

    wanted = [*source.instruction.split(), source.answer] if source.answer else [source.text]
    try:
        with ParquetFile(file) as table:
            named = table.schema_arrow.names
            usual = next((name for name in _USUAL if name in named), "")
            columns = [c for c in wanted if c] or ([usual] if usual else [])
            if missing := [column for column in columns if column not in named]:
                raise UsageError(
                    f"there is no column {missing[0]!r}; {nearest(missing[0], named)}",
                    place=str(file),
                )
            if not columns:
                yield 1, dict.fromkeys(named)
                return
            number = 0
            for batch in table.iter_batches(batch_size=256, columns=columns):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except (pa.ArrowException, OSError) as error:
        raise BrokenInput(f"cannot be read as parquet: {error}", place=str(file)) from error


def _is(file: Path, suffixes: Iterable[str]) -> bool:
    return file.name.lower().endswith(tuple(suffixes))


def _listed(suffixes: Sequence[str]) -> str:
    return ", ".join(suffixes[:-1]) + " or " + suffixes[-1]
