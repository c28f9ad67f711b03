"""Whole studies on the scripted engine: real processes, real store, real sandbox, no weights."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError
from tests.scripted_models import humaneval_model, scripted_study

from weightcut.errors import UsageError, WeightcutError
from weightcut.models.resolve import resolve
from weightcut.records import CellKey, Results
from weightcut.store.run_store import RunStore
from weightcut.study.executor import Workers
from weightcut.study.run import Event, _only_run, run_study
from weightcut.study.spec import load_study
from weightcut.study.worker import Job


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIGHTCUT_HOME", str(tmp_path / "home"))


OWN = """
from pathlib import Path
from typing import ClassVar
from weightcut.records import Record, Sample
from weightcut.tasks.humaneval import HumanEval

class Mine(HumanEval):
    kind: str = "mine"

    def missing(self):
        return None if Path({need!r}).exists() else "no file"

    def items(self):
        one = super().items()[-1]
        text = Path({need!r}).read_text()
        return [one.model_copy(update={{"plain_prompt": text + one.plain_prompt}})]
"""


def _study(folder: Path, **changes: Any) -> Path:
    return scripted_study(folder, humaneval_model(folder / "model", skill=0.9), **changes)


def _command(study: Path, out: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "weightcut", "run", str(study), "-o", str(out), *more]


def test_a_study_runs_and_a_second_run_repeats_nothing(tmp_path: Path) -> None:
    spec = load_study(_study(tmp_path))
    out = tmp_path / "run"
    events: list[Event] = []
    results = run_study(spec, out, listen=events.append)
    assert isinstance(results, Results)
    assert not [e for e in events if e.kind in ("failed", "skipped")]
    by_name = {v.name: v for v in results.variants}
    full, light = by_name["full"], by_name["light"]
    assert full.tasks["humaneval"]["n"] == 8
    assert light.tasks["humaneval"]["pass@1"] == full.tasks["humaneval"]["pass@1"]
    assert by_name["worse"].tasks["humaneval"]["pass@1"]["value"] < 0.5
    assert by_name["rambling"].tasks["humaneval"]["token_limit"]["value"] > 0.5
    assert by_name["worse"].tasks["perplexity"]["kl"] > light.tasks["perplexity"]["kl"] >= 0
    assert light.against_baseline is not None
    assert light.against_baseline.latency_speedup == pytest.approx(3, rel=1e-6)
    assert light.artifact_bytes is not None
    assert full.artifact_bytes is not None
    assert light.artifact_bytes < full.artifact_bytes
    for name in ("report.md", "report.html", "results.csv", "results.json", "samples.jsonl"):
        assert (out / name).stat().st_size > 0
    samples = [json.loads(line) for line in (out / "samples.jsonl").read_text().splitlines()]
    assert len(samples) == 4 * 8
    assert {"variant", "sample", "values", "detail"} <= samples[0].keys()
    assert all((out / "logs" / f"{name}.humaneval.log").exists() for name in by_name)

    events.clear()
    again = run_study(spec, out, listen=events.append)
    assert [e.kind for e in events if e.kind != "progress"] == ["planned"]
    assert again == results


def test_new_variants_and_other_margins_need_no_new_folder(tmp_path: Path) -> None:
    study = _study(tmp_path)
    data = load_study(study)
    first = data.model_copy(update={"variants": data.variants[:2]})
    out = tmp_path / "run"
    run_study(first, out)
    events: list[Event] = []
    results = run_study(data, out, listen=events.append)
    assert {e.cell.split("/")[0] for e in events if e.kind == "finished"} == {"worse", "rambling"}
    assert len(results.variants) == 4


def test_another_study_is_refused(tmp_path: Path) -> None:
    study = _study(tmp_path)
    out = tmp_path / "run"
    spec = load_study(study)
    run_study(spec.model_copy(update={"variants": spec.variants[:1]}), out)
    with pytest.raises(UsageError, match=r"run of another study.*tasks"):
        run_study(load_study(study, {"tasks.0.limit": "3"}), out)
    with pytest.raises(UsageError, match="variant full is another"):
        run_study(load_study(study, {"variants.full.recipe": "[scripted-shrink]"}), out)


@pytest.mark.parametrize("harm", ["gone", "damaged", "another"])
def test_an_artifact_that_is_lost_is_made_again(tmp_path: Path, harm: str) -> None:
    study = load_study(_study(tmp_path, limit=2))
    spec = study.model_copy(update={"variants": study.variants[:2]})
    out = tmp_path / "run"
    before = run_study(spec, out)
    build = CellKey(variant="light", stage="build")
    task = CellKey(variant="light", stage="task", task="humaneval")
    store = RunStore.open(out)
    made = store.cell(build)
    assert made is not None
    folder = Path(made.manifest["artifact"]["path"])
    if harm == "another":  # the one that was measured had other weights
        old = made.manifest["artifact"] | {"digest": "0" * 64}
        store.update(build, manifest=made.manifest | {"artifact": old})
    if harm == "damaged":
        (folder / "scripted.json").write_text("{}")
    else:
        shutil.rmtree(folder)
    events: list[Event] = []
    run_study(spec, out, listen=events.append)
    assert not [e for e in events if e.kind == "finished"], "nothing needs it any more"
    store.clear(task)
    store.update(task, state="pending")
    store.close()
    after = run_study(spec, out, listen=events.append)
    finished = {e.cell for e in events if e.kind == "finished"}
    needed = {str(build), str(task)}
    assert finished == needed if harm != "another" else finished > needed
    assert after.variants[1].tasks == before.variants[1].tasks
    assert (folder / "scripted.json").stat().st_size > 2


def test_what_was_measured_against_another_baseline_is_measured_anew(tmp_path: Path) -> None:
    study = load_study(_study(tmp_path, limit=2, profile=None))
    spec = study.model_copy(update={"variants": study.variants[:2], "baseline": "light"})
    out = tmp_path / "run"
    run_study(spec, out)
    build = CellKey(variant="light", stage="build")
    task = CellKey(variant="light", stage="task", task="humaneval")
    store = RunStore.open(out)
    made = store.cell(build)
    assert made is not None
    shutil.rmtree(made.manifest["artifact"]["path"])
    old = made.manifest["artifact"] | {"digest": "0" * 64}
    store.update(build, manifest=made.manifest | {"artifact": old})
    store.clear(task)
    store.update(task, state="pending")
    store.close()
    events: list[Event] = []
    assert run_study(spec, out, listen=events.append).complete
    finished = {e.cell for e in events if e.kind == "finished"}
    assert finished == {str(build), str(task), "light/perplexity", "full/perplexity"}


@pytest.mark.parametrize("harm", ["gone", "cut", "empty"])
def test_distributions_that_are_lost_are_made_again(tmp_path: Path, harm: str) -> None:
    study = load_study(_study(tmp_path, limit=1, profile=None))
    out = tmp_path / "run"
    before = run_study(study.model_copy(update={"variants": study.variants[:1]}), out)
    folder = out / "reference" / "perplexity"
    file = folder / "0001.npz"
    whole = file.read_bytes()
    if harm == "gone":
        shutil.rmtree(folder)
    else:
        file.write_bytes(whole[: len(whole) // 2] if harm == "cut" else b"")
    events: list[Event] = []
    spec = study.model_copy(update={"variants": (study.variants[0], study.variants[2])})
    after = run_study(spec, out, listen=events.append)
    assert not [e for e in events if e.kind in ("failed", "skipped")]
    assert "full/perplexity" in {e.cell for e in events if e.kind == "finished"}
    assert after.variants[0].tasks == before.variants[0].tasks
    assert after.variants[1].tasks["perplexity"]["kl"] > 0
    assert file.read_bytes() == whole


def test_what_was_measured_otherwise_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = load_study(_study(tmp_path, limit=1))
    out = tmp_path / "run"
    run_study(study.model_copy(update={"variants": study.variants[:1]}), out)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    results = run_study(study.model_copy(update={"variants": study.variants[:2]}), out)
    (told,) = [w for w in results.warnings if w.startswith("not all was measured with")]
    assert told == (
        "not all was measured with the same OMP_NUM_THREADS: none for full/humaneval, "
        "full/perplexity, full/profile; 3 for light/humaneval, light/perplexity, light/profile"
    )
    light = results.variants[1]
    assert light.profile is not None
    says = "it was timed with OMP_NUM_THREADS 3, the baseline with none"
    assert light.profile.unlike == [says]
    assert f"light: {says}" in results.warnings


def test_variants_are_asked_the_same_or_nothing(tmp_path: Path) -> None:
    study = load_study(_study(tmp_path, limit=1))
    out = tmp_path / "run"
    run_study(study.model_copy(update={"variants": study.variants[:1]}), out)
    store = RunStore.open(out)
    for cell in store.cells():
        digests = {"prompts_digest": "0" * 64, "text_digest": "0" * 64}
        store.update(cell.key, manifest=cell.manifest | digests)
    store.close()
    events: list[Event] = []
    run_study(study.model_copy(update={"variants": study.variants[:2]}), out, listen=events.append)
    failed = {e.cell: e.phrase for e in events if e.kind == "failed"}
    assert failed.keys() == {"light/humaneval", "light/perplexity", "light/profile"}
    assert all("it is not asked what full/" in said for said in failed.values())


def test_a_task_gets_what_it_lacked_and_joins_the_run(tmp_path: Path) -> None:
    need = tmp_path / "needed"
    (tmp_path / "own.py").write_text(OWN.format(need=str(need)))
    tasks = [{"name": str(tmp_path / "own.py:Mine")}, {"name": "humaneval", "limit": 1}]
    study = load_study(_study(tmp_path, tasks=tasks))
    spec = study.model_copy(update={"variants": study.variants[:1]})
    out = tmp_path / "run"
    before = run_study(spec, out)
    assert [one.cell for one in before.skipped] == ["full/mine"]
    need.touch()
    both = study.model_copy(update={"variants": study.variants[:2]})
    events: list[Event] = []
    after = run_study(both, out, listen=events.append)
    assert not [e for e in events if e.kind in ("failed", "skipped")]
    assert after.complete
    assert after.conditions["task_data"]["mine"]["digest"]
    need.unlink()
    assert run_study(both, out) == after
    need.write_text("other data")
    with pytest.raises(WeightcutError, match="other conditions: the data of mine"):
        run_study(both, out)


def test_a_killed_run_goes_on_and_repeats_nothing(tmp_path: Path) -> None:
    model = humaneval_model(tmp_path / "model", skill=0.9, sleep_s=0.25)
    study = scripted_study(tmp_path, model, limit=12)
    out = tmp_path / "run"
    process = subprocess.Popen(_command(study, out, "--only", "full"))
    key = CellKey(variant="full", stage="task", task="humaneval")
    before = _wait_for_samples(out, key, at_least=3)
    process.kill()
    process.wait()
    _wait_until_free(out)
    store = RunStore.open(out)
    kept = {one.sample: one for one in store.observations(key)}
    assert before <= len(kept) < 12, "the kill came in the middle"
    run_study(load_study(study), out, only=["full"])
    after = {one.sample: one for one in store.observations(key)}
    assert len(after) == 12
    assert {name: after[name] for name in kept} == kept


def test_interrupt_stops_cleanly_and_says_how_to_go_on(tmp_path: Path) -> None:
    model = humaneval_model(tmp_path / "model", sleep_s=0.25)
    study = scripted_study(tmp_path, model, limit=30)
    out = tmp_path / "run"
    process = subprocess.Popen(_command(study, out), stderr=subprocess.PIPE, text=True)
    _wait_for_samples(out, CellKey(variant="full", stage="task", task="humaneval"), at_least=1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Go on with: weightcut run" in said
    assert "Traceback" not in said
    _wait_until_free(out)


def test_two_runs_in_one_folder_are_refused(tmp_path: Path) -> None:
    model = humaneval_model(tmp_path / "model", sleep_s=0.25)
    study = scripted_study(tmp_path, model, limit=30)
    out = tmp_path / "run"
    process = subprocess.Popen(_command(study, out), stderr=subprocess.DEVNULL)
    try:
        _wait_for_samples(out, CellKey(variant="full", stage="task", task="humaneval"), 1)
        with pytest.raises(UsageError, match=rf"another run is at work.*{process.pid}"):
            run_study(load_study(study), out)
    finally:
        process.kill()
        process.wait()
    _wait_until_free(out)


def test_whoever_asks_whether_a_run_is_at_work_does_not_stop_one(tmp_path: Path) -> None:
    with (tmp_path / "run.lock").open("w") as asking:
        fcntl.flock(asking, fcntl.LOCK_SH)
        threading.Timer(0.2, fcntl.flock, (asking, fcntl.LOCK_UN)).start()
        with _only_run(tmp_path):
            assert (tmp_path / "run.lock").read_text() == str(os.getpid())


@pytest.mark.parametrize(
    ("settings", "says"),
    [({"crash": True}, "signal 9"), ({"fail_after": 0}, "attempt 2 failed")],
)
def test_a_failing_variant_costs_its_cell_only(
    tmp_path: Path, settings: dict[str, Any], says: str
) -> None:
    humaneval_model(tmp_path / "model", skill=0.9)
    broken = humaneval_model(tmp_path / "broken", skill=0.9, **settings)
    study = load_study(scripted_study(tmp_path, broken, limit=4, profile=None))
    spec = study.model_copy(update={"variants": study.variants[:2]})
    events: list[Event] = []
    results = run_study(spec, tmp_path / "run", listen=events.append)
    failed = [e for e in events if e.kind == "failed"]
    assert {e.cell for e in failed} == {"full/humaneval", "light/humaneval"}
    assert any(says in e.phrase for e in events)
    assert all(v.errors for v in results.variants)
    assert results.variants[0].tasks["perplexity"]["value"] > 1
    assert all(v.verdict in ("baseline", "unmeasured") for v in results.variants)


def test_an_error_that_is_certain_is_told_apart(tmp_path: Path) -> None:
    model = humaneval_model(tmp_path / "model")
    spec = load_study(scripted_study(tmp_path, model, limit=1, profile=None))
    store = RunStore.create(tmp_path / "run", spec)
    job = Job(
        folder=store.folder,
        key=CellKey(variant=spec.baseline, stage="task", task="humaneval"),
        checkpoint=resolve(str(model)),
        artifacts=tmp_path / "artifacts",
    )
    with (tmp_path / "held").open("w") as held:
        workers = Workers(held.fileno(), tmp_path / "workers.log")
        try:
            outcome = workers.run(job, tmp_path / "log", 60, lambda _event: None)
        finally:
            workers.close()
    assert outcome.manifest is None
    assert outcome.certain
    assert "not built" in outcome.error


def test_a_cell_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    model = humaneval_model(tmp_path / "model", sleep_s=60)
    study = load_study(scripted_study(tmp_path, model, limit=2, profile=None))
    spec = study.model_copy(update={"variants": study.variants[:1]})
    results = run_study(spec, tmp_path / "run", timeout=4)
    assert any("timed out" in error for error in results.variants[0].errors)


def test_a_changed_model_is_not_mixed_into_a_run(tmp_path: Path) -> None:
    study = load_study(_study(tmp_path, limit=2, profile=None))
    spec = study.model_copy(update={"variants": study.variants[:1]})
    run_study(spec, tmp_path / "run")
    humaneval_model(tmp_path / "model", skill=0.5)
    with pytest.raises(Exception, match="other conditions: model"):
        run_study(spec, tmp_path / "run")


def _wait_for_samples(out: Path, key: CellKey, at_least: int) -> int:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if RunStore.exists(out):
            count = _count(out, key)
            if count >= at_least:
                return count
        time.sleep(0.05)
    raise AssertionError("the run made no samples")


def _count(out: Path, key: CellKey) -> int:
    try:
        return len(RunStore.open(out).finished(key))
    except (OperationalError, UsageError):  # the database is being made
        return 0


def _wait_until_free(out: Path) -> None:
    """Wait until no worker of a killed run is left (its lock is free)."""
    import fcntl

    end = time.monotonic() + 15
    with (out / "run.lock").open("a") as stream:
        while time.monotonic() < end:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(0.05)
            else:
                return
    raise AssertionError(f"a worker outlived its run (own pid {os.getpid()})")
