from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from weightcut.compression.prune_width import PruneWidth, fitted, kept_channels
from weightcut.errors import UsageError


@given(st.integers(1, 20_000), st.floats(0, 0.99))
def test_channels_stay_near_the_share_and_divide(width: int, ratio: float) -> None:
    kept = kept_channels(width, ratio)
    assert 1 <= kept <= width
    assert abs(kept - width * (1 - ratio)) <= max(1, width / 16)
    assert kept_channels(width, 0) == width


def test_real_widths_keep_multiples_of_64() -> None:
    assert kept_channels(1536, 0.2) == 1216
    assert kept_channels(11_008, 0.2) == 8832
    assert kept_channels(128, 0.2) == 104


def test_groups_are_rounded_down_and_one_must_stay() -> None:
    assert PruneWidth(ratio=0.2)._groups(8) == 1
    assert PruneWidth(ratio=0.2)._groups(3) == 0
    with pytest.raises(UsageError, match="cannot remove 3 of 3"):
        PruneWidth(groups=3)._groups(3)


@given(st.integers(0, 1000), st.integers(1, 7))
def test_refitting_never_loses_more_and_tells_what_it_loses(seed: int, count: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    inputs = torch.randn(40, 8, generator=draw, dtype=torch.float64)
    inputs[:, 1] = 0.9 * inputs[:, 0] + 0.1 * inputs[:, 1]
    weight = torch.randn(5, 8, generator=draw, dtype=torch.float64)
    kept = torch.randperm(8, generator=draw)[:count].sort().values
    gram = inputs.T @ inputs / 40
    found = {}
    for refit in (False, True):
        narrow, lost = fitted(weight, gram, kept, refit)
        error = (inputs @ weight.T - inputs[:, kept] @ narrow.T).square().sum()
        assert lost == pytest.approx(float(error / (inputs @ weight.T).square().sum()), abs=1e-9)
        found[refit] = lost
    assert found[True] <= found[False] + 1e-9


def test_inputs_that_are_always_zero_break_nothing() -> None:
    weight, gram = torch.ones(2, 4), torch.zeros(4, 4)
    narrow, lost = fitted(weight, gram, torch.tensor([0, 1]), True)
    assert torch.equal(narrow, torch.ones(2, 2))
    assert lost == 0.0
