"""Made-up outcomes whose difficulty can be read off the prompt, for tests of routing."""

from __future__ import annotations

from typing import Any

import numpy as np

from weightcut.routing.table import Table, build_table

_WORDS = ("sort", "list", "tree", "graph", "string", "parse", "number", "prime", "matrix", "lock")


def rows(n: int = 300, variants: int = 2, seed: int = 0, **extra: Any) -> list[dict[str, Any]]:
    """Return a table in long form: the longer the prompt, the more the cheap variants lose."""
    generator = np.random.default_rng(seed)
    found = []
    for i in range(n):
        count = int(generator.integers(2, 14))
        prompt = f"Write a function {i} that can " + " ".join(generator.choice(_WORDS, count))
        for v in range(variants):
            skill = v / (variants - 1)
            quality = float(np.clip(1 - count / 14 * (1 - skill) + generator.normal(0, 0.05), 0, 1))
            found.append(
                {
                    "prompt_id": f"p{i}",
                    "prompt": prompt,
                    "variant": f"v{v}",
                    "quality": quality,
                    "cost": float((v + 1) ** 2),
                    "mean_logprob": quality - 1.5,
                    "parses": quality > 0.2,
                    **extra,
                }
            )
    return found


def table(n: int = 300, variants: int = 2, seed: int = 0, *, signals: bool = True) -> Table:
    """Return the same as a table."""
    made = rows(n, variants, seed)
    if not signals:
        for row in made:
            del row["mean_logprob"], row["parses"]
    return build_table(((f"row {k}", row) for k, row in enumerate(made)), "made up")
