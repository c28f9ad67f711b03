"""`summary.csv`: the measurements of many runs in one tidy table (docs/results.md)."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path

from weightcut.analysis.tidy import Row
from weightcut.files import write_whole
from weightcut.reports.csv import written


def write(rows: Iterable[Row], path: Path) -> Path:
    """Write the rows (UTF-8, RFC 4180, dots as decimal signs, missing values empty)."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(Row.model_fields), lineterminator="\r\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: written(value) for key, value in row.model_dump().items()})
    write_whole(path, stream.getvalue().encode())
    return path
