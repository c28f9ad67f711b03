"""The price file: what the machine costs and takes, in YAML (docs/cost.md)."""

from __future__ import annotations

import os
from pathlib import Path

import yaml
from pydantic import ValidationError

from weightcut.errors import BrokenInput, UsageError, nearest
from weightcut.records import Prices

FILE = "prices.yaml"
VARIABLE = "WEIGHTCUT_PRICES"
_LARGEST = 100_000  # bytes; a price file has a few lines


def find_prices(folder: Path, named: Path | None = None) -> Prices:
    """Return the prices that hold for a run; without any file there are no prices.

    named: the file that the user asked for; else `prices.yaml` in the run folder; else the file
    that the environment variable WEIGHTCUT_PRICES names.
    """
    if named is not None:
        return read_prices(named)
    if (folder / FILE).is_file():
        return read_prices(folder / FILE)
    if os.environ.get(VARIABLE):
        return read_prices(Path(os.environ[VARIABLE]).expanduser())
    return Prices()


def read_prices(path: Path) -> Prices:
    """Read a price file; anything unknown or impossible in it is an error with its place."""
    try:
        if path.stat().st_size > _LARGEST:
            raise BrokenInput("too large to be a price file", place=str(path))
        data = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise UsageError(
            f"cannot read the price file: {error.strerror or error}", place=str(path)
        ) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # the 45th day of a month, too
        raise BrokenInput("not a YAML file", place=str(path)) from error
    if not isinstance(data, dict):
        raise BrokenInput(
            "a price file is a mapping of keys to values", place=str(path), cure="see docs/cost.md"
        )
    known = Prices.model_fields
    for key in data:
        if key not in known:
            raise UsageError(f"unknown key {key!r}; {nearest(str(key), known)}", place=str(path))
    try:
        return Prices.model_validate(data, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        key = str(first["loc"][0])
        raise UsageError(
            f"{key}: {first['msg']} ({known[key].description})", place=str(path)
        ) from error
