"""A study as the Run page's form holds it, and as the file that `weightcut run` reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import yaml

from weightcut import registry
from weightcut.errors import UsageError, WeightcutError
from weightcut.study.spec import find_study


@dataclass(frozen=True)
class Variant:
    """A row of the form; recipe: steps joined by `|`, as `weightcut compress` takes them."""

    name: str
    engine: str
    recipe: str = ""


@dataclass(frozen=True)
class Draft:
    """A whole form. limit: samples of each task, 0 for all."""

    study: str = "my-study"
    model: str = "smollm2-135m"
    baseline: str = ""
    variants: Sequence[Variant] = (Variant("full", "transformers"),)
    tasks: Sequence[str] = ("humaneval", "perplexity")
    limit: int = 0
    profile: bool = True
    concurrency: Sequence[int] = (1, 8, 32)
    load: bool = False
    metric: str = "codebleu"
    share: float = 0.95
    confidence: float = 0.95
    speedup: float = 2.0
    seed: int = 0
    more: Mapping[str, Any] = field(default_factory=dict)


def as_yaml(draft: Draft) -> str:
    """Return the draft as a study file."""
    names = [variant.name for variant in draft.variants]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise UsageError(f"two variants are named {sorted(twice)[0]!r}", cure="rename one")
    if not names or not all(names):
        raise UsageError("every variant needs a name")
    profile: dict[str, Any] | None = None
    if draft.profile:
        profile = {"concurrency": list(draft.concurrency)} | ({"load": {}} if draft.load else {})
    data = {
        "study": draft.study,
        "model": draft.model,
        "baseline": draft.baseline if draft.baseline in names else names[0],
        "variants": {v.name: {"engine": v.engine, "recipe": v.recipe} for v in draft.variants},
        "tasks": [{"name": task} | ({"limit": draft.limit} if draft.limit else {})
                  for task in draft.tasks],
        "profile": profile,
        "keep": {"metric": draft.metric, "share": draft.share, "confidence": draft.confidence},
        "target": {"latency_speedup": draft.speedup},
        "seed": draft.seed,
    }  # fmt: skip
    # With `allow_unicode` some line separators would be written as they are and read as spaces.
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=False)


@cache
def built_in(name: str) -> Draft:
    """Return a built-in study as a draft."""
    data = yaml.safe_load(find_study(name).read_text("utf-8"))
    variants = [
        Variant(str(key), str(entry["engine"]), recipe_text(entry.get("recipe") or []))
        for key, entry in data["variants"].items()
    ]
    keep = data.get("keep", {})
    return replace(
        Draft(),
        study=data["study"],
        model=data["model"],
        baseline=data["baseline"],
        variants=tuple(variants),
        tasks=tuple(task if isinstance(task, str) else task["name"] for task in data["tasks"]),
        metric=keep.get("metric", "codebleu"),
        share=keep.get("share", 0.95),
        confidence=keep.get("confidence", 0.95),
    )


def recipe_text(steps: Sequence[Mapping[str, Any]] | str) -> str:
    """Return a recipe's steps as the form shows them: `prune-depth(ratio=0.15) | int8`."""
    if isinstance(steps, str):
        return steps
    return " | ".join(map(_step, steps))


def _step(step: Mapping[str, Any] | str) -> str:
    if isinstance(step, str):
        return step
    inner = ", ".join(f"{k}={_value(v)}" for k, v in step.items() if k != "kind")
    return f"{step['kind']}({inner})" if inner else str(step["kind"])


def _value(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@cache
def methods() -> tuple[tuple[str, str, str], ...]:
    """Return each compression method's name, what it does, and its settings with defaults."""
    found = []
    for name in registry.names("method"):
        try:
            method = registry.load("method", name)
        except (WeightcutError, ImportError):
            continue  # a part from outside that is broken here; the plan says so where it is used
        about = (method.__doc__ or "").strip().split("\n")[0]
        fields = getattr(method, "model_fields", {})
        settings = [f"{key}={_value(f.default)}" for key, f in fields.items() if key != "kind"]
        found.append((name, about, ", ".join(settings)))
    return tuple(found)
