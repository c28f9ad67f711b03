from __future__ import annotations

import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from weightcut.records.results import Results
from weightcut.reports.markdown import escape, write

from .conftest import HOSTILE

_CELL = re.compile(r"(?<!\\)\|")


def _tables(source: str) -> list[list[str]]:
    blocks = re.split(r"\n\s*\n", source)
    return [b.strip().splitlines() for b in blocks if b.strip().startswith("|")]


def test_every_table_is_rectangular(results: Results, hostile: Results, tmp_path: Path) -> None:
    for study in (results, hostile):
        tables = _tables(write(study, tmp_path).read_text())
        assert len(tables) >= 8
        for table in tables:
            assert re.fullmatch(r"\|( :?-+:? \|)+", table[1].strip())
            widths = {len(_CELL.findall(line)) for line in table}
            assert len(widths) == 1, table


def test_the_same_content_as_the_page(results: Results, tmp_path: Path) -> None:
    source = write(results, tmp_path).read_text()
    assert source.startswith("# example: which version to deploy\n")
    assert escape(results.recommendation) in source
    assert "| **ov-int8** | ● retained |" in source
    for heading in ("Overview", "Verdicts", "Guards", "Conditions", "Machine", "Reproduce"):
        assert f"\n## {heading}\n" in source
    assert "4-bit grid" in source
    assert "weightcut run example --out runs/example" in source
    assert "\n\n\n" not in source


def test_hostile_names_are_text(hostile: Results, tmp_path: Path) -> None:
    source = write(hostile, tmp_path).read_text()
    outside_code = source.split("```")[0]
    assert "<img" not in outside_code
    assert "<script" not in outside_code
    assert "\x1b" not in source
    assert escape(HOSTILE[2]) == r"a\|b\`c\*d\_e\[f\](http://example.org)"


def test_missing_data_still_make_a_report(cut: Results, tmp_path: Path) -> None:
    source = write(cut, tmp_path).read_text()
    assert "## Overview" in source
    assert "None" not in source


@given(st.text())
def test_escaped_text_stays_on_one_line_and_in_its_cell(value: str) -> None:
    line = escape(value)
    assert len(line.splitlines()) <= 1
    assert "<" not in line
    assert not _CELL.search(line.replace("\\\\", ""))
    assert not re.match(r"\s*([-+=#]|\d+[.)])(\s|$)", line)
