from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.families import make_family
from tests.integration.compression.hf_steps import context, empty, load, logits, one_thread

from weightcut.compression.distill import Distill, hidden_distance
from weightcut.compression.hf_io import load_causal_lm, remove_layers, save_causal_lm
from weightcut.compression.teachers import require_same_tokenizer
from weightcut.compression.training import complete, last_checkpoint
from weightcut.errors import BrokenInput, UsageError
from weightcut.models.digest import folder_digest

SMALL = {"steps": 12, "batch_size": 2, "length": 24, "warmup": 2, "eval_every": 4}
SMALL |= {"validation_windows": 2, "learning_rate": 1e-3}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


def pair(folder: Path, family: str = "llama-tied") -> tuple[Path, Path]:
    """Return a teacher and a student that is the teacher less a layer."""
    teacher = make_family(family, folder / "teacher")
    model = load_causal_lm(teacher)
    remove_layers(model, [1])
    save_causal_lm(model, teacher, empty(folder / "student"))
    return teacher, folder / "student"


def distill(teacher: Path, student: Path, out: Path, scratch: Path, **settings: Any) -> Any:
    made = context(teacher, scratch)
    Distill.model_validate({**SMALL, **settings}).compress(student, empty(out), made)
    return made.record


def losses(record: Any) -> list[float]:
    return [point["loss"] for point in record["curve"]]


@pytest.mark.parametrize("family", ["llama-tied", "llama-untied", "gemma3", "gpt2"])
def test_the_student_comes_nearer_to_its_teacher(family: str, tmp_path: Path) -> None:
    teacher, student = pair(tmp_path, family)
    record = distill(teacher, student, tmp_path / "out", tmp_path / "scratch", steps=40)
    assert record["validation_after"]["kl"] < 0.9 * record["validation_before"]["kl"]
    assert len(record["curve"]) == record["steps"] == 40
    assert (
        record["trainable_parameters"]
        == record["total_parameters"]
        == sum(p.numel() for p in load(student).parameters())
    )
    model = load(tmp_path / "out")
    assert model.dtype == torch.bfloat16
    assert not torch.equal(logits(model), logits(load(student)))
    assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == "bfloat16"
    assert (tmp_path / "out" / "tokenizer.json").is_file()


def test_same_seed_same_model(tmp_path: Path) -> None:
    teacher, student = pair(tmp_path)
    one, two = (
        distill(teacher, student, tmp_path / f"out{i}", tmp_path / f"scratch{i}") for i in range(2)
    )
    assert losses(one) == losses(two)


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[5])
from tests.integration.compression.test_distill import distill
import torch
torch.set_num_threads(1)
distill(*map(Path, sys.argv[1:5]))
"""


def test_a_killed_run_goes_on_with_the_same_losses(tmp_path: Path) -> None:
    teacher, student = pair(tmp_path)
    whole = distill(teacher, student, tmp_path / "whole", tmp_path / "scratch-whole")
    root = Path(__file__).parents[3]
    arguments = [teacher, student, tmp_path / "killed", tmp_path / "scratch", root]
    child = subprocess.Popen([sys.executable, "-c", KILLED, *map(str, arguments)])
    deadline = time.monotonic() + 120
    while last_complete(tmp_path / "scratch") is None and child.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    resumed = distill(teacher, student, tmp_path / "resumed", tmp_path / "scratch")
    assert resumed["resumed_at_step"] in (4, 8)
    assert losses(resumed) == pytest.approx(losses(whole), rel=1e-6)
    torch.testing.assert_close(
        logits(load(tmp_path / "resumed")), logits(load(tmp_path / "whole")), rtol=0, atol=0
    )


def last_complete(scratch: Path) -> Path | None:
    """Return a complete checkpoint without deleting the one that is being written."""
    return next((path for path in scratch.glob("checkpoint-*") if complete(path)), None)


def test_incomplete_checkpoints_are_passed_over(tmp_path: Path) -> None:
    teacher, student = pair(tmp_path)
    whole = distill(teacher, student, tmp_path / "out", tmp_path / "scratch")
    torn = empty(tmp_path / "scratch" / "checkpoint-99")
    (torn / "trainer_state.json").write_text('{"global_step": 9')
    (torn / "optimizer.pt").touch()
    (torn / "scheduler.pt").touch()
    assert last_checkpoint(tmp_path / "scratch") == tmp_path / "scratch" / "checkpoint-8"
    again = distill(teacher, student, tmp_path / "again", tmp_path / "scratch")
    assert losses(again) == losses(whole)


def test_a_loss_that_is_no_number_stops_at_its_step(tmp_path: Path) -> None:
    teacher, student = pair(tmp_path)
    with pytest.raises(BrokenInput, match=r"at step \d+; the first bad tensor is "):
        distill(
            teacher, student, tmp_path / "out", tmp_path / "scratch", learning_rate=1e30, warmup=0
        )


def test_early_stop_keeps_the_best(tmp_path: Path) -> None:
    teacher, student = pair(tmp_path)
    settings = {"steps": 40, "eval_every": 2, "patience": 2, "learning_rate": 0.3, "warmup": 0}
    record = distill(teacher, student, tmp_path / "out", tmp_path / "scratch", **settings)
    assert record["steps"] < 40
    best = min(entry["eval_kl"] for entry in record["validation"])
    assert record["validation_after"]["kl"] == pytest.approx(best, rel=1e-3)


def test_an_interrupted_run_stops_as_early(tmp_path: Path) -> None:
    teacher, student = pair(tmp_path)
    settings = {"steps": 40, "eval_every": 2, "patience": 2, "learning_rate": 0.3, "warmup": 0}
    whole = distill(teacher, student, tmp_path / "whole", tmp_path / "a", **settings)
    # The last checkpoint then stands where one validation was no better.
    last = f"step {whole['steps'] - 1} of 40"

    def interrupt(phrase: str, _share: float | None) -> None:
        if phrase == last:
            raise KeyboardInterrupt

    made = replace(context(teacher, tmp_path / "b"), progress=interrupt)
    with pytest.raises(KeyboardInterrupt):
        Distill.model_validate({**SMALL, **settings}).compress(
            student, empty(tmp_path / "b1"), made
        )
    resumed = distill(teacher, student, tmp_path / "b2", tmp_path / "b", **settings)
    assert resumed["resumed_at_step"] == whole["steps"] - 2
    assert losses(resumed) == pytest.approx(losses(whole), rel=1e-6)


def test_labels_alone_need_no_teacher_agreement(tmp_path: Path) -> None:
    teacher, student = pair(tmp_path)
    record = distill(
        teacher, student, tmp_path / "out", tmp_path / "scratch", alpha=1.0, length=8, steps=30
    )
    assert record["validation_after"]["nll"] < record["validation_before"]["nll"]


def test_another_tokenizer_is_refused(tmp_path: Path) -> None:
    teacher, student = pair(tmp_path)
    table = json.loads((teacher / "tokenizer.json").read_text())
    vocabulary = table["model"]["vocab"]
    first, second = sorted(vocabulary, key=vocabulary.__getitem__)[40:42]
    vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]
    (teacher / "tokenizer.json").write_text(json.dumps(table))
    with pytest.raises(UsageError, match="different tokenizers"):
        require_same_tokenizer(student, teacher)
    with pytest.raises(UsageError, match="different tokenizers"):
        distill(teacher, student, tmp_path / "out", tmp_path / "scratch")


def test_other_merges_make_another_tokenizer(tmp_path: Path) -> None:
    teacher, student = pair(tmp_path)
    forms = {teacher: [["a", "b"], ["c", "d"]], student: ["a b", "c d"]}
    for folder, merges in forms.items():
        table = json.loads((folder / "tokenizer.json").read_text())
        table["model"]["merges"] = merges
        (folder / "tokenizer.json").write_text(json.dumps(table))
    require_same_tokenizer(student, teacher)
    table["model"]["merges"] = ["c d", "a b"]
    (student / "tokenizer.json").write_text(json.dumps(table))
    with pytest.raises(UsageError, match="their merges differ"):
        require_same_tokenizer(student, teacher)


def test_a_teacher_of_ones_own(tmp_path: Path) -> None:
    teacher, student = pair(tmp_path)
    made = context(student, tmp_path / "scratch")
    method = Distill.model_validate({**SMALL, "teacher": str(teacher)})
    method.compress(student, empty(tmp_path / "out"), made)
    assert made.record["validation_before"]["kl"] > 0.01
    assert made.record["teacher"] == folder_digest(teacher)


@pytest.mark.model
def test_the_bundled_model_learns_from_itself(tmp_path: Path) -> None:
    from weightcut.models.resolve import resolve

    teacher = resolve("smollm2-135m").path
    model = load_causal_lm(teacher)
    remove_layers(model, [14])
    save_causal_lm(model, teacher, empty(tmp_path / "student"))
    record = distill(
        teacher,
        tmp_path / "student",
        tmp_path / "out",
        tmp_path / "scratch",
        steps=8,
        length=128,
        warmup=2,
        learning_rate=3e-5,
    )
    assert record["validation_after"]["kl"] < record["validation_before"]["kl"]


def test_several_students_cost_one_pass_of_the_teacher(tmp_path: Path) -> None:
    teacher, student = pair(tmp_path)
    records = []
    for name in ("one", "two"):
        made = replace(context(teacher, tmp_path / f"scratch-{name}"), shared=tmp_path / "shared")
        settings = {**SMALL, "learning_rate": 1e-3 if name == "one" else 2e-3}
        Distill.model_validate(settings).compress(student, empty(tmp_path / name), made)
        records.append(made.record)
    assert [record["teacher_windows"] for record in records] == [26, 0]
    assert losses(records[0])[0] == losses(records[1])[0]


def test_kept_predictions_teach_as_the_teacher_itself(tmp_path: Path) -> None:
    teacher, student = pair(tmp_path)
    kept, live = (
        distill(teacher, student, tmp_path / name, tmp_path / f"s-{name}", top_k=top_k)
        for name, top_k in (("kept", 511), ("live", 0))
    )
    assert losses(kept) == pytest.approx(losses(live), rel=1e-2)
    assert live["teacher_windows"] == 0


def test_hidden_states_come_nearer_to_the_teachers(tmp_path: Path) -> None:
    teacher, student = pair(tmp_path)
    settings = {"hidden_states": 2.0, "steps": 40, "alpha": 0.0}
    distill(teacher, student, tmp_path / "out", tmp_path / "scratch", **settings)
    ids = torch.arange(80).reshape(2, 40) * 7 % 500 + 8
    with torch.no_grad():
        states = [
            load(folder)(input_ids=ids, output_hidden_states=True).hidden_states
            for folder in (teacher, student, tmp_path / "out")
        ]
    before, after = (float(hidden_distance(ours, states[0])) for ours in states[1:])
    assert after < before


def test_teachers_that_cannot_teach_are_told() -> None:
    wide = [torch.zeros(1, 2, 8)] * 3
    with pytest.raises(UsageError, match="8 wide in the student and 4 in the teacher"):
        hidden_distance(wide, [torch.zeros(1, 2, 4)] * 3)
    with pytest.raises(UsageError, match="named with the commit"):
        Distill(teacher="hub:org/name@main").reads()
