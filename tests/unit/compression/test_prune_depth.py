from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from weightcut.compression.prune_depth import PruneDepth, choose_layers
from weightcut.errors import BrokenInput, UsageError


class Ledger:
    """A chain whose hidden state is the set of layers passed, and whose loss is what is missing."""

    def __init__(self, prices: list[float], together: float = 0.0) -> None:
        self.prices, self.together = prices, together
        self.start: frozenset[int] = frozenset()
        self.measured = 0

    def __len__(self) -> int:
        return len(self.prices)

    def run(self, index: int, hidden: frozenset[int]) -> frozenset[int]:
        return hidden | {index}

    def through(self, indices: Iterable[int], hidden: frozenset[int]) -> frozenset[int]:
        return hidden | set(indices)

    def loss(self, hidden: frozenset[int]) -> float:
        self.measured += 1
        gone = [i for i in range(len(self)) if i not in hidden]
        pairs = sum(1 for i in gone if i + 1 in gone)
        return 2.0 + sum(self.prices[i] for i in gone) + self.together * pairs


def silent(phrase: str, share: float | None) -> None:
    pass


def test_the_cheapest_layers_go_first_and_cheaply() -> None:
    ledger = Ledger([5.0, 0.3, 4.0, 0.1, 0.2, 9.0])
    removed, losses = choose_layers(ledger, 3, silent)  # type: ignore[arg-type]
    assert removed == [3, 4, 1]
    assert losses == pytest.approx([2.0, 2.1, 2.3, 2.6])
    assert ledger.measured == 1 + 6 + 1 + 1


def test_removals_are_measured_again_after_each_other() -> None:
    removed, losses = choose_layers(Ledger([1.0, 0.1, 0.2, 0.5], together=3.0), 2, silent)  # type: ignore[arg-type]
    assert removed == [1, 3]
    assert losses == pytest.approx([2.0, 2.1, 2.6])


@given(
    prices=st.lists(st.floats(0, 10), min_size=2, max_size=9, unique=True),
    together=st.floats(0, 10),
    data=st.data(),
)
def test_lazy_search_takes_what_a_full_search_takes(
    prices: list[float], together: float, data: st.DataObject
) -> None:
    """Where layers get no cheaper as others go, the bounds are true and the search exact."""
    count = data.draw(st.integers(0, len(prices) - 1))
    ledger = Ledger(prices, together)
    removed, losses = choose_layers(ledger, count, silent)  # type: ignore[arg-type]
    everything = frozenset(range(len(prices)))
    gone: frozenset[int] = frozenset()
    for layer, loss in zip(removed, losses[1:], strict=True):
        best = min(ledger.loss(everything - gone - {i}) for i in everything - gone)
        gone |= {layer}
        assert ledger.loss(everything - gone) == pytest.approx(best)
        assert loss == pytest.approx(best)


def test_a_broken_model_is_refused() -> None:
    with pytest.raises(BrokenInput, match="not a finite number"):
        choose_layers(Broken([1.0, 1.0]), 1, silent)  # type: ignore[arg-type]


class Broken(Ledger):
    def loss(self, hidden: frozenset[int]) -> float:
        return float("nan")


@pytest.mark.parametrize(
    ("settings", "depth", "count"),
    [({}, 30, 5), ({"ratio": 0.1}, 30, 3), ({"ratio": 0.2}, 4, 1), ({"layers": 2}, 4, 2)],
)
def test_the_share_is_rounded_to_layers(settings: dict[str, float], depth: int, count: int) -> None:
    assert PruneDepth.model_validate(settings).count(depth) == count


def test_some_layer_stays() -> None:
    with pytest.raises(UsageError, match="cannot remove 4 of 4"):
        PruneDepth(layers=4).count(4)
    with pytest.raises(ValidationError):
        PruneDepth(ratio=1.0)
