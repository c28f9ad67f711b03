"""What readers choose on the pages Router, Samples, Compare and Run, and what comes of it."""

from __future__ import annotations

import html
import json
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

import pytest
import yaml
from tests.dashboard_pages import Files, again, exported, opened, said
from tests.dashboard_runs import small_study, with_real_names, write_run
from tests.scripted_models import humaneval_model, scripted_study
from tests.studies import Study

from weightcut.dashboard import answers, jobs, runs
from weightcut.dashboard.pages import router
from weightcut.models.scripted import ScriptedModel
from weightcut.records import Cell, CellKey, Named
from weightcut.reports import charts

pytest.importorskip("streamlit", reason="the extra `dashboard` is not installed")
PROMPT = "Write a function that returns the sorted values of a list."


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> Files:
    """What the pages offer to take along."""
    return exported(monkeypatch)


def _open(page: str, run: Path) -> Any:
    return opened(page, run, run.parent)


# Router


@pytest.fixture(scope="module")
def routed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of which a router can be learnt; its models are not on this machine."""
    folder = tmp_path_factory.mktemp("runs") / "routed"
    return write_run(folder, with_real_names(small_study(samples=120)))


def _learnt(run: Path) -> Any:
    app = _open("router", run)
    app.button(key="learn").click()
    return again(app)


def test_the_slider_sets_the_promise_the_threshold_and_the_decision(routed: Path) -> None:
    app = _learnt(routed)
    app.slider(key="router-confidence").set_value(0.5)
    app.text_area(key="own-prompt").input(PROMPT)
    again(app)
    found = router._offers(routed, None, "linear", 0.5, runs.revision(routed))
    names = app.select_slider(key="router-keep").options
    assert names == [f"{offer.promise.keep:.0%}" for offer in found.offers]
    chosen = []
    for offer in (found.offers[0], found.offers[-1]):
        app.select_slider(key="router-keep").set_value(offer.promise.keep)
        shown = said(again(app))
        assert html.escape(offer.promise.says) in shown
        decision = replace(found.router, allowance=offer.promise.allowance).decide(PROMPT)
        assert f"{decision.variant} answers: {decision.reason}" in shown
        chosen.append(decision.variant)
    assert chosen[0] != found.router.full
    assert chosen[-1] == found.router.full


def test_the_promises_are_of_the_quality_policy_and_confidence_chosen(
    routed: Path, files: Files
) -> None:
    app = _learnt(routed)
    made = json.loads(files["promises"]["JSON"]())
    assert (made["quality"], made["policy"]) == ("codebleu", "linear")
    app.selectbox(key="router-quality").select("pass@1")
    app.selectbox(key="router-policy").select("length")
    app.slider(key="router-confidence").set_value(0.75)
    again(app)
    made = json.loads(files["promises"]["JSON"]())
    assert (made["quality"], made["policy"]) == ("pass@1", "length")
    assert {offer["promise"]["confidence"] for offer in made["promises"]} == {0.75}
    scores = answers.index(routed, "humaneval").scores
    passed = [mean(one["passed"] for one in scores[name].values()) for name in made["variants"]]
    assert made["qualities"] == pytest.approx(passed)


def test_a_stored_prompt_is_shown_with_the_decision_and_both_answers(
    routed: Path, files: Files
) -> None:
    app = _learnt(routed)
    app.selectbox(key="try-routed").select("humaneval/007")
    shown = said(again(app))
    assert "filter_by_substring" in shown  # of the prompt
    assert shown.count("data-testid='answer'") == 2
    assert shown.count("def task_7(values):") == 2
    assert " answers: " in shown
    assert files["try"]["CSV"]().startswith(b"variant,")


def test_models_that_are_gone_are_told(routed: Path) -> None:
    app = _learnt(routed)
    app.text_area(key="own-prompt").input(PROMPT)
    again(app).button(key="ask").click()
    shown = said(again(app))
    assert "is not on this machine any more" in shown
    assert "Against baselines" in shown  # the rest of the page is there
    assert "data-testid='answer'" not in shown


@pytest.fixture(scope="module")
def scripted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run like `routed` whose models are scripted ones that are there."""
    place = tmp_path_factory.mktemp("runs")
    study = with_real_names(small_study(samples=120))
    engine = {"engine": Named(kind="scripted"), "recipe": ()}
    variants = tuple(one.model_copy(update=engine) for one in study.spec.variants)

    def change(cell: Cell) -> Cell:
        if cell.key.stage != "build":
            return cell
        model = ScriptedModel(otherwise=f"<b>I am {cell.key.variant}</b>\n")
        path = model.save(place / "models" / cell.key.variant, weight_bytes=10)
        artifact = cell.manifest["artifact"] | {"path": str(path), "format": "scripted"}
        return cell.model_copy(update={"manifest": {"artifact": artifact}})

    spec = study.spec.model_copy(update={"variants": variants})
    return write_run(place / "scripted", study._replace(spec=spec), change)


def test_both_models_answer_a_prompt(scripted: Path, files: Files) -> None:
    app = _learnt(scripted)
    app.text_area(key="own-prompt").input(PROMPT)
    shown = said(again(app))
    assert "data-testid='answer'" not in shown  # nobody is asked before the reader wants it
    app.button(key="ask").click()
    shown = said(again(app))
    found = router._offers(scripted, None, "linear", 0.95, runs.revision(scripted))
    decision = found.router.decide(PROMPT)
    taken = json.loads(files["try"]["JSON"]())["texts"]
    for name in (router._lighter(found.router, decision), "full"):
        assert html.escape(f"<b>I am {name}</b>") in shown
        assert f"<b>I am {name}</b>" in taken[f"Answer of {name}"]
    assert shown.count("data-testid='answer'") == 2
    app.text_area(key="own-prompt").input(PROMPT + " Quickly.")
    assert "data-testid='answer'" not in said(again(app))  # those were of the other prompt


def test_no_router_is_learnt_where_that_would_run_a_file_that_the_run_names(
    tmp_path: Path,
) -> None:
    file = tmp_path / "own.py"
    file.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    study = small_study(samples=24)
    tasks = (Named(kind="own", source=f"{file}:Own"),)
    spec = study.spec.model_copy(update={"tasks": tasks})
    app = _open("router", write_run(tmp_path / "run", study._replace(spec=spec)))
    assert "one of your own" in said(app)
    assert not app.button
    assert not (tmp_path / "ran").exists()


# Samples


def _two_tasks(study: Study) -> Study:
    """Return the study with the answers to the first twelve samples as a second task's."""
    more = {
        CellKey(variant=key.variant, stage="task", task="mbpp"): rows[:12]
        for key, rows in study.observations.items()
        if key.task == "humaneval"
    }
    cells = [Cell(key=key, state="done", attempts=1, seconds=1.0) for key in more]
    tasks = (*study.spec.tasks, Named(kind="mbpp"))
    return study._replace(
        spec=study.spec.model_copy(update={"tasks": tasks}),
        cells=[*study.cells, *cells],
        observations={**study.observations, **more},
    )


@pytest.fixture(scope="module")
def sampled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "sampled"
    return write_run(folder, _two_tasks(with_real_names(small_study(samples=64))))


VARIANTS = "shown-sampled-humaneval"


def test_every_filter_of_the_samples_shows_its_own(sampled: Path, files: Files) -> None:
    app = _open("samples", sampled)
    picked = ["full", "nf4", "ov-int4"]
    app.multiselect(key=VARIANTS).set_value(picked)
    counts = {}
    for which in answers.FILTERS:
        if [one for one in app.number_input if one.key == "page"]:
            app.number_input(key="page").set_value(4)  # more than the next filter may have
        app.selectbox(key="which").select(which)
        again(app)
        index = answers.index(sampled, "humaneval")
        ids = answers.matching(index, "full", picked, which)
        assert app.selectbox(key="sample").label == f"Sample ({len(ids)} found)"
        listed = files["samples"]["CSV"]().decode().splitlines()[1:]
        assert [line.partition(",")[0] for line in listed] == [sample for sample, _ in ids]
        counts[which] = len(ids)
    assert counts["all"] == 64
    assert all(counts.values())
    assert len(set(counts.values())) > 4


def test_a_sample_is_searched_by_its_name(sampled: Path) -> None:
    app = _open("samples", sampled)
    app.text_input(key="search-sampled").input("01")
    again(app)
    assert app.selectbox(key="sample").label == "Sample (11 found)"  # 001 and 010 to 019
    app.text_input(key="search-sampled").input("<nothing>")
    assert "No sample passes this filter." in said(again(app))
    app.text_input(key="search-sampled").input("")
    assert again(app).selectbox(key="sample").label == "Sample (64 found)"


def test_the_samples_of_another_task_are_shown(sampled: Path) -> None:
    app = _open("samples", sampled)
    task = app.selectbox(key="task-sampled")
    assert task.options == ["humaneval", "mbpp"]
    task.select("mbpp")
    again(app)
    assert app.selectbox(key="sample").label == "Sample (12 found)"


def test_the_answers_of_the_variants_chosen_are_shown(sampled: Path) -> None:
    app = _open("samples", sampled)
    app.selectbox(key="sample").select(("007", 0))
    again(app)
    picked = ["nf4", "ov-int4", "pruned-int8", "full"]
    app.multiselect(key=VARIANTS).set_value(picked)
    shown = said(again(app))
    assert shown.count("data-testid='answer'") == 4
    places = [shown.index(f"<b><bdi>{name}</bdi></b>") for name in picked]
    assert places == sorted(places)
    # The reader has chosen other variants, not another sample.
    assert app.selectbox(key="sample").value == ("007", 0)
    assert shown.count("def task_7(values):") >= 4
    app.multiselect(key=VARIANTS).set_value([])
    assert "Choose a variant." in said(again(app))


def test_samples_with_long_names_that_begin_alike_can_be_chosen(tmp_path: Path) -> None:
    def named(sample: str) -> str:
        return f"{'long' * 20}/{sample}"

    study = small_study(samples=6)
    changed = {
        key: [one.model_copy(update={"sample": named(one.sample)}) for one in rows]
        for key, rows in study.observations.items()
    }
    app = _open("samples", write_run(tmp_path / "run", study._replace(observations=changed)))
    for number in (0, 5, 2):
        one = (named(f"HumanEval/{number}"), 0)
        app.selectbox(key="sample").select(one)
        shown = said(again(app))
        assert app.selectbox(key="sample").value == one
        assert f"def task_{number}(values):" in shown


# Compare


def _drawn(app: Any) -> list[str]:
    """Return the names of the axes of the chart of parallel lines, in their order."""
    for chart in app.get("vega_lite_chart"):
        if chart.proto.alt.startswith("Parallel coordinates"):
            spec = json.loads(chart.proto.spec)
            found: list[str] = spec["layer"][0]["encoding"]["x"]["sort"]
            return found
    return []


def test_the_measures_chosen_are_compared(sampled: Path) -> None:
    app = _open("compare", sampled)
    measures = app.multiselect(key="measures-sampled")
    known = charts.axes(runs.results(sampled))
    assert measures.options == [one.name for one in known.values()]
    assert _drawn(app) == [known[key].name for key in measures.value]
    wanted = ["size", "latency", "humaneval/codebleu"]
    measures.set_value(wanted)
    assert _drawn(again(app)) == [known[key].name for key in wanted]
    app.multiselect(key="compare-sampled").set_value(["nf4", "full"])
    assert _drawn(again(app)) == [known[key].name for key in wanted]
    app.multiselect(key="measures-sampled").set_value(["size"])
    assert "it needs two variants and two measures" in said(again(app))
    app.multiselect(key="compare-sampled").set_value(["nf4"])
    assert "Choose at least 2 variants." in said(again(app))


# Run


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plans of `weightcut plan`, in which one variant does not fit."""
    ask = jobs.ask

    def asked(arguments: list[str], seconds: float = 600.0) -> Any:
        plan = ask(arguments, seconds)
        for cell in plan["cells"]:
            if cell["key"]["variant"] == "worse":
                cell["skip"] = "needs about <b>9 TB</b> of memory"
        return plan

    monkeypatch.setattr(jobs, "ask", asked)


def test_a_plan_says_what_is_infeasible_and_can_be_taken_along(
    tmp_path: Path, files: Files, plans: None
) -> None:
    study = scripted_study(tmp_path, humaneval_model(tmp_path / "model")).read_text()
    place = tmp_path / "runs"
    app = opened("run", None, place)
    app.toggle(key="by-hand").set_value(True)
    again(app).text_area(key="yaml").input(study)
    assert "plan" not in files
    next(one for one in again(app).button if one.label == "Show the plan").click()
    shown = said(again(app))
    why = "needs about <b>9 TB</b> of memory"
    assert "12 of 16" in shown
    assert html.escape(f"worse: {why}") in shown
    made = files["plan"]
    assert len(json.loads(made["JSON"]())["cells"]) == 16
    table = made["CSV"]().decode().splitlines()
    assert table[0] == "cell,recipe as run,time,memory,disk,remark"
    assert sum(line.endswith(f"infeasible: {why}") for line in table) == 4
    page = made["HTML"]().decode()
    assert "cells to run: 12 of 16" in page
    assert html.escape(why) in page
    assert made["PDF"]().startswith(b"%PDF-")
    assert not place.exists()  # a plan starts nothing
    app.text_area(key="yaml").input(study + yaml.safe_dump({"seed": 1}))
    assert "12 of 16" not in said(again(app))  # that plan was of the study as it was


# The run that the pages show


def draw_sidebar(place: str) -> None:
    """Draw the choice of a run; what AppTest runs."""
    from pathlib import Path

    from weightcut.dashboard import sidebar

    sidebar.draw(Path(place))


@pytest.mark.parametrize("stem", ["run-", "long-names-that-begin-alike-" * 4])
def test_one_run_after_another_is_chosen(tmp_path: Path, stem: str) -> None:
    from streamlit.testing.v1 import AppTest

    names = [f"{stem}{number}" for number in range(3)]
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / runs.STUDY).write_text("study: x")
    arguments = (str(tmp_path),)
    app = AppTest.from_function(draw_sidebar, args=arguments, default_timeout=600)
    app.query_params["run"] = names[1]
    assert again(app).session_state["wc-run"] == names[1]
    for name in (*names, *names):
        app.sidebar.selectbox[0].select(name)
        assert again(app).session_state["wc-run"] == name
        assert name in app.query_params["run"]
    app.query_params["run"] = names[0]  # by a link, or by going back
    assert again(app).session_state["wc-run"] == names[0]
    app.query_params.clear()  # by going to another page
    assert again(app).session_state["wc-run"] == names[0]
    assert names[0] in app.query_params["run"]
