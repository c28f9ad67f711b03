"""What a cell is measured with: stored before anything is, so that unlike cells are told apart."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from typing import Any

from weightcut.compression import recipe
from weightcut.errors import WeightcutError
from weightcut.records import Cell, CellKey, Checkpoint, VariantSpec
from weightcut.store.run_store import RunStore
from weightcut.study.build import fitted, open_engine, package_version

_SCORING = ("numpy", "sacrebleu", "tokenizers", "tree-sitter")
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


def begin(
    store: RunStore, key: CellKey, variant: VariantSpec, checkpoint: Checkpoint, **digests: str
) -> dict[str, Any]:
    """Return what is to be told of how a cell is measured, and store it before anything is.

    digests: of what is asked, by name; WeightcutError where other variants, or this one before,
    were asked something else. A cell that goes on under other versions has several.
    """
    cells = [c for c in store.cells() if (c.key.stage, c.key.task) == (key.stage, key.task)]
    own = [cell for cell in cells if cell.key == key and store.finished(key)]
    _refuse_other_questions([*own, *(cell for cell in cells if cell.state == "done")], digests)
    now = _measured_with(key, variant, checkpoint)
    before = own[0].manifest.get("measured_with", []) if own else []
    facts = {**digests, "measured_with": before if now in before else [*before, now]}
    store.update(key, manifest=facts)
    return facts


def _refuse_other_questions(cells: Iterable[Cell], digests: dict[str, str]) -> None:
    for cell in cells:
        if any(cell.manifest.get(name, value) != value for name, value in digests.items()):
            raise WeightcutError(
                f"it is not asked what {cell.key} was asked: prompts or texts have changed since",
                cure="start anew with another --out",
            )


def _measured_with(
    key: CellKey, variant: VariantSpec, checkpoint: Checkpoint
) -> dict[str, str | None]:
    """Return the versions of what a cell's figures rest on, and limits on its threads."""
    methods = map(recipe.build, fitted(variant.recipe, checkpoint.format, variant.engine))
    packages = {"weightcut", *open_engine(variant.engine).packages}
    packages.update(name for method in methods for name in method.requirements().packages)
    if key.stage == "task":
        packages.update(_SCORING)
    return {
        "python": platform.python_version(),
        **{name: package_version(name) for name in sorted(packages)},
        **{name: os.environ.get(name) for name in _THREADS},
    }
