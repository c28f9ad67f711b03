"""`results.json`: the public form of a study's results (docs/results.md)."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from weightcut.errors import BrokenInput, UsageError
from weightcut.files import write_whole
from weightcut.records.results import SCHEMA, Results

FILE = "results.json"


def write(results: Results, folder: Path) -> Path:
    """Write `results.json`: keys in the documented order, public names, indented by two."""
    path = folder / FILE
    write_whole(path, encoded(results))
    return path


def encoded(results: Results) -> bytes:
    """Return the bytes that `results.json` holds."""
    return (results.model_dump_json(by_alias=True, indent=2) + "\n").encode()


def read(path: Path) -> Results:
    """Read a `results.json`; unknown keys are kept, a newer schema is refused."""
    if not path.is_file():
        raise UsageError("no such file", place=str(path), cure=f"name a {FILE}")
    try:
        results = Results.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise BrokenInput(
            f"not the results of a study: {where}: {first['msg']}", place=str(path)
        ) from error
    if results.schema_version > SCHEMA:
        raise UsageError(
            f"the schema is {results.schema_version}, this weightcut reads up to {SCHEMA}",
            place=str(path),
            cure="read them with a newer weightcut",
        )
    return results
