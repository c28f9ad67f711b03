"""What every engine is held to: greedy answers and log-probabilities of transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from tests.families import WORDS
from tests.integration.openvino_models import log_probabilities

from weightcut.models.tokenizer import load_tokenizer
from weightcut.records import Completion, Request

LENGTHS = (40, 5, 23, 60, 16, 17)


def windows(folder: Path, length: int = 64) -> npt.NDArray[np.int64]:
    ids = load_tokenizer(folder).encode(WORDS)
    return np.array([ids[start : start + length] for start in (0, 40, 80)], np.int64)


def requests(folder: Path, **fields: Any) -> list[Request]:
    fields = {"max_new_tokens": 24, "stop_ids": (2, 6), **fields}
    ids = load_tokenizer(folder).encode(WORDS)
    return [
        Request(id=str(i), prompt="", prompt_ids=tuple(ids[9 * i : 9 * i + n]), **fields)
        for i, n in enumerate(LENGTHS)
    ]


def answers(session: Any, asked: list[Request]) -> dict[str, Completion]:
    done = list(session.generate(asked))
    assert sorted(c.request_id for c in done) == sorted(r.id for r in asked)
    return {c.request_id: c for c in done}


def assert_greedy(
    model: Any, asked: list[Request], done: dict[str, Completion], tolerance: float
) -> None:
    """Every token is the model's best, or as good as the best but for rounding (nats)."""
    for request in asked:
        answer = done[request.id]
        new = len(answer.token_ids)
        ids = np.array([request.prompt_ids + answer.token_ids])
        rows = log_probabilities(model, ids)[0, -new - 1 : -1]
        chosen = rows[np.arange(new), answer.token_ids]
        assert (rows.max(-1) - chosen).max() < tolerance
        assert answer.mean_logprob == pytest.approx(chosen.mean(), abs=tolerance)
        stops = [i for i, token in enumerate(answer.token_ids) if token in request.stop_ids]
        assert stops in ([], [new - 1])
        assert answer.finish_reason == ("stop" if stops else "length")
        assert new == request.max_new_tokens or stops
        assert len(answer.token_times) == new
        assert list(answer.token_times) == sorted(answer.token_times)


def assert_contract(session: Any, model: Any, folder: Path, tolerance: float) -> None:
    """Batches, stops, seeds, limits and a consumer that leaves early: as the contract says."""
    asked = requests(folder)
    half_way = session.generate(asked)
    next(iter(half_way))
    half_way.close()
    assert_greedy(model, asked, answers(session, asked), tolerance)
    exactly = requests(folder, max_new_tokens=9, stop_ids=tuple(range(512)), ignore_stop=True)
    for answer in answers(session, exactly).values():
        assert (len(answer.token_ids), answer.finish_reason) == (9, "length")
    (free,) = answers(session, asked[:1]).values()
    text = free.text[3:6]
    (cut,) = answers(session, requests(folder, stop=(text,))[:1]).values()
    assert (cut.finish_reason, cut.text) == ("stop", free.text[: free.text.index(text)])

    def sample(seed: int) -> list[tuple[int, ...]]:
        drawn = requests(folder, temperature=0.9, seed=seed)
        return [c.token_ids for _, c in sorted(answers(session, drawn).items())]

    assert sample(1) == sample(1)
    assert sample(1) != sample(2)
    long = Request(id="long", prompt="", prompt_ids=(9,) * 600, max_new_tokens=4)
    (answer,) = session.generate([long])  # the families have 512 positions
    assert (answer.finish_reason, answer.token_ids) == ("aborted", ())


def assert_live(session: Any, asked: list[Request]) -> None:
    """Requests that enter and leave one by one get the answers that they get together."""
    alone = answers(session, asked)
    live = session.live(2, 400)
    for request in asked[:3]:
        live.submit(request)
    found: dict[str, list[int]] = {}
    ended: dict[str, str] = {}
    steps = 0
    while live.busy():
        for news in live.step():
            found.setdefault(news.request_id, []).extend(token for token, _ in news.tokens)
            if news.reason:
                ended[news.request_id] = news.reason
        steps += 1
        if steps == 3:
            live.submit(asked[3])
            live.cancel(asked[2].id)
    assert sorted(ended) == sorted(r.id for r in (*asked[:2], asked[3]))
    for name in ended:
        assert tuple(found[name]) == alone[name].token_ids
