from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from tests.serving import Served, config, router, talk

from weightcut.errors import BrokenInput, UsageError
from weightcut.routing.files import write_router
from weightcut.routing.router import load_router
from weightcut.routing.server.drift import Pairs, ScoreWatch, Verdicts
from weightcut.routing.server.recalibrate import propose
from weightcut.routing.server.shadow import _Rows, judge

CODE = "```python\ndef f():\n    return 1\n```"
BROKEN = "```python\ndef f(:\n```"


def test_scores_that_stay_alike_have_a_small_index() -> None:
    draw = random.Random(0)
    watch = ScoreWatch(500)
    for _ in range(1000):
        watch.add(draw.gauss(0.5, 0.1))
    index = watch.psi()
    assert index is not None
    assert index < 0.1


def test_scores_that_move_are_noticed() -> None:
    draw = random.Random(0)
    watch = ScoreWatch(500)
    for i in range(1000):
        watch.add(draw.gauss(0.5 if i < 500 else 0.4, 0.1))
    assert (watch.psi() or 0) > 0.25


def test_constant_scores_are_no_error() -> None:
    watch = ScoreWatch(50)
    for _ in range(100):
        watch.add(0.5)
    assert watch.psi() == pytest.approx(0)


def test_pairs_alert_only_when_the_loss_is_sure() -> None:
    few, sure, fine = Pairs(), Pairs(), Pairs()
    for i in range(400):
        if i < 20:
            few.add(0.0, 1.0)
        sure.add(float(i % 4 != 0), 1.0)
        fine.add(float(i % 50 != 0), 1.0)
    assert not few.alert(0.05, 50)
    assert sure.alert(0.05, 50)
    assert sure.lost() == pytest.approx(0.25)
    assert not fine.alert(0.05, 50)


def test_verdicts_alert_when_lighter_answers_are_surely_accepted_less() -> None:
    good, bad = Verdicts(), Verdicts()
    for i in range(200):
        for one in (good, bad):
            one.add(of_full=True, accepted=i % 10 != 0)
        good.add(of_full=False, accepted=i % 10 != 0)
        bad.add(of_full=False, accepted=i % 2 == 0)
    assert bad.alert(0.05, 50)
    assert not good.alert(0.05, 50)


def test_answers_are_judged_by_their_code_where_they_hold_any() -> None:
    assert judge("?", {"light": BROKEN, "full": CODE}) == {"light": 0.0, "full": 1.0}
    assert judge("?", {"light": "prose", "full": CODE}) == {"light": 0.0, "full": 1.0}
    assert judge("?", {"light": "prose", "full": "words"}) is None
    deep = "```python\n" + "(" * 10_000 + "\n```"
    assert judge("?", {"light": deep, "full": CODE}) == {"light": 0.0, "full": 1.0}


def shadowed(folder: Path, **drift: Any) -> Served:
    variants = {
        "light": {"kind": "scripted", "reply": BROKEN},
        "full": {"kind": "scripted", "reply": CODE},
    }
    settings = {"folder": str(folder), "shadow_share": 1.0, "minimum": 10, **drift}
    return Served(config(variants=variants, drift=settings))


def ask(served: Served, times: int) -> None:
    async def send(client: httpx.AsyncClient) -> None:
        for _ in range(times):
            assert (await client.post("/generate", json={"prompt": "a secret"})).status_code == 200
            while served.shadow._tasks:
                await asyncio.sleep(0.001)

    talk(served, send)


def test_the_shadow_sample_is_kept_without_text_and_raises_the_alert(tmp_path: Path) -> None:
    served = shadowed(tmp_path)
    ask(served, 12)
    rows = [json.loads(line) for line in (tmp_path / "pairs.jsonl").read_text().splitlines()]
    assert len(rows) == 12
    assert rows[0]["quality"] == {"light": 0.0, "full": 1.0}
    assert rows[0]["cost"] == {"light": 1.0, "full": 2.0}
    assert "secret" not in (tmp_path / "pairs.jsonl").read_text()
    assert served.value("weightcut_drift_alert", kind="quality") == 1
    assert served.value("weightcut_shadow_quality_lost") == 1
    assert served.value("weightcut_shadow_pairs_total", judged="yes") == 12
    assert (
        served.value("weightcut_requests_total", endpoint="/generate", variant="full", status="200")
        == 0
    )


def test_a_prompts_choices_are_one_score(tmp_path: Path) -> None:
    served = shadowed(tmp_path)

    async def send(client: httpx.AsyncClient) -> None:
        body = {"prompt": ["a", "b"], "n": 2}
        assert (await client.post("/v1/completions", json=body)).status_code == 200

    talk(served, send)
    assert served.shadow._seen == 2


def test_a_file_of_rows_keeps_its_younger_half(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    rows = _Rows(path, 100)
    for i in range(101):
        rows.add({"i": i})
    kept = [json.loads(line)["i"] for line in path.read_text().splitlines()]
    assert kept == list(range(51, 101))
    again = _Rows(path, 100)
    for i in range(101, 152):
        again.add({"i": i})
    kept = [json.loads(line)["i"] for line in path.read_text().splitlines()]
    assert kept == list(range(102, 152))
    assert [one.name for one in tmp_path.iterdir()] == ["pairs.jsonl"]


def test_a_file_of_rows_outlasts_a_fault_while_it_is_halved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = _Rows(tmp_path / "pairs.jsonl", 100)
    for i in range(100):
        rows.add({"i": i})

    def fail(path: Path, mode: str = "r", **more: Any) -> Any:
        stream = real(path, mode, **more)
        if mode.startswith("w"):
            stream.close()
            raise OSError(28, "No space left on device")
        return stream

    real = Path.open
    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", fail)
        with pytest.raises(OSError, match="No space"):
            rows.add({"i": 100})
    assert len((tmp_path / "pairs.jsonl").read_text().splitlines()) == 101
    assert len(list(tmp_path.iterdir())) == 1


def test_prompts_are_kept_when_asked_for(tmp_path: Path) -> None:
    ask(shadowed(tmp_path, keep_prompts=True), 1)
    assert json.loads((tmp_path / "pairs.jsonl").read_text())["prompt"] == "a secret"


def test_no_shadow_no_second_answer(tmp_path: Path) -> None:
    served = shadowed(tmp_path, shadow_share=0.0)
    ask(served, 3)
    assert not served.upstream("full").calls


def test_what_another_variant_answered_for_a_failed_one_is_not_compared(tmp_path: Path) -> None:
    variants = {
        "light": {"kind": "scripted", "reply": CODE, "then": "error"},
        "full": {"kind": "scripted", "reply": CODE},
    }
    settings = {"folder": str(tmp_path), "shadow_share": 1.0, "minimum": 10}
    served = Served(config(variants=variants, drift=settings))
    ask(served, 3)
    assert len(served.upstream("light").calls) == 3
    assert served.value("weightcut_shadow_pairs_total", judged="yes") == 0
    assert not (tmp_path / "pairs.jsonl").exists()


def pairs(folder: Path, count: int, good: float, made: Path) -> Path:
    draw = np.random.default_rng(0)
    rows = []
    for i in range(count):
        score = float(draw.uniform(0.4, 0.5))
        row = {
            "router": load_router(made).digest,
            "scores": {"light": score, "full": 0.5},
            "quality": {"light": float(draw.random() < good), "full": 1.0},
            "cost": {"light": 1.0, "full": 2.0},
        }
        rows.append(row if i % 10 else row | {"quality": None})
    folder.mkdir(exist_ok=True)
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_a_worse_light_variant_is_routed_less_and_the_diff_applies(tmp_path: Path) -> None:
    folder = write_router(router(), tmp_path / "router")
    before = (folder / "router.json").read_text()
    seen = pairs(tmp_path / "drift", 400, 0.2, folder)
    found = propose(folder, seen, keep=0.95, confidence=0.95)
    assert found.allowance is None or found.allowance < 0.01
    assert (found.pairs, found.unjudged) == (360, 40)
    assert (folder / "router.json").read_text() == before
    (folder / "router.json").write_text(patched(before, found.diff))
    assert load_router(folder).allowance == found.allowance


def test_a_better_light_variant_is_routed_more(tmp_path: Path) -> None:
    folder = write_router(router(allowance=0.001), tmp_path / "router")
    found = propose(folder, pairs(tmp_path / "drift", 600, 1.0, folder), keep=0.9)
    assert found.allowance is not None
    assert found.allowance > 0.1
    text = patched((folder / "router.json").read_text(), found.diff)
    (folder / "router.json").write_text(text)
    again = load_router(folder)
    assert again.allowance == found.allowance
    assert again.promise["from"] == "the shadow sample"


def test_pairs_of_another_router_are_left_out(tmp_path: Path) -> None:
    mine = write_router(router(), tmp_path / "router")
    other = write_router(router(("light", "middle", "full")), tmp_path / "other")
    theirs = (pairs(tmp_path / "drift", 400, 1.0, other) / "pairs.jsonl").read_text()
    with pytest.raises(UsageError, match="400 are of another router"):
        propose(mine, tmp_path / "drift")
    own = (pairs(tmp_path / "drift", 400, 1.0, mine) / "pairs.jsonl").read_text()
    (tmp_path / "drift" / "pairs.jsonl").write_text(theirs + own)
    found = propose(mine, tmp_path / "drift", keep=0.9)
    assert (found.pairs, found.unjudged, found.others) == (360, 40, 400)
    assert load_router(mine).with_allowance(0.5, {}).digest == load_router(mine).digest


def patched(text: str, diff: str) -> str:
    """Apply a unified diff, as `patch` does."""
    lines, out, at = text.splitlines(keepends=True), [], 0
    for line in diff.splitlines(keepends=True)[2:]:
        if line.startswith("@@"):
            start = int(line.split()[1].split(",")[0][1:]) - 1
            out += lines[at:start]
            at = start
        elif line.startswith("+"):
            out.append(line[1:])
        else:
            assert lines[at] == line[1:]
            at += 1
            if line.startswith(" "):
                out.append(line[1:])
    return "".join([*out, *lines[at:]])


def test_too_few_pairs_and_files_that_are_none(tmp_path: Path) -> None:
    folder = write_router(router(), tmp_path / "router")
    with pytest.raises(UsageError, match="too few"):
        propose(folder, pairs(tmp_path / "drift", 20, 1.0, folder))
    with pytest.raises(UsageError, match="cannot be read"):
        propose(folder, tmp_path / "nothing")
    (tmp_path / "broken").mkdir()
    for text in ("{", "[]", '{"quality": 1}', '{"quality": {"light": NaN}}'):
        (tmp_path / "broken" / "pairs.jsonl").write_text(text + "\n")
        with pytest.raises(BrokenInput, match="pairs"):
            propose(folder, tmp_path / "broken")
