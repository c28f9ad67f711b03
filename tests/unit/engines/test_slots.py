"""Continuous batching over slots, on a runner that counts: each token follows its predecessor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightcut.engines.slots import SlotBatch, needed
from weightcut.errors import UsageError
from weightcut.models.tokenizer import ByteTokenizer
from weightcut.records import Request

VOCABULARY = 257


class Counting:
    """Predicts the last id plus one, and checks that no sequence sees another's."""

    def __init__(self, slots: int, capacity: int = 1000) -> None:
        self.slots, self.capacity = slots, capacity
        self.held: dict[int, list[int]] = {}
        self.most = 0

    def enter(self, slot: int, ids: Sequence[int]) -> Any:
        assert slot not in self.held
        self.held[slot] = list(ids)
        self.most = max(self.most, len(self.held))
        return self._logits([ids[-1]])[0]

    def step(self, slots: Sequence[int], tokens: Sequence[int]) -> Any:
        assert sorted(self.held) == sorted(slots)
        for slot, token in zip(slots, tokens, strict=True):
            assert token == self.held[slot][-1] + 1
            self.held[slot].append(token)
            assert len(self.held[slot]) <= self.capacity
        return self._logits(tokens)

    def leave(self, slot: int) -> None:
        del self.held[slot]

    @staticmethod
    def _logits(last: Sequence[int]) -> Any:
        logits = np.zeros((len(last), VOCABULARY), np.float32)
        logits[np.arange(len(last)), [token + 1 for token in last]] = 9
        return logits


def request(name: str, prompt: Sequence[int] = (10, 11), **fields: Any) -> Request:
    data = {"id": name, "prompt": "", "prompt_ids": tuple(prompt), "max_new_tokens": 4, **fields}
    return Request.model_validate(data)


@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(1, 20)), min_size=1, max_size=12),
    st.integers(1, 5),
)
def test_every_answer_is_its_own_whatever_runs_beside_it(
    sizes: list[tuple[int, int]], slots: int
) -> None:
    asked = [
        request(str(at), range(at, at + length), max_new_tokens=new)
        for at, (length, new) in enumerate(sizes)
    ]
    runner = Counting(slots, needed(asked, None))
    done = list(SlotBatch(runner, ByteTokenizer()).generate(asked))
    assert sorted(one.request_id for one in done) == sorted(one.id for one in asked)
    for one in done:
        about = asked[int(one.request_id)]
        first = about.prompt_ids[-1] + 1
        assert one.token_ids == tuple(range(first, first + about.max_new_tokens))
        assert one.finish_reason == "length"
        assert list(one.token_times) == sorted(one.token_times)
    assert not runner.held
    assert runner.most <= slots


def test_positions_bound_an_answer_and_a_prompt_beyond_them_is_aborted() -> None:
    asked = [request("short", max_new_tokens=50), request("long", range(8))]
    assert needed(asked, 8) == 8
    found = SlotBatch(Counting(2, 8), ByteTokenizer(), positions=8).generate(asked)
    done = {one.request_id: one for one in found}
    assert (len(done["short"].token_ids), done["short"].finish_reason) == (6, "length")
    assert (done["long"].token_ids, done["long"].finish_reason) == ((), "aborted")


def test_an_empty_prompt_is_refused() -> None:
    with pytest.raises(UsageError, match="has no tokens"):
        list(SlotBatch(Counting(1), ByteTokenizer()).generate([request("a", ())]))


def test_requests_that_come_later_and_requests_that_are_given_up() -> None:
    runner = Counting(2)
    batch = SlotBatch(runner, ByteTokenizer())
    batch.submit(request("a", max_new_tokens=3))
    batch.submit(request("b", max_new_tokens=50))
    batch.submit(request("c", max_new_tokens=50))
    batch.cancel("c")
    seen: dict[str, list[int]] = {}
    while batch.busy():
        for news in batch.step():
            seen.setdefault(news.request_id, []).extend(token for token, _ in news.tokens)
            if news.reason:
                assert (news.request_id, news.reason) == ("a", "length")
                assert news.mean_logprob is not None
                batch.cancel("b")
    assert seen["a"] == [12, 13, 14]
    assert "c" not in seen
    assert not runner.held


def test_what_can_never_fit_is_refused_at_once() -> None:
    with pytest.raises(UsageError, match="do not fit a slot"):
        SlotBatch(Counting(1, 5), ByteTokenizer()).submit(request("a"))
