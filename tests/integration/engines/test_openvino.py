from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tests.families import FAMILIES, make_family
from tests.integration.engines.answering import (
    answers,
    assert_contract,
    assert_greedy,
    requests,
    windows,
)
from tests.integration.openvino_models import (
    artifact,
    divergence,
    export,
    log_probabilities,
    reference,
)

from weightcut.engines.answers import log_softmax
from weightcut.engines.openvino import OpenVINOEngine, OpenVINOSession
from weightcut.engines.openvino_batching import StatefulBatching, step_inputs
from weightcut.engines.openvino_paged import MARK, paged_obstacle
from weightcut.errors import BrokenInput
from weightcut.models.tokenizer import load_tokenizer
from weightcut.records import Request, TokenBlocks

EXACT = OpenVINOEngine(precision="f32", kv_cache="f32", threads=2)
LIMIT = 1e-4  # nats


class Family:
    """One family: its checkpoint, its export, both opened."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.source = make_family(name, folder / "hf")
        self.out = folder / "openvino"
        self.out.mkdir()
        self.record = export(self.source, self.out)
        self.model = reference(self.source)
        self.session: OpenVINOSession = EXACT.open(artifact(self.out))
        self.windows = windows(self.source)

    def requests(self, **fields: Any) -> list[Request]:
        return requests(self.source, **fields)


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Family]:
    made = Family(request.param, tmp_path_factory.mktemp(request.param))
    with made.session:
        yield made


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Family]:
    made = Family("llama-tied", tmp_path_factory.mktemp("llama"))
    with made.session:
        yield made


def test_one_pass_over_windows_gives_transformers_predictions(family: Family) -> None:
    blocks = TokenBlocks(family.windows, np.zeros(3, np.int64))
    wanted = log_probabilities(family.model, family.windows)[:, :-1]
    found = list(family.session.token_logprobs(blocks))
    assert [window.block for window in found] == [0, 1, 2]
    assert divergence(wanted, np.stack([window.values for window in found])) < LIMIT


@pytest.mark.parametrize("padding", [0, 11])
def test_token_by_token_gives_transformers_predictions(family: Family, padding: int) -> None:
    """Two rows, the second padded on the left: a prompt first, then one token at a time."""
    wanted = log_probabilities(family.model, family.windows[:2])
    ids = family.windows[:2].copy()
    mask = np.ones_like(ids)
    length = ids.shape[1]
    ids[1, padding:] = family.windows[1, : length - padding]
    mask[1, :padding] = 0
    model = family.session._model()
    names = {name for port in model.inputs for name in port.names}
    request = model.create_infer_request()
    request.reset_state()
    pieces = [(0, 20), *((i, i + 1) for i in range(20, length))]
    rows = [
        request.infer(step_inputs(names, ids[:, a:b], mask[:, :b]))["logits"].copy()
        for a, b in pieces
    ]
    logits = np.concatenate(rows, axis=1)
    found = log_softmax(logits, np.empty_like(logits))
    assert divergence(wanted[0], found[0]) < LIMIT
    assert divergence(wanted[1, : length - padding], found[1, padding:]) < LIMIT


def test_continuous_batching_answers_greedily(family: Family) -> None:
    assert family.session.describe()["batching"].startswith("continuous")
    asked = family.requests()
    assert_greedy(family.model, asked, answers(family.session, asked), 1e-3)


def test_the_contract_of_an_engine(family: Family) -> None:
    assert_contract(family.session, family.model, family.source, 1e-3)


@pytest.mark.parametrize("piece", [1, 7, 100])
def test_batching_over_the_state_answers_greedily(
    family: Family, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weightcut.engines.openvino_batching._LOGITS", piece * 4 * 512)
    batching = StatefulBatching(family.session._model(), load_tokenizer(family.out), 4)
    sizes: list[int] = []
    inner = batching._request

    def infer(feed: dict[str, Any], **options: Any) -> Any:
        sizes.append(feed["input_ids"].size)
        return inner.infer(feed, **options)

    watched = SimpleNamespace(reset_state=inner.reset_state, infer=infer)
    monkeypatch.setattr(batching, "_request", watched)
    asked = family.requests()
    assert_greedy(family.model, asked, answers(batching, asked), 1e-3)
    assert max(sizes) <= 4 * piece


def test_weights_are_stored_once_and_in_16_bit(family: Family) -> None:
    stored = (family.out / "openvino_model.bin").stat().st_size
    assert stored == family.record["weights_bytes"]
    assert stored < 1.02 * (family.source / "model.safetensors").stat().st_size
    for name in ("config.json", "generation_config.json", "tokenizer.json"):
        assert (family.out / name).read_bytes() == (family.source / name).read_bytes()


def test_more_requests_than_fit_and_a_consumer_that_leaves_early(llama: Family) -> None:
    with OpenVINOEngine(precision="f32", max_batch=2).open(artifact(llama.out)) as session:
        asked = llama.requests()
        half_way = session.generate(asked)
        next(iter(half_way))
        half_way.close()  # type: ignore[attr-defined]
        assert_greedy(llama.model, asked, answers(session, asked), 1e-3)


def test_a_prompt_longer_than_a_step_is_read_in_pieces(llama: Family, tmp_path: Path) -> None:
    (short,) = llama.requests()[:1]
    long = short.model_copy(update={"prompt_ids": short.prompt_ids * 60, "max_new_tokens": 4})
    assert len(long.prompt_ids) > 2048
    asked = [long, short.model_copy(update={"id": "short"})]
    longer = tmp_path / "longer"
    shutil.copytree(llama.out, longer)
    config = json.loads((longer / "config.json").read_text())
    (longer / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 4096}))
    with EXACT.open(artifact(longer)) as session:
        assert_greedy(llama.model, asked, answers(session, asked), 1e-3)


def test_ignore_stop_gives_exactly_the_tokens_asked_for(llama: Family) -> None:
    asked = llama.requests(max_new_tokens=9, stop_ids=tuple(range(512)), ignore_stop=True)
    for answer in answers(llama.session, asked).values():
        assert len(answer.token_ids) == len(answer.token_times) == 9
        assert answer.finish_reason == "length"


def test_stop_ids_and_stop_texts_end_the_answer(llama: Family) -> None:
    (free,) = answers(llama.session, llama.requests()[:1]).values()
    stop = free.token_ids[4]
    first = free.token_ids.index(stop)
    (by_id,) = answers(llama.session, llama.requests(stop_ids=(2, stop))[:1]).values()
    assert by_id.token_ids == free.token_ids[: first + 1]
    assert by_id.finish_reason == "stop"
    text = free.text[3:6]
    (by_text,) = answers(llama.session, llama.requests(stop=(text,))[:1]).values()
    assert by_text.text == free.text[: free.text.index(text)]
    assert by_text.finish_reason == "stop"
    assert len(by_text.token_ids) < len(free.token_ids)


def test_samples_repeat_with_their_seed_and_differ_without(llama: Family) -> None:
    def sample(seed: int, rows: slice) -> list[tuple[int, ...]]:
        asked = llama.requests(temperature=0.9, seed=seed)[rows]
        return [c.token_ids for _, c in sorted(answers(llama.session, asked).items())]

    everything = slice(None)
    assert sample(1, everything) == sample(1, everything)
    assert sample(1, everything) != sample(2, everything)
    assert sample(1, slice(0, 1)) == sample(1, everything)[:1]


def test_a_lost_sliding_window_is_noticed_and_worked_around(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    import openvino as ov

    folder = tmp_path_factory.mktemp("window")
    gemma = Family("gemma3", folder)
    graph = gemma.session._graph.clone()
    assert paged_obstacle(graph, gemma.out) == ""
    # The mask of the sliding layers in a form that paged attention does not know.
    for node in graph.get_ordered_ops():
        if node.get_type_name() == "Greater":
            sooner, later = node.input_value(0), node.input_value(1)
            swapped = ov.opset13.less(later, sooner)
            for reader in node.output(0).get_target_inputs():
                reader.replace_source_output(swapped.output(0))
    graph.validate_nodes_and_infer_types()
    assert "sliding windows would be lost" in paged_obstacle(graph, gemma.out)
    other = folder / "other"
    shutil.copytree(gemma.out, other)
    ov.save_model(graph, other / "openvino_model.xml", compress_to_fp16=False)
    with EXACT.open(artifact(other)) as session:
        assert "sliding windows" in session.describe()["batching"]
        asked = gemma.requests()
        assert_greedy(gemma.model, asked, answers(session, asked), 1e-3)
    graph.set_rt_info("0,0,0,0,0,0", MARK)
    assert paged_obstacle(graph, gemma.out) == ""


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("openvino_model.xml", b"<net"),
        ("openvino_model.bin", b"short"),
        ("openvino_model.xml", None),
        ("openvino_model.bin", None),
        ("tokenizer.json", None),
    ],
)
def test_a_broken_folder_is_refused(
    llama: Family, tmp_path: Path, name: str, content: bytes | None
) -> None:
    folder = tmp_path / "broken"
    shutil.copytree(llama.out, folder)
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(BrokenInput):
        EXACT.open(artifact(folder))


def test_an_artifact_of_another_version_says_so_where_it_cannot_be_opened(
    llama: Family, tmp_path: Path
) -> None:
    shutil.copytree(llama.out, tmp_path / "torn")
    (tmp_path / "torn" / "openvino_model.xml").write_text("<net>")
    made = artifact(tmp_path / "torn")
    made = made.model_copy(update={"details": {"int8": {"versions": {"nncf": "1.0.0"}}}})
    with pytest.raises(BrokenInput, match="cannot read") as caught:
        EXACT.open(made)
    assert caught.value.cure.startswith("it was made with nncf 1.0.0 (")


def test_opening_imports_neither_torch_nor_transformers(llama: Family) -> None:
    code = f"""
import sys
from pathlib import Path
from weightcut.engines.openvino import OpenVINOEngine
from weightcut.records import Artifact, Request
artifact = Artifact(path=Path({str(llama.out)!r}), format="openvino", digest="", bytes=0,
                    checkpoint="")
with OpenVINOEngine().open(artifact) as session:
    print(session.describe())
    list(session.generate([Request(id="a", prompt="", prompt_ids=(9, 8), max_new_tokens=2)]))
assert not {{"torch", "transformers", "openvino_telemetry.main"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_prompts_of_ever_new_lengths_leave_no_memory_behind(llama: Family) -> None:
    code = f"""
from pathlib import Path
import psutil
from weightcut.engines.openvino import OpenVINOEngine
from weightcut.records import Artifact, Request
artifact = Artifact(path=Path({str(llama.out)!r}), format="openvino", digest="", bytes=0,
                    checkpoint="")
def megabytes(lengths):
    for length in lengths:
        asked = Request(id="a", prompt="", prompt_ids=(9,) * length, max_new_tokens=1)
        list(session.generate([asked]))
    return psutil.Process().memory_info().rss / 1e6
with OpenVINOEngine().open(artifact) as session:
    before = megabytes((400, *range(20, 120)))
    after = megabytes(range(120, 320))
assert after - before < 60, (before, after)  # with the usual caches about 200
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_describe_names_what_was_used(llama: Family) -> None:
    facts = llama.session.describe()
    assert facts["precision"] == facts["kv_cache"] == "f32"
    assert facts["threads"] == 2
    with OpenVINOEngine().open(artifact(llama.out)) as session:
        assert session.describe()["kv_cache"] in ("bf16", "f16")
