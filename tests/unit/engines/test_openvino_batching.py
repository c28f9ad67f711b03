from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.families import spaced

from weightcut.engines.answers import Answer, choose, log_softmax
from weightcut.engines.batching import Row
from weightcut.engines.openvino_batching import _pad_left, last_line, step_inputs
from weightcut.models.tokenizer import ByteTokenizer, load_tokenizer
from weightcut.records import Request

logits = st.lists(st.floats(-50, 50, width=32), min_size=2, max_size=30)


def answer(text: str, **fields: object) -> Answer:
    made = Answer(Request.model_validate({"id": "a", "prompt": "", "prompt_ids": (1,), **fields}))
    for token in text.encode():
        made.add(token, 0.0, -1.0, ByteTokenizer())
    return made


@given(logits)
def test_log_softmax_is_a_distribution_in_the_same_order(values: list[float]) -> None:
    row = np.array([values], np.float32)
    out = log_softmax(row, np.empty_like(row))
    assert np.exp(out.astype(np.float64)).sum() == pytest.approx(1, abs=1e-4)
    assert out[0, row[0].argmax()] == out.max()


@given(logits, st.integers(0, 1000))
def test_a_tiny_nucleus_is_greedy(values: list[float], seed: int) -> None:
    row = np.array(values, np.float32)
    best = choose(row, 0.0, 1.0, np.random.default_rng(seed))
    assert row[best] == row.max()
    assert row[choose(row, 1.0, 1e-9, np.random.default_rng(seed))] == row.max()


def test_draws_follow_temperature_and_nucleus() -> None:
    row = np.log(np.array([0.5, 0.3, 0.15, 0.05], np.float32))
    draw = np.random.default_rng(0)
    picks = [choose(row, 1.0, 0.75, draw) for _ in range(4000)]
    shares = np.bincount(picks, minlength=4) / 4000
    assert shares == pytest.approx([0.625, 0.375, 0, 0], abs=0.03)
    hot = np.bincount([choose(row, 100.0, 1.0, draw) for _ in range(4000)]) / 4000
    assert hot == pytest.approx([0.25] * 4, abs=0.04)


def test_positions_count_from_the_first_real_token() -> None:
    ids, mask = _pad_left([(5, 6, 7), (8,)])
    assert ids.tolist() == [[5, 6, 7], [0, 0, 8]]
    names = {"input_ids", "attention_mask", "position_ids", "beam_idx"}
    feed = step_inputs(names, ids, mask)
    assert feed["position_ids"].tolist() == [[0, 1, 2], [0, 0, 0]]
    longer = np.pad(mask, ((0, 0), (0, 1)), constant_values=1)
    feed = step_inputs(names - {"position_ids"}, ids[:, :1], longer, np.array([1, 0], np.int32))
    assert set(feed) == names - {"position_ids"}
    assert feed["beam_idx"].tolist() == [1, 0]
    assert step_inputs(names, ids[:, :1], longer)["position_ids"].tolist() == [[3], [1]]


def test_the_end_is_among_the_ids_but_not_in_the_text() -> None:
    done = answer("abc!def", stop_ids=(ord("!"),)).completion(ByteTokenizer())
    assert (done.text, done.finish_reason) == ("abc", "stop")
    assert bytes(done.token_ids) == b"abc!"


def test_a_stop_text_over_several_tokens_ends_the_answer() -> None:
    done = answer("x = 1\n\nclass A", stop=("\nclass", "```")).completion(ByteTokenizer())
    assert (done.text, done.finish_reason) == ("x = 1\n", "stop")
    assert bytes(done.token_ids).endswith(b"\nclass")
    assert len(done.token_times) == len(done.token_ids)


def test_length_and_ignored_stops() -> None:
    made = answer("aaaaaa", max_new_tokens=4, stop_ids=(97,), stop=("aa",), ignore_stop=True)
    done = made.completion(ByteTokenizer())
    assert (done.text, done.finish_reason, done.mean_logprob) == ("aaaa", "length", -1.0)


def test_an_answer_cut_short_is_aborted() -> None:
    done = Answer(Request(id="a", prompt="", prompt_ids=(1,))).completion(ByteTokenizer())
    assert (done.finish_reason, done.mean_logprob, done.token_ids) == ("aborted", None, ())


def test_the_last_line_of_a_message_says_what_went_wrong() -> None:
    assert last_line(RuntimeError("Exception from x.cpp:1:\n  at y\nno such file\n")) == (
        "no such file"
    )
    assert last_line(RuntimeError()) == "RuntimeError"


def test_a_completion_keeps_its_first_space(tmp_path: Path) -> None:
    spaced().save(str(tmp_path / "tokenizer.json"))
    tokenizer = load_tokenizer(tmp_path)
    prompt, body = "def f():\n", "    return 1\n\nclass A"
    before, ids = tokenizer.encode(prompt), tokenizer.encode(prompt + body)
    request = Request(id="a", prompt=prompt, prompt_ids=tuple(before), stop=("\nclass",))
    one, row = Answer(request), Row(request, room=100)
    for token in ids[len(before) :]:
        one.add(token, 0.0, -1.0, tokenizer)
        row.ids.append(token)
        ended = row.finish_reason(tokenizer.decode_after)
        assert ended == one.reason
        if ended:
            break
    assert ended == "stop"
    assert one.completion(tokenizer).text == "    return 1\n"
    assert row.completion(ended, tokenizer.decode_after).text == "    return 1\n"
