from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from weightcut.compression.trainer import first_bad_tensor
from weightcut.compression.training import curve_of, labels, stopped
from weightcut.errors import UsageError
from weightcut.records import TokenBlocks


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = (nn.Linear(3, 3) for _ in range(3))

    def forward(self, input_ids: torch.Tensor, use_cache: bool) -> torch.Tensor:
        hidden = self.first(input_ids.float())
        return self.third(self.second(hidden * self.scale))

    scale = 1.0


def test_the_first_bad_weight_is_named() -> None:
    model = Small()
    with torch.no_grad():
        model.third.weight[0, 0] = float("inf")
        model.second.bias[1] = float("nan")
    assert first_bad_tensor(model, torch.ones(1, 3)) == "second.bias"


def test_the_first_bad_output_is_named_where_all_weights_are_good() -> None:
    model = Small()
    model.scale = float("nan")
    assert first_bad_tensor(model, torch.ones(1, 3)) == "output of second"
    assert first_bad_tensor(Small(), torch.ones(1, 3)) == "the loss itself"


def test_the_curve_has_a_point_a_step() -> None:
    step = {"learning_rate": 0.1, "tokens_per_s": 9.0, "peak_rss_bytes": 5, "tokens": 8}
    history = [
        {"step": 1, "loss": 2.0, "seconds": 1.0, **step},
        {"step": 2, "loss": 1.5, "seconds": 2.5, **step},
        {"step": 2, "eval_loss": 1.75},
        {"step": 2, "train_runtime": 3.0},
    ]
    curve = curve_of(history)
    assert [point["loss"] for point in curve] == [2.0, 1.5]
    assert [point["held_out_loss"] for point in curve] == [None, 1.75]
    assert [point["seconds"] for point in curve] == [1.0, 2.5]


def test_why_it_stopped_is_said() -> None:
    state = SimpleNamespace(global_step=10, max_steps=10, best_global_step=5)
    assert stopped(state, 0) == "all 10 steps were done"
    assert "step 5 are kept" in stopped(state, 2)
    state.global_step = 8
    assert "not fallen for 2 validations" in stopped(state, 2)


def test_labels_leave_out_what_is_not_scored() -> None:
    ids = np.arange(8).reshape(2, 4)
    blocks = TokenBlocks(ids, np.ones(2))
    assert labels(blocks) is ids
    scored = np.array([[False, False, True, True], [True, False, False, False]])
    assert labels(TokenBlocks(ids, np.ones(2), scored=scored)).tolist() == [
        [-100, -100, 2, 3],
        [4, -100, -100, -100],
    ]
    with pytest.raises(UsageError, match="no token of the training windows"):
        labels(TokenBlocks(ids, np.ones(2), scored=np.zeros((2, 4), bool)))
