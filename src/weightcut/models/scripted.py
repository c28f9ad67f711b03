"""The scripted model: a fake without weights, so that studies can be tested in milliseconds.

A scripted model is a folder with one file, `scripted.json` (and optionally `weights.bin`, zeros
that stand for the bytes of weights). The smallest one that is useful:

    {
      "answers": {"def add": "def add(a, b):\\n    return a + b\\n"},
      "skill": 0.8
    }

The engine `scripted` answers a prompt with the entry of `answers` whose key the prompt contains
(the longest such key), as it is for a share `skill` of the samples, spoiled for the others. Which
samples those are depends on the request's id alone, so that a model of less skill fails the same
samples and some more. Tokens are bytes: ids 0-255, and 256 ends the answer. Every field of the
file is described in `ScriptedModel`; unknown ones are refused.
"""

from __future__ import annotations

import hashlib
import re
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import Field, ValidationError

from weightcut.errors import BrokenInput
from weightcut.records import Record

FILE = "scripted.json"
WEIGHTS = "weights.bin"
END = 256
VOCABULARY = 257
_HABITS = (
    b"def f(x):\n    if x > 0:\n        return [x for x in range(10)]\n    return None\n"
    b"class Node:\n    def __init__(self, value, next=None):\n        self.value = value\n"
    b"        self.next = next\n\n    import os, sys\n    for i, item in enumerate(items):\n"
)


class ScriptedModel(Record):
    """The contents of `scripted.json`: what the fake model says, and how well and how fast.

    Answers are deterministic; nothing sleeps but `sleep_s`: latencies are reported, not spent.
    """

    answers: dict[str, str] = Field({}, description="text in the prompt -> the right answer")
    wrong: dict[str, str] = Field(
        {}, description="the same keys -> the wrong answer; without one, returned values are lost"
    )
    otherwise: str = Field("pass\n", description="the answer where no key is in the prompt")
    skill: float = Field(1.0, ge=0, le=1, description="share of samples answered right")
    ramble: float = Field(
        0.0, ge=0, le=1, description="share of the other samples that run on to the token limit"
    )
    sharpness: float = Field(
        1.0, ge=0, description="how peaked the next-byte distributions are; 0 makes them uniform"
    )
    drift: float = Field(
        0.0, ge=0, description="standard deviation of fixed noise on the next-byte logits, in nats"
    )
    ttft_s: float = Field(0.05, ge=0, description="reported time to first token, seconds")
    tpot_s: float = Field(0.01, ge=0, description="reported time per further token, seconds")
    batch_cost: float = Field(
        0.1, ge=0, description="share of tpot_s that each further concurrent sequence adds"
    )
    noise: float = Field(
        0.0, ge=0, lt=1, description="half width of the seeded uniform noise on times, as a share"
    )
    fail_after: int | None = Field(
        None, ge=0, description="fail at the request after so many answers of a session"
    )
    crash: bool = Field(
        False, description="fail by SIGKILL, not by an exception (without fail_after: at once)"
    )
    sleep_s: float = Field(0.0, ge=0, description="seconds really slept before each answer")
    seed: int = Field(
        0, ge=0, description="changes which samples are right, and the noise of times"
    )

    @classmethod
    def load(cls, folder: Path) -> ScriptedModel:
        """Read the model in a folder; a missing or wrong file: BrokenInput."""
        file = folder / FILE
        try:
            return cls.model_validate_json(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise BrokenInput(f"there is no {FILE}", place=str(folder)) from None
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, first["loc"])) or "the file"
            raise BrokenInput(f"{key}: {first['msg']}", place=str(file)) from None

    def save(self, folder: Path, weight_bytes: int = 0) -> Path:
        """Write the model into a folder (made if need be), with so many bytes of mock weights."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / FILE).write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")
        if weight_bytes:
            (folder / WEIGHTS).write_bytes(bytes(weight_bytes))
        return folder

    def answer(self, prompt: str, sample: str) -> tuple[str, bool]:
        """Return the answer to a prompt, and whether it runs on to the token limit instead."""
        found = max((key for key in self.answers if key in prompt), key=len, default=None)
        right = self.otherwise if found is None else self.answers[found]
        if self.draw(sample, "skill") < self.skill:
            return right, False
        wrong = self.wrong.get(found or "") or spoiled(right)
        return wrong, self.draw(sample, "ramble") < self.ramble

    def draw(self, *what: object) -> float:
        """Return a number in [0, 1) that depends on the model's seed and its arguments alone."""
        text = "\0".join(map(str, (self.seed, *what)))
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64

    def next_logprobs(self) -> npt.NDArray[np.float32]:
        """Return float32 [257, 257]: log-probabilities of the next token, by the last one.

        With it the divergence between two scripted models is known exactly.
        """
        return _next_logprobs(self.sharpness, self.drift)


def spoiled(answer: str) -> str:
    """Return an answer that still parses and is wrong: every returned value replaced by None."""
    lost = re.sub(r"\breturn\b[^\n]*", "return None", answer)
    return lost if lost != answer else "pass\n"


@cache
def _next_logprobs(sharpness: float, drift: float) -> npt.NDArray[np.float32]:
    text = np.frombuffer(_HABITS, dtype=np.uint8).astype(np.int64)
    single = np.bincount(text, minlength=VOCABULARY)
    pairs = np.zeros((VOCABULARY, VOCABULARY))
    np.add.at(pairs, (text[:-1], text[1:]), 1)
    logits = sharpness * np.log1p(single[None, :] + 8 * pairs) + drift * _fixed_noise()
    logits -= logits.max(axis=1, keepdims=True)
    logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
    table: npt.NDArray[np.float32] = logits.astype(np.float32)
    table.flags.writeable = False
    return table


def _fixed_noise() -> npt.NDArray[np.float64]:
    """Return noise of mean 0 and variance 1 that no library version changes (splitmix64)."""
    x = np.arange(1, VOCABULARY * VOCABULARY + 1, dtype=np.uint64)
    x = x * np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    uniform = ((x ^ (x >> np.uint64(31))) >> np.uint64(11)).astype(np.float64) / 2.0**53
    noise: npt.NDArray[np.float64] = (uniform - 0.5) * 12**0.5
    return noise.reshape(VOCABULARY, VOCABULARY)
