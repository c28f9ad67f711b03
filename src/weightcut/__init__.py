"""Cut the weight of a code LLM and keep its punch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from weightcut.api import compress_model, evaluate_tradeoff
    from weightcut.study.spec import load_study

__all__ = ["compress_model", "evaluate_tradeoff", "load_study"]


def __getattr__(name: str) -> object:
    # Lazily, so that importing a part of the package does not import the rest of it.
    if name in __all__:
        from weightcut import api
        from weightcut.study.spec import load_study

        return {**vars(api), "load_study": load_study}[name]
    raise AttributeError(f"module 'weightcut' has no attribute {name!r}")
