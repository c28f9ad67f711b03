from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.studies import example_study

from weightcut.analysis.results import build_results
from weightcut.records.results import Results, VariantResult

HOSTILE = (
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "a|b`c*d_e[f](http://example.org)",
    "=HYPERLINK(1)",
    "émoji 🦥🔥",
    "עברית שלום",
    "\x1b[31mred\x07 \u2028 {{ 7*7 }}",
)


@pytest.fixture(scope="session")
def results() -> Results:
    return build_results(*example_study(windows=12))


@pytest.fixture(scope="session")
def hostile(results: Results) -> Results:
    """The same study with names, reasons and conditions that try to break out."""
    names = [*HOSTILE, *(v.name for v in results.variants)][: len(results.variants)]
    variants = [
        v.model_copy(
            update={
                "name": name,
                "engine": HOSTILE[0],
                "recipe": [{"kind": HOSTILE[1], "x": HOSTILE[2]}],
                "verdict_reasons": list(HOSTILE),
                "errors": [HOSTILE[0]],
                "engine_options": {HOSTILE[0]: HOSTILE[1]},
            }
        )
        for name, v in zip(names, results.variants, strict=True)
    ]
    return results.model_copy(
        update={
            "study": HOSTILE[0],
            "baseline": names[0],
            "recommended": names[2],
            "recommendation": HOSTILE[1],
            "variants": variants,
            "warnings": list(HOSTILE),
            "conditions": {HOSTILE[0]: HOSTILE[1], "notes": list(HOSTILE)},
            "machine": {HOSTILE[1]: [HOSTILE[2]]},
        }
    )


def _bare(variant: VariantResult) -> VariantResult:
    return variant.model_copy(
        update={
            "tasks": {},
            "profile": None,
            "against_baseline": None,
            "guards": [],
            "artifact_bytes": None,
            "artifact_parts": {},
            "verdict": "unmeasured",
            "verdict_reasons": ["it has not been run"],
            "meets_target": False,
            "on_frontier": False,
        }
    )


CUTS: dict[str, Callable[[Results], dict[str, Any]]] = {
    "no variants": lambda r: {"variants": [], "recommended": None, "recommendation": ""},
    "only the baseline": lambda r: {"variants": r.variants[:1], "recommended": "full"},
    "nothing measured": lambda r: {
        "variants": [_bare(v) for v in r.variants],
        "recommended": None,
        "complete": False,
        "agreement": None,
    },
    "one failed": lambda r: {
        "variants": [
            *r.variants[:-1],
            _bare(r.variants[-1]).model_copy(update={"errors": ["x/build: killed"]}),
        ],
        "complete": False,
    },
    "no profile": lambda r: {
        "variants": [v.model_copy(update={"profile": None}) for v in r.variants]
    },
    "no tasks": lambda r: {"variants": [v.model_copy(update={"tasks": {}}) for v in r.variants]},
    "no baseline": lambda r: {"variants": r.variants[1:]},
    "no context": lambda r: {
        "machine": {},
        "conditions": {},
        "keep": {},
        "target": {},
        "recommended": "gone",
    },
    "perplexity is primary": lambda r: {
        "keep": {**r.keep, "metric": "perplexity", "task": "perplexity"}
    },
}


@pytest.fixture(params=CUTS)
def cut(request: pytest.FixtureRequest, results: Results) -> Results:
    """The study with something missing."""
    return results.model_copy(update=CUTS[request.param](results))
