"""`weightcut tune` on the scripted engine: real processes, real store, real Optuna, no weights."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from tests.scripted_models import humaneval_model

from weightcut.errors import UsageError
from weightcut.models.resolve import resolve
from weightcut.records import Keep
from weightcut.study import tune
from weightcut.study.run import Event
from weightcut.study.space import Way, choices, ways
from weightcut.study.tune import Search, Trial, Tuned, next_finalist

WAY = Way(
    engine="scripted",
    kind="scripted-shrink",
    settings={"size": (1.0, 0.5), "drift": (0.0, 3.0)},
)
TASKS = [{"name": "humaneval", "limit": 12}]


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIGHTCUT_HOME", str(tmp_path / "home"))


def _search(folder: Path, model: Path, budget: float = 600.0, keep: float = 0.5) -> Search:
    return Search(
        folder,
        str(model),
        resolve(str(model)),
        (WAY,),
        Keep(share=keep),
        "size",
        TASKS,
        engine="scripted",
        budget=budget,
    )


def test_the_smallest_that_keeps_quality_wins_and_nothing_is_tried_twice(tmp_path: Path) -> None:
    model, out = humaneval_model(tmp_path / "model"), tmp_path / "what?"
    found = _search(out, model).run()
    _check(found, out)
    assert (out / "trials.sqlite").is_file()

    def never(_event: object) -> None:
        raise AssertionError("something ran again")

    again = _search(out, model)
    again.listen = lambda event: never(event) if event.kind == "started" else None
    assert again.run().winner == found.winner
    with pytest.raises(UsageError, match="something else"):
        _search(out, model, keep=0.95).run()


def _check(found: Tuned, out: Path) -> None:
    states = {one.variant.name: one.state for one in found.trials}
    assert len(states) == len(found.trials) == 4
    assert sum(state == "rejected" for state in states.values()) == 2
    rejected = [one for one in found.trials if one.state == "rejected"]
    assert all("drift" in one.variant.name and "KL" in one.reason for one in rejected)
    measured = {variant.name for variant in found.results.variants}
    assert not measured & {one.variant.name for one in rejected}
    assert found.winner == "scripted-shrink(size=0.5) on scripted"
    assert found.artifact == out / "winner"
    assert (out / "winner" / "weights.bin").stat().st_size == 50_000
    assert (out / "final" / "report.html").is_file()


@pytest.mark.parametrize("wins", [0, 1, 3, 6, 7])
def test_finalists_are_measured_by_bisection_and_the_winner_is_the_cheapest_kept(wins: int) -> None:
    """Seven finalists, the cheapest first; those from `wins` on keep the quality."""
    all_ = [
        Trial(variant=WAY.variant({"size": i / 7}), state="passed", kl=1 - i / 9, cost=float(i))
        for i in range(1, 8)
    ]
    kept: dict[str, bool] = {}
    order = []
    while (trial := next_finalist(all_, kept)) is not None:
        order.append(all_.index(trial))
        kept[trial.variant.name] = order[-1] >= wins
    assert order[0] == 6
    assert len(order) == len(set(order))
    cheapest = min((i for i in order if i >= wins), default=None)
    assert cheapest == (wins if wins < 7 else None)
    if wins < 6:
        assert order.index(wins) <= 3


def test_without_time_the_baseline_alone_is_measured_and_nothing_wins(tmp_path: Path) -> None:
    model = humaneval_model(tmp_path / "model")
    found = _search(tmp_path / "out", model, budget=1e-6).run()
    assert found.trials == ()
    assert found.winner == "full"
    assert found.artifact is None


def test_the_time_of_an_interrupted_search_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tune, "_TICK", 0.0)
    model = humaneval_model(tmp_path / "model")

    def stop(event: Event) -> None:
        if event.kind == "finished":
            raise KeyboardInterrupt

    search = _search(tmp_path / "out", model)
    search.listen = stop
    with pytest.raises(KeyboardInterrupt):
        search.run()
    start = time.monotonic()
    found = _search(tmp_path / "out", model, budget=1e-6).run()
    assert found.spent > time.monotonic() - start


def test_an_unknown_task_is_told_before_any_work(tmp_path: Path) -> None:
    search = _search(tmp_path / "out", humaneval_model(tmp_path / "model"))
    search.tasks = [{"name": "humanevil"}]
    with pytest.raises(UsageError, match="did you mean 'humaneval'"):
        search.run()
    assert not (tmp_path / "out").exists()


def test_long_names_stay_apart() -> None:
    (way,) = ways("hf", ["int4"])
    many = {"mode": "sym", "group_size": 32, "all_layers": True, "awq": False, "ratio": 0.5}
    names = {way.variant({**many, "gptq": gptq}).name for gptq in (False, True)}
    assert len(names) == 2
    assert max(map(len, names)) <= 80


def test_settings_come_from_the_method_itself() -> None:
    assert choices("int4")["ratio"] == (0.25, 0.5, 0.75, 1.0)
    assert choices("int4")["mode"] == ("asym", "sym")
    assert None in choices("int4")["group_size"]
    assert choices("rtn")["bits"] == (4, 8)
    assert "windows" not in choices("gptq")


def test_only_what_runs_here_and_opens_here_is_searched() -> None:
    found = {(way.kind, way.engine) for way in ways("hf")}
    assert ("int8", "openvino") in found
    assert ("int8", "transformers") not in found
    assert {way.kind for way in ways("hf", ["int4"])} == {"int4"}
    with pytest.raises(UsageError, match="did you mean 'int4'"):
        ways("hf", ["imt4"])
    with pytest.raises(UsageError, match=r"nothing to search .distill: it trains"):
        ways("hf", ["distill"])
