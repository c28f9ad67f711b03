from __future__ import annotations

import io

import pytest
from rich.console import Console

from weightcut.records.results import Results
from weightcut.reports import terminal
from weightcut.reports.text import columns_wide


def _printed(results: Results, width: int) -> list[str]:
    stream = io.StringIO()
    Console(width=width, file=stream, force_terminal=False).print(terminal.table(results))
    return stream.getvalue().splitlines()


@pytest.mark.parametrize("width", [120, 100, 80, 60])
def test_fits_and_cuts_no_figure(results: Results, width: int) -> None:
    lines = _printed(results, width)
    assert all(columns_wide(line) <= width for line in lines)
    assert not any("…" in line for line in lines)
    for variant in results.variants:
        assert any(variant.name in line for line in lines)
    best = next(line for line in lines if line.startswith("→"))
    assert "ov-int8" in best
    assert "1.02 [0.99, 1.04]" in best
    assert "3.12×" in best


def test_wide_shows_more_than_narrow(results: Results) -> None:
    wide, narrow = _printed(results, 120)[0], _printed(results, 80)[0]
    assert {"pass@1", "memory", "latency", "target"} <= set(wide.split())
    assert "pass@1" not in narrow
    assert "size" in narrow


def test_names_are_no_markup_and_no_control(hostile: Results) -> None:
    lines = _printed(hostile, 120)
    assert any("a|b`c*d_e[f]" in line for line in lines)
    assert not any("\x1b" in line for line in lines)


def test_missing_data_still_make_a_table(cut: Results) -> None:
    for width in (120, 80):
        lines = _printed(cut, width)
        assert "variant" in lines[0]
        assert "None" not in "".join(lines)
    assert terminal.summary(cut)


def test_summary_is_the_recommendation(results: Results) -> None:
    assert terminal.summary(results) == results.recommendation
