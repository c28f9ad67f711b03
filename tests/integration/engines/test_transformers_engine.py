from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.families import FAMILIES, WORDS, make_family

from weightcut.engines import transformers as transformers_engine
from weightcut.engines.batching import of_like_length
from weightcut.engines.engine import Engine
from weightcut.engines.transformers import TransformersEngine, TransformersSession
from weightcut.errors import BrokenInput, UsageError
from weightcut.models.tokenizer import load_tokenizer
from weightcut.records import Artifact, Completion, Request, TokenBlocks

# Lengths on both sides of gemma3's sliding window of 16, out of order, more than fit in a batch.
LENGTHS = (7, 40, 3, 21, 90, 21, 16, 17, 1, 55)
NEW = 30


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: make_family(name, tmp_path_factory.mktemp(name)) for name in FAMILIES}


@pytest.fixture(scope="module", params=FAMILIES)
def opened(request: Any, folders: dict[str, Path]) -> Iterator[tuple[Path, TransformersSession]]:
    folder = folders[request.param]
    with TransformersEngine(dtype="float32", max_batch=4, threads=1).open(
        artifact(folder)
    ) as session:
        yield folder, session


def artifact(folder: Path) -> Artifact:
    return Artifact(path=folder, format="hf", digest="", bytes=0, checkpoint="")


def prompts(folder: Path) -> list[tuple[int, ...]]:
    ids = load_tokenizer(folder).encode(WORDS)
    return [tuple(ids[10 * i : 10 * i + length]) for i, length in enumerate(LENGTHS)]


def requests(folder: Path, **fields: Any) -> list[Request]:
    fields = {"max_new_tokens": NEW, **fields}
    return [
        Request(id=str(i), prompt="", prompt_ids=ids, **fields)
        for i, ids in enumerate(prompts(folder))
    ]


def answers(session: TransformersSession, asked: list[Request]) -> dict[str, Completion]:
    done = list(session.generate(asked))
    assert sorted(c.request_id for c in done) == sorted(r.id for r in asked)
    return {c.request_id: c for c in done}


def reference(folder: Path) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def test_answers_in_batches_of_like_length_are_those_of_one_batch(opened):
    folder, session = opened
    asked = requests(folder, max_new_tokens=5, ignore_stop=True)
    assert len(of_like_length(asked, lambda one: len(one.prompt_ids) + 5)) > 1
    whole = answers(session, requests(folder, ignore_stop=True))
    for name, found in answers(session, asked).items():
        assert found.token_ids == whole[name].token_ids[:5]


def test_greedy_answers_are_those_of_generate_row_by_row(opened):
    import torch

    folder, session = opened
    model = reference(folder)
    asked = requests(folder, ignore_stop=True)
    done = answers(session, asked)
    for request in asked:
        ids = torch.tensor([request.prompt_ids])
        whole = model.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=NEW,
            eos_token_id=-1, pad_token_id=0,
        )  # fmt: skip
        mine, theirs = done[request.id].token_ids, tuple(whole[0, ids.shape[1] :].tolist())
        assert len(mine) == len(theirs) == NEW
        assert done[request.id].finish_reason == "length"
        if mine != theirs:
            at = next(i for i, (a, b) in enumerate(zip(mine, theirs, strict=True)) if a != b)
            with torch.inference_mode():
                logits = model(whole[:, : ids.shape[1] + at]).logits[0, -1]
            assert abs(float(logits[mine[at]] - logits[theirs[at]])) < 1e-4


def test_mean_logprob_is_that_of_the_tokens_chosen(opened):
    import torch

    folder, session = opened
    model = reference(folder)
    asked = requests(folder, ignore_stop=True)
    for request in asked:
        done = answers(session, [request])[request.id]
        with torch.inference_mode():
            ids = torch.tensor([request.prompt_ids + done.token_ids])
            rows = model(ids).logits[0, len(request.prompt_ids) - 1 : -1].log_softmax(-1)
        chosen = rows[range(NEW), list(done.token_ids)].mean()
        assert done.mean_logprob == pytest.approx(float(chosen), abs=1e-4)


def test_token_logprobs_are_the_models(opened):
    import torch

    folder, session = opened
    ids = np.array(load_tokenizer(folder).encode(WORDS)[:160]).reshape(2, 80)
    windows = list(session.token_logprobs(TokenBlocks(ids=ids, text_bytes=np.ones(2, dtype=int))))
    with torch.inference_mode():
        wanted = reference(folder)(torch.from_numpy(ids)).logits.log_softmax(-1)[:, :-1].numpy()
    assert [w.block for w in windows] == [0, 1]
    for window, rows in zip(windows, wanted, strict=True):
        assert window.values.dtype == np.float32
        np.testing.assert_allclose(window.values, rows, atol=2e-4)


@pytest.fixture(scope="module")
def llama(folders: dict[str, Path]) -> Iterator[tuple[Path, TransformersSession]]:
    folder = folders["llama-tied"]
    with TransformersEngine(dtype="float32", max_batch=4, threads=1).open(
        artifact(folder)
    ) as session:
        yield folder, session


def test_it_is_an_engine():
    assert isinstance(TransformersEngine(), Engine)


def test_a_stop_id_ends_an_answer_and_is_not_in_its_text(llama):
    folder, session = llama
    free = answers(session, requests(folder, ignore_stop=True))
    stop = free["1"].token_ids[5]
    done = answers(session, requests(folder, stop_ids=(stop,)))
    for name, whole in free.items():
        ids = whole.token_ids
        wanted = ids[: ids.index(stop) + 1] if stop in ids else ids
        assert done[name].token_ids == wanted
        assert done[name].finish_reason == ("stop" if stop in ids else "length")
    tokenizer = load_tokenizer(folder)
    assert done["1"].text == tokenizer.decode(done["1"].token_ids[:-1])


def test_a_stop_text_is_cut_off(llama):
    folder, session = llama
    whole = answers(session, requests(folder, ignore_stop=True))["1"].text
    stop = whole[10:13]
    done = answers(session, requests(folder, stop=(stop, "never")))["1"]
    assert done.text == whole[: whole.index(stop)]
    assert done.finish_reason == "stop"
    assert stop in load_tokenizer(folder).decode(done.token_ids)


def test_token_times_grow_and_count_from_submission(llama):
    folder, session = llama
    for done in answers(session, requests(folder, ignore_stop=True)).values():
        assert len(done.token_times) == len(done.token_ids) == NEW
        assert done.token_times[0] > 0
        assert list(done.token_times) == sorted(done.token_times)


def test_sampling_depends_on_the_seed_alone(llama):
    folder, session = llama
    fields = {"temperature": 0.9, "top_p": 0.95, "ignore_stop": True}
    once, again = (answers(session, requests(folder, **fields, seed=3)) for _ in range(2))
    alone = answers(session, requests(folder, **fields, seed=3)[4:5])["4"]
    other = answers(session, requests(folder, **fields, seed=4))
    assert {k: c.token_ids for k, c in once.items()} == {k: c.token_ids for k, c in again.items()}
    assert alone.token_ids == once["4"].token_ids
    assert other["4"].token_ids != once["4"].token_ids
    greedy = answers(session, requests(folder, ignore_stop=True))
    narrow = answers(session, requests(folder, temperature=0.9, top_p=1e-9, ignore_stop=True))
    assert narrow["4"].token_ids == greedy["4"].token_ids


def test_answers_do_not_run_past_the_models_positions(llama):
    folder, session = llama
    ids = load_tokenizer(folder).encode(WORDS * 3)
    asked = [
        Request(id=str(n), prompt="", prompt_ids=tuple(ids[:n]), max_new_tokens=20)
        for n in (505, 512, 4)
    ]
    done = answers(session, asked)
    assert (len(done["505"].token_ids), done["505"].finish_reason) == (7, "length")
    assert (done["512"].token_ids, done["512"].finish_reason) == ((), "aborted")
    assert len(done["4"].token_ids) == 20


def test_a_long_stream_reuses_its_columns(llama):
    folder, session = llama
    ids = load_tokenizer(folder).encode(WORDS)
    asked = [
        Request(id=str(i), prompt="", prompt_ids=tuple(ids[i : i + 12]), max_new_tokens=5 + i % 9)
        for i in range(40)
    ]
    together = answers(session, asked)
    for request in asked[::7]:
        alone = answers(session, [request])[request.id]
        assert together[request.id].token_ids == alone.token_ids


def test_no_requests_no_answers(llama):
    assert list(llama[1].generate([])) == []


def test_an_empty_prompt_is_refused(llama):
    with pytest.raises(UsageError, match="no tokens"):
        list(llama[1].generate([Request(id="r", prompt="", prompt_ids=())]))


def test_it_says_what_it_is(llama):
    said = llama[1].describe()
    assert said["precision"] == "float32"
    assert said["versions"].keys() == {"transformers", "torch"}
    assert said["quantization"] is None
    json.dumps(said)


def test_a_folder_that_lacks_weights_is_refused(tmp_path):
    from safetensors.torch import load_file, save_file

    folder = make_family("llama-untied", tmp_path / "m")
    weights = load_file(folder / "model.safetensors")
    del weights["lm_head.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(BrokenInput, match=r"lm_head\.weight"):
        TransformersEngine().open(artifact(folder))
    (folder / "model.safetensors").write_bytes(b"nonsense" * 10)
    with pytest.raises(BrokenInput, match="cannot be loaded"):
        TransformersEngine().open(artifact(folder))


def test_an_unknown_quantization_is_refused_before_loading(tmp_path):
    config = {"model_type": "llama", "quantization_config": {"quant_method": "gptq"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UsageError, match="gptq"):
        TransformersEngine().open(artifact(tmp_path))


def test_rows_that_attend_in_groups_see_what_they_saw_together() -> None:
    import torch
    from torch.nn.functional import scaled_dot_product_attention

    rows, columns = 2 * transformers_engine._GROUP + 3, 50
    query = torch.randn(rows, 6, 1, 8)
    key, value = torch.randn(2, rows, 2, columns, 8)
    starts = torch.randint(0, columns, (rows, 1)).sort(0).values
    mask = (torch.arange(columns)[None] >= starts)[:, None, None]
    groups = transformers_engine._groups(mask, rows)
    assert [first for _, first in groups] == starts[:: transformers_engine._GROUP, 0].tolist()
    found, _ = transformers_engine._grouped_attention(None, query, key, value, mask)
    whole = scaled_dot_product_attention(query, key, value, attn_mask=mask, enable_gqa=True)
    assert torch.allclose(found, whole.transpose(1, 2), atol=1e-6)
