from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from weightcut.records.results import Results
from weightcut.reports import json as json_report
from weightcut.reports import pdf

from .conftest import CUTS


def _pages(path: Path) -> int:
    return int(max(re.findall(rb"/Count (\d+)", path.read_bytes()), key=int))


def test_a_whole_report(results: Results, tmp_path: Path) -> None:
    path = pdf.write(results, tmp_path)
    data = path.read_bytes()
    assert path.name == "report.pdf"
    assert data.startswith(b"%PDF-")
    assert 8 < _pages(path) < 30
    assert b"LibertinusSerif" in data
    assert b"http" not in re.sub(rb"http://(www\.w3|ns\.adobe|purl|www\.aiim)\S+", b"", data)


def test_the_same_results_give_the_same_bytes(results: Results, tmp_path: Path) -> None:
    few = results.model_copy(update={"variants": results.variants[:2]})
    first = pdf.write(few, tmp_path).read_bytes()
    assert pdf.write(few, tmp_path).read_bytes() == first


def test_the_digest_is_that_of_the_results_file(results: Results, tmp_path: Path) -> None:
    few = results.model_copy(update={"variants": results.variants[:1], "study": "\u4e2d"})
    digest = hashlib.sha256(json_report.write(few, tmp_path).read_bytes()).hexdigest()
    assert ("results.json", f"SHA-256 {digest}") in pdf._data(few)["facts"]


def test_names_are_data_and_never_markup(hostile: Results, tmp_path: Path) -> None:
    bad = "#panic() $x$ *b* <label> @ref \\u{0} // /* `"
    variants = [v.model_copy(update={"name": f"{bad}{i}"}) for i, v in enumerate(hostile.variants)]
    nasty = hostile.model_copy(
        update={"variants": variants, "study": bad + "q" * 300, "recommendation": bad * 50}
    )
    assert pdf.write(nasty, tmp_path).stat().st_size > 10_000


@pytest.mark.parametrize("name", ["no variants", "nothing measured", "no context"])
def test_what_is_missing_is_left_out(name: str, results: Results, tmp_path: Path) -> None:
    missing = results.model_copy(update=CUTS[name](results))
    assert pdf.write(missing, tmp_path).read_bytes().startswith(b"%PDF-")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("naïve Ωд שלום العربية", "naïve Ωд שלום العربية"),
        ("🦥", ":sloth:"),
        ("中文", "⟨4E2D⟩⟨6587⟩"),
        ("● ◆ ▼ ✚ ≥ ×", "● ◆ ▼ ✚ ≥ ×"),
    ],
)
def test_letters_that_the_fonts_lack_are_named(text: str, shown: str) -> None:
    assert pdf.letters(text) == shown


@pytest.mark.parametrize("text", ["x" * 100, "a-b/" * 40, "---" * 30, "short words only"])
def test_long_runs_may_break_and_lose_nothing(text: str) -> None:
    broken = pdf._broken(text)
    assert broken.replace(pdf.ZERO_WIDTH_SPACE, "") == text
    assert max(map(len, re.split(rf"[\s{pdf.ZERO_WIDTH_SPACE}]", broken))) <= 100
    if len(text.split()[0]) > 30 and "-" not in text:
        assert pdf.ZERO_WIDTH_SPACE in broken
