"""The shadow sample: some routed prompts are answered by every variant, and the answers compared.

Nothing changes by itself: alerts are metrics, and `weightcut router recalibrate` proposes.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import time
from pathlib import Path
from typing import Any

from weightcut.routing.server import logs
from weightcut.routing.server.accounts import Remembered
from weightcut.routing.server.calls import Call
from weightcut.routing.server.config import DriftConfig
from weightcut.routing.server.dispatch import Trail
from weightcut.routing.server.drift import Pairs, ScoreWatch, Verdicts
from weightcut.routing.server.ledger import Choice, Ledger
from weightcut.routing.server.metrics import Metrics
from weightcut.routing.server.problems import Problem
from weightcut.routing.server.schema import FeedbackRequest
from weightcut.routing.server.service import Answer, Service
from weightcut.routing.signals import read_signals

PAIRS, FEEDBACK = "pairs.jsonl", "feedback.jsonl"
_AT_ONCE = 4
_LOOK_EVERY = 100
"""Scores between two looks at their distribution."""


class Shadow:
    """Watches scores, compares answers, keeps what `recalibrate` needs."""

    def __init__(self, settings: DriftConfig, service: Service, metrics: Metrics) -> None:
        self._settings, self._service, self._metrics = settings, service, metrics
        self._scores = ScoreWatch(settings.window)
        self._pairs, self._verdicts = Pairs(), Verdicts()
        self._random = random.Random()  # noqa: S311 - a sample, no secret
        self._tasks: set[asyncio.Task[None]] = set()
        self._seen = 0
        self._files = {
            name: _Rows(settings.folder / name, settings.rows)
            for name in (PAIRS, FEEDBACK)
            if settings.folder is not None
        }
        for kind in ("scores", "quality", "feedback"):
            metrics.alert(kind).set(0)

    def consider(self, ledger: Ledger) -> None:
        """Look at a finished request; perhaps have it answered by the other variants, too."""
        # The choices of one prompt share its score.
        for choice in {one.answer.call.id: one for one in ledger.choices}.values():
            if choice.plan.by == "router" and choice.plan.scores:
                self._watch(choice)
        first = ledger.choices[0]
        service, share = self._service, self._settings.shadow_share
        busy = 2 * service.admission.inside > service.admission.capacity
        if len(ledger.choices) > 1 or first.plan.by != "router" or not first.plan.scores:
            return
        if not self._as_routed(first):
            return
        if busy or len(self._tasks) >= _AT_ONCE or service.draining:
            return
        if self._random.random() < share:
            task = asyncio.create_task(self._compare(ledger.id, first))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def feedback(self, body: FeedbackRequest, known: Remembered) -> None:
        """Take a user's verdict, which replaces an earlier one on the same answer."""
        before, known.accepted = known.accepted, body.accepted
        if before == body.accepted:
            return
        self._metrics.feedback(known.variant, str(body.accepted).lower()).inc()
        if known.by == "router":
            self._weigh(known, before)
        row = {
            "time": time.time(),
            "id": body.id,
            "accepted": body.accepted,
            "variant": known.variant,
            "chosen": known.chosen,
            "by": known.by,
            "scores": known.scores,
        }
        if body.comment is not None:
            row["comment"] = body.comment
        self._keep(FEEDBACK, row)

    def _weigh(self, known: Remembered, before: bool | None) -> None:
        settings, of_full = self._settings, known.variant == self._service.full
        if before is not None:
            self._verdicts.add(of_full=of_full, accepted=before, count=-1)
        self._verdicts.add(of_full=of_full, accepted=bool(known.accepted))
        alert = self._verdicts.alert(settings.loss, settings.minimum)
        self._metrics.alert("feedback").set(int(alert))

    async def close(self) -> None:
        """Give up what is being compared."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _as_routed(self, choice: Choice) -> bool:
        """Return whether the router chose who answered; a failure of transport is no quality."""
        escalated = bool(choice.answer.escalated)
        return choice.variant == (self._service.full if escalated else choice.plan.decided)

    def _watch(self, choice: Choice) -> None:
        light = [s for name, s in choice.plan.scores.items() if name != self._service.full]
        if not light:
            return
        self._scores.add(max(light))
        self._seen += 1
        if self._seen % _LOOK_EVERY:
            return
        psi = self._scores.psi()
        if psi is not None:
            self._metrics.psi().set(psi)
            self._metrics.alert("scores").set(int(psi > self._settings.psi))

    async def _compare(self, id_: str, choice: Choice) -> None:
        texts = {choice.variant: choice.answer.text}
        costs = {choice.variant: choice.answer.cost}
        for variant in choice.plan.scores:
            if variant in texts:
                continue
            answer = await self._answer(choice.answer.call, variant)
            if answer is None:
                return
            texts[variant], costs[variant] = answer.text, answer.cost
            self._metrics.shadow_cost().inc(answer.cost)
        prompt = choice.answer.call.text
        quality = await asyncio.to_thread(judge, prompt, texts)
        self._metrics.shadow("yes" if quality else "no").inc()
        if quality:
            self._account(choice, quality)
        row: dict[str, Any] = {
            "time": time.time(),
            "id": id_,
            "router": "" if self._service.router is None else self._service.router.digest,
            "chosen": choice.plan.decided,
            "scores": choice.plan.scores,
            "cost": costs,
            "quality": quality,
            "same": len({" ".join(text.split()) for text in texts.values()}) == 1,
        }
        if self._settings.keep_prompts:
            row |= {"prompt": prompt, "answers": texts}
        self._keep(PAIRS, row)

    def _account(self, choice: Choice, quality: dict[str, float]) -> None:
        settings = self._settings
        self._pairs.add(quality[choice.variant], quality[self._service.full])
        self._metrics.shadow_loss().set(self._pairs.lost())
        alert = self._pairs.alert(settings.loss, settings.minimum)
        self._metrics.alert("quality").set(int(alert))

    async def _answer(self, call: Call, variant: str) -> Answer | None:
        """Return a variant's answer; None where it has none: a failure is no bad quality."""
        answer = Answer(call, Trail())
        try:
            async for chunk in self._service.dispatcher.stream(
                call, (variant,), answer.trail, hold=True
            ):
                answer.take(chunk)
        except Problem as problem:
            logs.say("shadow", variant=variant, problem=problem.logged())
            return None
        price = self._service.prices.get(variant)
        if price is not None:
            answer.cost = price.of(answer.prompt_tokens, answer.completion_tokens)
        return answer

    def _keep(self, name: str, row: dict[str, Any]) -> None:
        file = self._files.get(name)
        if file is None:
            return
        try:
            file.add(row)
        except OSError as error:
            logs.say("cannot keep a row", level=40, file=name, error=str(error))


def judge(prompt: str, texts: dict[str, str]) -> dict[str, float] | None:
    """Return every answer's quality (0 or 1) where it can be judged; None where no answer is code.

    Does its Python code pass the tests that the prompt shows, or, without tests, does it parse?
    Prose beside another's code counts as no code.
    """
    found = {variant: read_signals(prompt, text, None) for variant, text in texts.items()}
    if all(signals.parses is None for signals in found.values()):
        return None
    tested = any(signals.tests_passed is not None for signals in found.values())
    return {
        variant: float(bool(signals.tests_passed if tested else signals.parses))
        for variant, signals in found.items()
    }


class _Rows:
    """A file of JSON lines that never grows beyond twice its rows."""

    def __init__(self, path: Path, rows: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._rows = path, rows
        self._count = _count(path)

    def add(self, row: dict[str, Any]) -> None:
        """Append a row; when there are too many, the older half goes."""
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")
        self._count += 1
        if self._count > self._rows:
            self._halve()

    def _halve(self) -> None:
        """Keep the younger half, whole even where the process is killed meanwhile."""
        draft = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        before = _count(self._path) - self._rows // 2
        try:
            with self._path.open("rb") as old, draft.open("wb") as new:
                new.writelines(itertools.islice(old, max(0, before), None))
            draft.replace(self._path)
        finally:
            draft.unlink(missing_ok=True)
        self._count = self._rows // 2


def _count(path: Path) -> int:
    """Return the number of lines, 0 where there is no file."""
    if not path.is_file():
        return 0
    with path.open("rb") as stream:
        return sum(1 for _ in stream)
