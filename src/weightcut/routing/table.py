"""Outcome tables: which variant answered which prompt how well, and at what cost.

Long form, one row for every prompt and variant: `prompt_id, prompt, variant, quality, cost` as CSV,
JSON lines or parquet (the first two may be gzipped). quality is from 0 to 1; cost is in any unit
that is the same for all rows. Extra columns are kept; `mean_logprob`, `parses` and `tests_passed`
describe the answer and let a cascade judge it.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from weightcut.errors import BrokenInput, UsageError, missing_extra, nearest
from weightcut.files import write_whole
from weightcut.records import no_text
from weightcut.routing.policy import Floats

COLUMNS = ("prompt_id", "prompt", "variant", "quality", "cost")
SIGNALS = ("mean_logprob", "parses", "tests_passed")
MOST_VARIANTS = 64
_FORM = "a table has the columns " + ", ".join(COLUMNS) + ", one row a prompt and variant"
_MISSING = ("", "nan", "none", "null", "na")
_TRUTH = {"true": 1.0, "false": 0.0}
_NOT_WORD = re.compile(r"\W+")
_Cell = tuple[float, float, dict[str, float]]
"""Quality, cost and signals of one answer."""


@dataclass(frozen=True)
class Table:
    """Outcomes of n prompts on V variants, the cheapest variant first, the full one last.

    quality, cost: [n, V]. signals: name -> [n, V], NaN where unknown. warnings: what was left out.
    """

    ids: tuple[str, ...]
    prompts: tuple[str, ...]
    variants: tuple[str, ...]
    quality: Floats
    cost: Floats
    signals: Mapping[str, Floats] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def costs(self) -> Floats:
        """Each variant's mean cost [V]."""
        means: Floats = self.cost.mean(0)
        return means

    def take(self, rows: npt.NDArray[np.int64]) -> Table:
        """Return some of the prompts."""
        return Table(
            tuple(self.ids[row] for row in rows),
            tuple(self.prompts[row] for row in rows),
            self.variants,
            self.quality[rows],
            self.cost[rows],
            {name: values[rows] for name, values in self.signals.items()},
            self.warnings,
        )

    def narrowed(self, only: Sequence[str] = (), full: str | None = None) -> Table:
        """Return the table of some variants alone, `full` being the one that promises are about.

        Variants that cost more than `full` on average are left out: nothing is saved by them.
        """
        _check_names(self.variants, only, full)
        most = self.costs[self.variants.index(full)] if full else np.inf
        kept = [
            v
            for v, name in enumerate(self.variants)
            if (not only or name in only or name == full) and self.costs[v] <= most
        ]
        # Of equal cost, the full one is the last.
        kept.sort(key=lambda v: self.variants[v] == full)
        notes = [
            f"{name} was left out: it costs more than {full}"
            for name, cost in zip(self.variants, self.costs, strict=True)
            if cost > most and (not only or name in only)
        ]
        if len(kept) < 2:
            names = ", ".join(self.variants[v] for v in kept)
            raise UsageError(
                "; ".join([f"routing needs two variants, only {names} is left", *notes]),
                place="--full" if full else "--only",
                cure=f"name another: {', '.join(self.variants)}"
                if only or len(self.variants) > 2
                else "measure a variant that costs less; routing saves nothing here",
            )
        return replace(
            self,
            variants=tuple(self.variants[v] for v in kept),
            quality=self.quality[:, kept],
            cost=self.cost[:, kept],
            signals={name: values[:, kept] for name, values in self.signals.items()},
            warnings=(*self.warnings, *notes),
        )

    def groups(self) -> npt.NDArray[np.int64]:
        """Return a number for each prompt that it shares with prompts of the same words [n].

        Prompts that differ in nothing but capitals, spaces and signs belong on the same side of
        every split: otherwise what was learnt by heart would count as understood.
        """
        known: dict[str, int] = {}
        texts = (_NOT_WORD.sub(" ", prompt.casefold()).strip() or prompt for prompt in self.prompts)
        return np.array([known.setdefault(text, len(known)) for text in texts], np.int64)


def read_table(
    path: Path, quality: str = "quality", only: Sequence[str] = (), full: str | None = None
) -> Table:
    """Read an outcome table; what is wrong with it is said with the row and the cure.

    quality: the column that is taken for the quality. only, full: as `Table.narrowed`.
    """
    if not path.is_file():
        raise UsageError("no such file", place=str(path), cure="name an outcome table")
    try:
        return build_table(_rows(path, quality), str(path), quality, only, full)
    except (OSError, EOFError, UnicodeDecodeError, csv.Error, zlib.error) as error:
        raise BrokenInput(f"cannot be read ({error})", place=str(path), cure=_FORM) from error


def build_table(
    rows: Iterable[tuple[str, Mapping[str, Any]]],
    place: str,
    quality_column: str = "quality",
    only: Sequence[str] = (),
    full: str | None = None,
) -> Table:
    """Return the table of rows in long form, each with the words for where it stands.

    only, full: as `Table.narrowed`; a prompt needs no values of variants that they leave out.
    """
    cells: dict[str, dict[str, _Cell]] = {}
    prompts: dict[str, str] = {}
    broken = 0
    for where, row in rows:
        name, prompt, variant = (_text(row, key, place, where) for key in COLUMNS[:3])
        if prompts.setdefault(name, prompt) != prompt:
            raise BrokenInput(
                f"prompt_id {name!r} has two prompts",
                place=f"{place}, {where}",
                cure="give every prompt an id of its own",
            )
        mine = cells.setdefault(name, {})
        if variant in mine:
            raise BrokenInput(
                f"prompt {name!r} has variant {variant!r} twice",
                place=f"{place}, {where}",
                cure="keep one row a prompt and variant (the mean of several answers)",
            )
        quality, cost = (_number(row, key, place, where) for key in (quality_column, "cost"))
        if math.isnan(quality) or math.isnan(cost):
            broken += 1
            continue
        if not 0 <= quality <= 1 or cost < 0:
            what = f"quality {quality:g}, cost {cost:g}"
            raise BrokenInput(
                f"quality must be from 0 to 1 and cost not negative ({what})",
                place=f"{place}, {where}",
                cure="divide percentages by 100",
            )
        signals = {k: _number(row, k, place, where) for k in SIGNALS if k in row}
        mine[variant] = (quality, cost, signals)
    seen = sorted({variant for mine in cells.values() for variant in mine})
    if len(seen) < 2 or not (only or full):
        return _assemble(cells, prompts, seen, broken, place)
    _check_names(seen, only, full)
    kept = _narrowed(cells, seen, only, full)
    found = _assemble(cells, prompts, kept, broken, place)
    notes = [
        f"{name} was left out: it costs more than {full}"
        for name in seen
        if name not in kept and (not only or name in only)
    ]
    left = replace(found, warnings=(*found.warnings, *notes))
    return left.narrowed([name for name in only if name in kept], full)


def _check_names(variants: Sequence[str], only: Sequence[str], full: str | None) -> None:
    for name in (*only, *([full] if full else [])):
        if name not in variants:
            raise UsageError(f"unknown variant {name!r}; {nearest(name, variants)}")


def _narrowed(
    cells: Mapping[str, Mapping[str, _Cell]],
    seen: Sequence[str],
    only: Sequence[str],
    full: str | None,
) -> list[str]:
    """Return the variants that will be left, where they are two; costs on the prompts in common."""
    wanted = [name for name in seen if not only or name in only or name == full]
    kept = [name for name in wanted if full is None or not _dearer(cells, name, full)]
    return next((names for names in (kept, wanted) if len(names) > 1), list(seen))


def _dearer(cells: Mapping[str, Mapping[str, _Cell]], name: str, full: str) -> bool:
    both = [mine for mine in cells.values() if name in mine and full in mine]
    return sum(mine[name][1] - mine[full][1] for mine in both) > 0


def _assemble(
    cells: Mapping[str, Mapping[str, _Cell]],
    prompts: Mapping[str, str],
    seen: Sequence[str],
    broken: int,
    place: str,
) -> Table:
    if len(seen) < 2:
        raise BrokenInput(
            f"routing needs two variants, the table has {', '.join(seen) or 'none'}",
            place=place,
            cure=_FORM,
        )
    if len(seen) > MOST_VARIANTS:
        raise BrokenInput(f"{len(seen)} variants, more than {MOST_VARIANTS}", place=place)
    whole = [name for name, mine in cells.items() if all(v in mine for v in seen)]
    counts = {v: sum(v in mine for mine in cells.values()) for v in seen}
    sparse = min(seen, key=counts.__getitem__)
    has = f"{sparse} has the fewest, {counts[sparse]} of {len(cells)}"
    if not whole:
        raise BrokenInput(
            f"no prompt has a quality and a cost for each of {', '.join(seen)} ({has})",
            place=place,
            cure="measure the same prompts on every variant, or leave one out (--only)",
        )
    values = np.array([[cells[name][v][:2] for v in seen] for name in whole], np.float64)
    mean_cost, mean_quality = values[:, :, 1].mean(0), values[:, :, 0].mean(0)
    order = sorted(range(len(seen)), key=lambda v: (mean_cost[v], mean_quality[v], seen[v]))
    signals = {}
    for name in SIGNALS:
        found = [[cells[p][seen[v]][2].get(name, math.nan) for v in order] for p in whole]
        if not np.isnan(found).all():
            signals[name] = np.array(found, np.float64)
    warnings = []
    if broken:
        warnings.append(f"{broken} rows without a quality or a cost were left out")
    if len(whole) < len(cells):
        left = len(cells) - len(whole)
        warnings.append(f"{left} of {len(cells)} prompts lack a variant and were left out ({has})")
    return Table(
        tuple(whole),
        tuple(prompts[name] for name in whole),
        tuple(seen[v] for v in order),
        values[:, order, 0],
        values[:, order, 1],
        signals,
        tuple(warnings),
    )


def write_table(rows: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Write rows in long form as the path's suffix says: .csv, .jsonl or .parquet."""
    suffix = path.suffix.lower()
    if suffix == ".jsonl":
        text = "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
        write_whole(path, text.encode("utf-8", "replace"))
    elif suffix == ".csv":
        stream = io.StringIO(newline="")
        names = list(dict.fromkeys(name for row in rows for name in row)) or COLUMNS
        writer = csv.DictWriter(stream, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_whole(path, stream.getvalue().encode("utf-8", "replace"))
    elif suffix == ".parquet":
        arrow, parquet = _pyarrow()
        buffer = io.BytesIO()
        parquet.write_table(arrow.Table.from_pylist(list(rows)), buffer)
        write_whole(path, buffer.getvalue())
    else:
        raise UsageError(
            f"cannot write a table as {suffix or 'a file without a suffix'}",
            place=str(path),
            cure="use .csv, .jsonl or .parquet",
        )
    return path


def _rows(path: Path, quality: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    zipped = suffixes[-1:] == [".gz"]
    kind = suffixes[-2:-1] if zipped else suffixes[-1:]
    if kind == [".parquet"] and not zipped:
        yield from _parquet_rows(path, quality)
    elif kind in ([".csv"], [".jsonl"]):
        opener = gzip.open if zipped else open
        with opener(path, "rt", encoding="utf-8-sig", newline="") as stream:
            yield from (_csv_rows if kind == [".csv"] else _json_rows)(stream, str(path), quality)
    else:
        raise UsageError(
            "not a table by its name", place=str(path), cure="name a .csv, .jsonl or .parquet file"
        )


def _csv_rows(
    stream: Iterable[str], place: str, quality: str
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    csv.field_size_limit(1 << 24)
    reader = csv.DictReader(stream, strict=True)
    _check_columns(reader.fieldnames or (), place, quality)
    for row in reader:
        if None in row or None in row.values():
            raise BrokenInput(
                "this row has another number of fields than the heading",
                place=f"{place}, line {reader.line_num}",
            )
        yield f"line {reader.line_num}", row


def _json_rows(
    stream: Iterable[str], place: str, quality: str
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for number, line in enumerate(stream, 1):
        if not line.strip():
            continue
        where = f"{place}, line {number}"
        try:
            row = json.loads(line)
            halves = no_text(row)
        except (ValueError, RecursionError) as error:
            raise BrokenInput(f"not JSON ({error})", place=where) from error
        if not isinstance(row, dict):
            raise BrokenInput("not a JSON object", place=where, cure=_FORM)
        if halves:
            raise BrokenInput(halves, place=where)
        _check_columns(row, where, quality)
        yield f"line {number}", row


def _parquet_rows(path: Path, quality: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    arrow, parquet = _pyarrow()
    try:
        file = parquet.ParquetFile(path)
        _check_columns(file.schema_arrow.names, str(path), quality)
        columns = [c for c in {*COLUMNS, *SIGNALS, quality} if c in file.schema_arrow.names]
        number = 0
        for batch in file.iter_batches(columns=columns):
            for row in batch.to_pylist():
                number += 1
                yield f"row {number}", row
    except (arrow.ArrowException, OSError) as error:
        raise BrokenInput(f"not parquet ({error})", place=str(path)) from error


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise missing_extra("pyarrow", "router") from error
    return pa, parquet


def _check_columns(names: Iterable[Any], place: str, quality: str) -> None:
    wanted = [quality if name == "quality" else name for name in COLUMNS]
    lacking = [name for name in wanted if name not in set(names)]
    if lacking:
        raise BrokenInput(f"column {', '.join(lacking)} is missing", place=place, cure=_FORM)


def _text(row: Mapping[str, Any], key: str, place: str, where: str) -> str:
    value = row[key]
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # whole numbers beside missing ones come as floats from many tools
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or (key != "prompt" and not value.strip()):
        raise BrokenInput(f"{key} is {value!r}, not a text", place=f"{place}, {where}")
    return value


def _number(row: Mapping[str, Any], key: str, place: str, where: str) -> float:
    """Return a number, NaN where the field is empty."""
    value = row[key]
    if value is None:
        return math.nan
    if isinstance(value, str):
        small = value.strip().lower()
        if small in _MISSING:
            return math.nan
        value = _TRUTH.get(small, value)
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.inf
    if math.isinf(number):
        raise BrokenInput(f"{key} is {str(value)[:60]!r}, not a number", place=f"{place}, {where}")
    return number
