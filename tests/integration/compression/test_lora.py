from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from tests.families import make_family
from tests.integration.compression.hf_steps import context, empty, load, logits, one_thread
from tests.integration.compression.test_distill import pair

from weightcut.compression.distill import Distill
from weightcut.compression.lora import LoRA
from weightcut.compression.qlora import QLoRA
from weightcut.compression.training import complete
from weightcut.engines.transformers import TransformersEngine
from weightcut.errors import BrokenInput, UsageError
from weightcut.records import Artifact, TokenBlocks

SMALL = {"steps": 12, "batch_size": 2, "length": 24, "warmup": 2, "eval_every": 4}
SMALL |= {"validation_windows": 2, "learning_rate": 1e-2, "rank": 4}
METHODS = {"lora": LoRA, "qlora": QLoRA}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


def trained(kind: str, source: Path, out: Path, scratch: Path, **settings: Any) -> dict[str, Any]:
    made = context(source, scratch)
    METHODS[kind].model_validate({**SMALL, **settings}).compress(source, empty(out), made)
    return made.record


def losses(record: dict[str, Any]) -> list[float]:
    return [point["loss"] for point in record["curve"]]


def predicted(folder: Path, kind: str) -> Any:
    """Return log-probabilities by the engine, in float32."""
    artifact = Artifact(path=folder, format=kind, digest="", bytes=0, checkpoint="")  # type: ignore[arg-type]
    ids = np.arange(48).reshape(1, 48) % 400 + 8
    with TransformersEngine(dtype="float32").open(artifact) as session:
        return next(iter(session.token_logprobs(TokenBlocks(ids, np.ones(1))))).values


@pytest.mark.parametrize("family", ["llama-tied", "gemma3", "gpt2"])
def test_lora_learns_and_is_merged(family: str, tmp_path: Path) -> None:
    source = make_family(family, tmp_path / "source")
    record = trained("lora", source, tmp_path / "out", tmp_path / "scratch", steps=24)
    assert record["validation_after"]["loss"] < record["validation_before"]["loss"]
    merged, after = record["validation_merged"]["loss"], record["validation_after"]["loss"]
    assert merged == pytest.approx(after, rel=0.01)
    assert 0 < record["trainable_parameters"] < 0.5 * record["total_parameters"]
    before, model = load(source), load(tmp_path / "out")
    assert model.dtype == before.dtype
    assert {name for name, _ in model.named_parameters()} == {
        name for name, _ in before.named_parameters()
    }
    assert not torch.equal(logits(model), logits(before))
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(
        p.name for p in source.iterdir()
    )


def test_only_the_chosen_layers_are_changed(tmp_path: Path) -> None:
    source = make_family("llama-untied", tmp_path / "source")
    trained("lora", source, tmp_path / "out", tmp_path / "s", target_modules="q_proj v_proj")
    before, after = (dict(load(p).named_parameters()) for p in (source, tmp_path / "out"))
    changed = {name.split(".")[-2] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"q_proj", "v_proj"}


@pytest.mark.parametrize("kind", ["lora", "qlora"])
def test_a_kept_adapter_is_opened_with_its_base(kind: str, tmp_path: Path) -> None:
    source = make_family("llama-tied", tmp_path / "source")
    kept, merged = tmp_path / "kept", tmp_path / "merged"
    one = trained(kind, source, kept, tmp_path / "s1", merge=False)
    two = trained(kind, source, merged, tmp_path / "s2")
    assert losses(one) == losses(two)
    assert METHODS[kind].model_validate({"merge": False}).produced() == "peft"
    base = json.loads((kept / "base" / "config.json").read_text())
    assert ("quantization_config" in base) == (kind == "qlora")
    ours, theirs = predicted(kept, "peft"), predicted(merged, "hf")
    plain = predicted(source, "hf")
    moved = np.abs(ours - plain).mean()
    assert moved > 0.05
    if kind == "lora":  # QLoRA is merged into the weights as they were before NF4
        assert np.abs(ours - theirs).mean() < 0.05 * moved
    assert one["bytes_by_part"]["adapter"] == (kept / "adapter_model.safetensors").stat().st_size


def test_a_damaged_adapter_is_told(tmp_path: Path) -> None:
    source = make_family("llama-tied", tmp_path / "source")
    kept = tmp_path / "kept"
    trained("lora", source, kept, tmp_path / "s", merge=False)
    weights = kept / "adapter_model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BrokenInput):
        predicted(kept, "peft")
    weights.unlink()
    (kept / "adapter_model.bin").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(BrokenInput, match=r"lacks adapter_model\.safetensors"):
        predicted(kept, "peft")


def test_qlora_trains_on_four_bits_and_says_what_it_lacks(tmp_path: Path) -> None:
    source = make_family("llama-tied", tmp_path / "source")
    record = trained("qlora", source, tmp_path / "out", tmp_path / "scratch", steps=24)
    assert record["validation_after"]["loss"] < record["validation_before"]["loss"]
    assert record["total_parameters"] - record["trainable_parameters"] == sum(
        p.numel() for p in load(source).parameters()
    )
    if not torch.cuda.is_available():
        assert "unpaged" in record["warnings"][0]
    assert "quantization_config" not in json.loads((tmp_path / "out" / "config.json").read_text())


def test_a_layer_that_is_not_there_is_named(tmp_path: Path) -> None:
    source = make_family("llama-tied", tmp_path / "source")
    with pytest.raises(UsageError, match=r"fit no layer of the model; did you mean 'q_proj'"):
        trained("lora", source, tmp_path / "out", tmp_path / "scratch", target_modules="q_prj")


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[4])
from tests.integration.compression.test_lora import trained
import torch
torch.set_num_threads(1)
trained("lora", *map(Path, sys.argv[1:4]), dropout=0.1)
"""


def test_a_killed_run_goes_on_with_the_same_losses(tmp_path: Path) -> None:
    source = make_family("llama-tied", tmp_path / "source")
    whole = trained("lora", source, tmp_path / "whole", tmp_path / "s-whole", dropout=0.1)
    scratch = tmp_path / "scratch"
    arguments = [source, tmp_path / "killed", scratch, Path(__file__).parents[3]]
    child = subprocess.Popen([sys.executable, "-c", KILLED, *map(str, arguments)])
    deadline = time.monotonic() + 120
    while not any(map(complete, scratch.glob("checkpoint-*"))) and child.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    resumed = trained("lora", source, tmp_path / "resumed", scratch, dropout=0.1)
    assert resumed["resumed_at_step"] in (4, 8)
    assert [point["step"] for point in resumed["curve"]] == list(range(1, 13))
    assert losses(resumed) == pytest.approx(losses(whole), rel=1e-6)
    seconds = [point["seconds"] for point in resumed["curve"]]
    assert seconds == sorted(seconds)


@contextmanager
def listening() -> Iterator[set[str]]:
    """Give the addresses that processes started in the block are seen to listen on."""
    found, done = set[str](), threading.Event()

    def watch() -> None:
        while not done.wait(0.05):
            for child in psutil.Process().children(recursive=True):
                with suppress(psutil.Error):
                    sockets = child.net_connections("inet")
                    found.update(s.laddr.ip for s in sockets if s.status == psutil.CONN_LISTEN)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield found
    finally:
        done.set()
        thread.join()


@pytest.mark.parametrize(
    ("config", "kind"),
    [("cpu", "lora"), ("zero2_cpu", "distill"), ("zero3_cpu", "distill"), ("zero3_cpu", "lora")],
)
def test_two_processes_have_the_losses_of_one(
    config: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if config.startswith("zero") and find_spec("deepspeed") is None:
        pytest.skip('deepspeed is not installed: pip install "weightcut[deepspeed]"')
    teacher, student = pair(tmp_path)
    method: Any = {"lora": LoRA, "distill": Distill}[kind]
    settings = {**SMALL, "steps": 6, "batch_size": 4}
    if kind == "distill":
        settings = {k: v for k, v in settings.items() if k != "rank"} | {"learning_rate": 1e-3}
    found = []
    for name in ("", config):
        monkeypatch.setenv("WEIGHTCUT_ACCELERATE", name)
        made = context(teacher, tmp_path / f"scratch-{name}")
        with listening() as addresses:
            method.model_validate(settings).compress(student, empty(tmp_path / f"out-{name}"), made)
        assert addresses == ({"127.0.0.1"} if name else set())
        found.append(made.record)
    alone, both = found
    assert (alone["processes"], both["processes"]) == (1, 2)
    assert losses(both) == pytest.approx(losses(alone), rel=0.02)
    loss, same = (record["validation_after"]["loss"] for record in found)
    assert same == pytest.approx(loss, rel=0.02)
    assert both["trainable_parameters"] == alone["trainable_parameters"]
    assert both["total_parameters"] == alone["total_parameters"]
    ours, theirs, plain = (
        logits(load(p)) for p in (tmp_path / f"out-{config}", tmp_path / "out-", student)
    )
    assert float((ours - theirs).norm()) < float((theirs - plain).norm())


def test_bad_ways_to_launch_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make_family("llama-tied", tmp_path / "source")
    monkeypatch.setenv("WEIGHTCUT_ACCELERATE", "zero2-cpu")
    with pytest.raises(UsageError, match=r"names no accelerate config.*did you mean 'zero2_cpu'"):
        trained("lora", source, tmp_path / "out", tmp_path / "s")
    monkeypatch.setenv("WEIGHTCUT_ACCELERATE", "cpu")
    with pytest.raises(UsageError, match="3 windows a step cannot be shared out to 2 processes"):
        trained("lora", source, tmp_path / "out2", tmp_path / "s2", batch_size=3)
