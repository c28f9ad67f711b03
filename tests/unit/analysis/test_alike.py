"""Cells that were not measured alike are told apart in words."""

from __future__ import annotations

from typing import Any

from weightcut.analysis.alike import timed_unlike, unlike_cells
from weightcut.records import Cell, CellKey


def _cell(variant: str, **manifest: Any) -> Cell:
    key = CellKey(variant=variant, stage="task", task="humaneval")
    return Cell(key=key, state="done", manifest=manifest)


def test_one_library_in_two_versions_is_told() -> None:
    old = _cell("full", versions={"torch": "1", "nncf": "3"})  # as older runs have them
    new = _cell("light", measured_with=[{"torch": "2", "openvino": "5"}])
    torch = "not all was measured with the same torch: 1 for full/humaneval; 2 for light/humaneval"
    assert unlike_cells([old, new]) == [torch]
    assert unlike_cells([new, new.model_copy(update={"key": old.key})]) == []
    assert timed_unlike(new.manifest, old.manifest) == [
        "it was timed with torch 2, the baseline with 1"
    ]


def test_a_cell_that_went_on_otherwise_is_told() -> None:
    mixed = _cell("full", measured_with=[{"threads": None}, {"threads": "2"}])
    (told,) = unlike_cells([mixed])
    assert told.endswith("threads: none for full/humaneval; 2 for full/humaneval")


def test_other_questions_are_told() -> None:
    cells = [_cell(name, prompts_digest=name[:1]) for name in ("a1", "a2", "a3", "a4", "a5", "b")]
    (told,) = unlike_cells(cells)
    assert told.startswith("humaneval: not all variants were asked the same")
    assert told.endswith("a4/humaneval and 1 more unlike b/humaneval")
