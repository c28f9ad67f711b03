from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from weightcut.compression.teacher_cache import predictions
from weightcut.errors import NotHere
from weightcut.records import TokenBlocks

VOCABULARY = 40


class Teacher:
    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, ids: Any) -> torch.Tensor:
        self.asked += 1
        return 3 * torch.randn(len(ids), VOCABULARY, generator=torch.manual_seed(int(ids.sum())))


def blocks(seed: int = 0, windows: int = 3) -> TokenBlocks:
    ids = np.random.default_rng(seed).integers(0, VOCABULARY, (windows, 6))
    return TokenBlocks(ids, np.full(windows, 5))


def kept(folder: Path, teacher: Teacher, text: TokenBlocks, **more: Any) -> Any:
    settings = {"top_k": 8, "temperature": 1.0} | more
    name = settings.pop("name", "teacher")
    return predictions(folder, name, text, logits_of=teacher, progress=lambda *_: None, **settings)


def test_they_are_the_most_probable_tokens_with_their_probabilities(tmp_path: Path) -> None:
    found, _ = kept(tmp_path, Teacher(), blocks(), temperature=2.0)
    for window, ids in enumerate(blocks().ids):
        shares = (Teacher()(ids)[:-1] / 2).softmax(-1)
        best, at = shares.topk(8)
        order = np.argsort(-found.probabilities[window], axis=-1)
        assert np.array_equal(np.take_along_axis(found.ids[window], order, -1), at.numpy())
        mine = np.take_along_axis(found.probabilities[window], order, -1)
        assert mine == pytest.approx(best.numpy(), rel=1e-5)


def test_several_students_cost_one_pass(tmp_path: Path) -> None:
    teacher = Teacher()
    first, there = kept(tmp_path, teacher, blocks())
    again, there_again = kept(tmp_path, teacher, blocks())
    assert (there, there_again, teacher.asked) == (False, True, 3)
    assert np.array_equal(first.ids, again.ids)
    assert np.array_equal(first.probabilities, again.probabilities)
    rows = again.rows(torch.tensor([2, 0]))
    assert torch.equal(rows.ids, torch.from_numpy(first.ids[[2, 0]].copy()))


@pytest.mark.parametrize(
    "more", [{"name": "other"}, {"top_k": 9}, {"temperature": 2.0}, {"text": blocks(1)}]
)
def test_whatever_decides_them_makes_them_anew(more: dict[str, Any], tmp_path: Path) -> None:
    teacher = Teacher()
    kept(tmp_path, teacher, blocks())
    text = more.pop("text", blocks())
    assert not kept(tmp_path, teacher, text, **more)[1]


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY nonsense", b"PK\x03\x04"])
def test_a_damaged_file_is_made_anew(damage: bytes, tmp_path: Path) -> None:
    whole = np.array(kept(tmp_path, Teacher(), blocks())[0].ids)
    (file,) = tmp_path.glob("*.npy")
    file.write_bytes(damage)
    found, there = kept(tmp_path, Teacher(), blocks())
    assert not there
    assert np.array_equal(found.ids, whole)


def test_a_torn_write_leaves_nothing(tmp_path: Path) -> None:
    def broken(_ids: Any) -> Any:
        raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"):
        kept(tmp_path, broken, blocks())  # type: ignore[arg-type]
    assert [path.suffix for path in tmp_path.iterdir()] == [".lock"]


def test_the_least_recently_used_go_and_too_many_are_refused(tmp_path: Path) -> None:
    room = 2 * 3 * 5 * 8 * 8 + 400
    for seed in (0, 1):
        kept(tmp_path, Teacher(), blocks(seed), largest=room)
    assert kept(tmp_path, Teacher(), blocks(0), largest=room)[1]
    kept(tmp_path, Teacher(), blocks(2), largest=room)
    assert len(list(tmp_path.glob("*.npy"))) == 2
    assert kept(tmp_path, Teacher(), blocks(0), largest=room)[1]
    assert not kept(tmp_path, Teacher(), blocks(1), largest=room)[1]
    with pytest.raises(NotHere, match=r"would take .* at most"):
        kept(tmp_path, Teacher(), blocks(windows=9), largest=room)
