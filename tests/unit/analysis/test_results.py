from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.studies import QUICKSTART, Study, example_study

from weightcut.analysis.results import build_results
from weightcut.records import Cell, CellKey, Keep, Named, Observation, ProfileSpec, Step
from weightcut.records.results import Results, VariantResult

FULL, OV16, INT8, INT4, NF4, PRUNED, DISTILLED = (c.name for c in QUICKSTART)


@pytest.fixture(scope="module")
def results() -> Results:
    return build_results(*example_study())


def _of(results: Results, name: str) -> VariantResult:
    return next(v for v in results.variants if v.name == name)


def _without(study: Study, *keys: CellKey, state: str = "failed", text: str = "killed") -> Study:
    cells = [
        c.model_copy(update={"state": state, "error": text, "reason": text, "manifest": {}})
        if c.key in keys
        else c
        for c in study.cells
    ]
    kept = {k: rows for k, rows in study.observations.items() if k not in keys}
    return study._replace(cells=cells, observations=kept)


def _task(variant: str, task: str = "humaneval") -> CellKey:
    return CellKey(variant=variant, stage="task", task=task)


def test_verdicts_of_the_example(results: Results) -> None:
    assert {v.name: v.verdict for v in results.variants} == {
        FULL: "baseline",
        OV16: "retained",
        INT8: "retained",
        INT4: "lost",
        NF4: "undecided",
        PRUNED: "lost",
        DISTILLED: "undecided",
    }


def test_the_rambling_model_with_more_codebleu_is_lost_and_pointed_out(results: Results) -> None:
    int4 = _of(results, INT4)
    assert int4.against_baseline is not None
    assert int4.against_baseline.codebleu_retention.low > 1.1  # type: ignore[union-attr,operator]
    assert int4.verdict == "lost"
    assert not int4.on_frontier
    assert {g.name for g in int4.guards if g.worse} == {"pass@1", "degenerate", "kl"}
    (warning,) = [w for w in results.warnings if w.startswith(INT4)]
    assert "believe execution" in warning
    assert results.agreement is not None
    assert results.agreement.variants is not None
    assert results.agreement.variants < 0.5


@pytest.mark.parametrize("short", [OV16, FULL])
@pytest.mark.parametrize("state", ["failed", "running"])
def test_nothing_is_retained_on_the_answers_that_ended_first(short: str, state: str) -> None:
    study = example_study()
    cells = [
        c.model_copy(update={"state": state}) if c.key == _task(short) else c for c in study.cells
    ]
    found = _of(build_results(*study._replace(cells=cells)), OV16)
    assert found.verdict == "undecided"
    assert not found.meets_target
    assert f"{_task(short)} has only a part" in found.verdict_reasons[0]


def test_speedups_against_the_baseline_and_the_same_engine(results: Results) -> None:
    int8, plain = _of(results, INT8), _of(results, OV16)
    latency = {v.name: v.profile.latency_ms.p50 for v in results.variants if v.profile}
    against = int8.against_baseline
    assert against is not None
    assert against.latency_speedup == pytest.approx(latency[FULL] / latency[INT8])  # type: ignore[operator]
    assert against.speedup_same_engine == pytest.approx(latency[OV16] / latency[INT8])  # type: ignore[operator]
    assert plain.against_baseline is not None
    assert plain.against_baseline.speedup_same_engine == 1
    assert against.size_ratio == pytest.approx(135 / 269)
    assert against.throughput_speedup.keys() == {"1", "8", "32"}


def test_the_same_engine_with_other_options_is_the_same_engine() -> None:
    study = example_study()
    quick = Named(kind="openvino", settings={"precision": "f32"})
    variants = tuple(
        v.model_copy(update={"engine": quick}) if v.name == INT8 else v for v in study.spec.variants
    )
    spec = study.spec.model_copy(update={"variants": variants})
    int8 = _of(build_results(*study._replace(spec=spec)), INT8)
    assert int8.against_baseline is not None
    assert int8.against_baseline.speedup_same_engine == pytest.approx(
        _of(build_results(*study), INT8).against_baseline.speedup_same_engine  # type: ignore[union-attr]
    )


def test_the_recommended_variant_is_retained_fast_and_explained(results: Results) -> None:
    assert results.recommended == INT8
    assert _of(results, INT8).meets_target
    for part in (INT8, "times faster", "memory", "worst case", NF4, "more samples"):
        assert part in results.recommendation


def test_json_has_the_public_keys_and_reads_back(results: Results) -> None:
    text = results.model_dump_json(by_alias=True)
    data = json.loads(text, parse_constant=lambda name: pytest.fail(name))
    assert data["schema"] == 1
    variant = data["variants"][2]
    assert variant["tasks"]["humaneval"]["n"] == 164
    assert variant["tasks"]["humaneval"]["pass@1"].keys() >= {"value", "low", "high"}
    assert variant["tasks"]["perplexity"].keys() >= {
        *("value", "low", "high", "bits_per_byte", "kl", "top1_agreement")
    }
    assert variant["against_baseline"].keys() >= {
        *("codebleu_retention", "pass@1_retention", "latency_speedup", "speedup_same_engine"),
        *("size_ratio", "memory_ratio"),
    }
    assert Results.model_validate_json(text) == results


def test_the_baseline_keeps_itself_exactly(results: Results) -> None:
    against = _of(results, FULL).against_baseline
    assert against is not None
    kept = against.codebleu_retention
    assert kept is not None
    assert (kept.value, kept.low, kept.high) == (1, 1, 1)
    assert _of(results, FULL).tasks["perplexity"]["kl"] == 0


def test_the_same_observations_give_the_same_results(results: Results) -> None:
    study = example_study()
    shuffled = {k: list(reversed(rows)) for k, rows in reversed(study.observations.items())}
    assert build_results(*study._replace(observations=shuffled)) == results


def test_a_failed_cell_makes_its_variant_unmeasured_and_keeps_the_error() -> None:
    study = _without(example_study(), _task(INT8), text="killed: out of memory")
    results = build_results(*study)
    int8 = _of(results, INT8)
    assert int8.verdict == "unmeasured"
    assert "out of memory" in int8.verdict_reasons[0]
    assert int8.errors == [f"{INT8}/humaneval: killed: out of memory"]
    assert not results.complete
    assert results.recommended == OV16


def test_a_skipped_variant_is_listed_with_its_reason() -> None:
    keys = [k for k in example_study().observations if k.variant == NF4]
    results = build_results(*_without(example_study(), *keys, state="skipped", text="no GPU"))
    assert {s.cell for s in results.skipped} == {str(k) for k in keys}
    assert results.complete
    nf4 = _of(results, NF4)
    assert nf4.verdict == "unmeasured"
    assert "no GPU" in nf4.verdict_reasons[0]
    assert nf4.against_baseline is None


def test_without_a_baseline_nothing_is_judged_or_recommended() -> None:
    study = example_study()
    keys = [k for k in study.observations if k.variant == FULL]
    results = build_results(*_without(study, *keys))
    assert {v.verdict for v in results.variants} == {"unmeasured"}
    assert results.recommended is None
    assert all("baseline" in r for v in results.variants[1:] for r in v.verdict_reasons)


def test_nothing_has_run_yet() -> None:
    study = example_study()._replace(cells=[], observations={})
    results = build_results(*study)
    assert not results.complete
    assert results.recommended is None
    assert "has not been run" in results.variants[0].verdict_reasons[0]


def test_a_study_of_the_baseline_alone_recommends_it() -> None:
    results = build_results(*example_study(characters=QUICKSTART[:1]))
    assert results.recommended == FULL
    assert results.variants[0].on_frontier


def test_a_missing_guard_withholds_retained() -> None:
    results = build_results(*_without(example_study(), _task(INT8, "perplexity")))
    int8 = _of(results, INT8)
    assert int8.verdict == "undecided"
    assert any("kl" in reason for reason in int8.verdict_reasons)


def test_without_profiles_the_smallest_retained_is_recommended() -> None:
    study = example_study()
    keys = [k for k in study.observations if k.stage == "profile"]
    results = build_results(*_without(study, *keys, state="skipped"))
    assert results.recommended == INT8
    assert not _of(results, INT8).meets_target
    assert "was not measured" in results.recommendation


@pytest.mark.parametrize(("rss_megabytes", "deployed"), [(1600, "full"), (900, "ov-int8")])
def test_a_slower_variant_is_deployed_for_its_memory_not_for_its_disk_space(
    rss_megabytes: float, deployed: str
) -> None:
    slow = replace(QUICKSTART[2], speed=0.6, rss_megabytes=rss_megabytes)
    results = build_results(*example_study(characters=(QUICKSTART[0], slow)))
    assert _of(results, INT8).verdict == "retained"
    assert results.recommended == deployed
    if deployed == FULL:
        assert "neither faster nor lighter in memory" in results.recommendation


def test_a_trained_variant_that_is_surely_better_is_deployed() -> None:
    trained = replace(
        QUICKSTART[0],
        name="trained",
        recipe=(Step(kind="lora"),),
        changed=0.9,
        quality=1.3,
        kl=0.01,
    )
    results = build_results(*example_study(characters=(QUICKSTART[0], trained)))
    assert results.recommended == "trained"
    assert "surely better" in results.recommendation


def test_values_that_are_no_numbers_are_left_out_and_told() -> None:
    study = example_study()
    key = _task(INT8)
    rows = list(study.observations[key])
    rows[3] = rows[3].model_copy(update={"values": {**rows[3].values, "codebleu": math.nan}})
    results = build_results(*study._replace(observations={**study.observations, key: rows}))
    kept = _of(results, INT8).against_baseline.codebleu_retention  # type: ignore[union-attr]
    assert kept is not None
    assert kept.n == 163
    assert any("codebleu" in w and "not usable" in w for w in results.warnings)


def test_a_variant_whose_values_are_partly_no_numbers_is_not_called_retained() -> None:
    study = example_study()
    key = _task(INT8)
    assert _of(build_results(*study), INT8).verdict == "retained"
    rows = list(study.observations[key])
    rows[3] = rows[3].model_copy(update={"values": {**rows[3].values, "codebleu": math.nan}})
    results = build_results(*study._replace(observations={**study.observations, key: rows}))
    variant = _of(results, INT8)
    assert variant.verdict == "undecided"
    assert "1 values of codebleu on humaneval are no numbers" in variant.verdict_reasons[0]


def test_samples_that_only_one_side_has_are_told() -> None:
    study = example_study()
    rows = {**study.observations, _task(INT8): study.observations[_task(INT8)][:100]}
    results = build_results(*study._replace(observations=rows))
    assert any("100 samples against the baseline's 164" in w for w in results.warnings)


@pytest.mark.parametrize(
    ("metric", "task"),
    [
        ("pass@1", "humaneval"),
        ("passed", "humaneval"),
        ("perplexity", "perplexity"),
        ("bits_per_byte", "perplexity"),
        ("top1_agreement", "perplexity"),
        ("degenerate", "humaneval"),
    ],
)
def test_other_primary_metrics(metric: str, task: str) -> None:
    results = build_results(*example_study(keep=Keep(metric=metric, share=0.9)))
    assert results.keep["task"] == task
    kept = {v.name: v.against_baseline.primary_retention for v in results.variants}  # type: ignore[union-attr]
    assert kept[OV16].value == pytest.approx(1, abs=0.06)  # type: ignore[union-attr]
    assert kept[PRUNED].value < 0.85  # type: ignore[union-attr,operator]
    assert _of(results, PRUNED).verdict == "lost"


def test_fewer_timed_prompts_than_asked_for_are_told() -> None:
    study = example_study()
    asked = study.spec.model_copy(update={"profile": ProfileSpec(prompts=30)})
    (said,) = [w for w in build_results(asked, *study[1:]).warnings if "latencies rest" in w]
    assert said.startswith("latencies rest on 24 different prompts, not on 30")
    assert not [w for w in build_results(*study).warnings if "latencies rest" in w]
    at_work = [
        one.model_copy(update={"state": "running"}) if one.key.stage == "profile" else one
        for one in study.cells
    ]
    found = build_results(asked, study.machine, study.conditions, at_work, study.observations)
    assert not [w for w in found.warnings if "latencies rest" in w]


def test_a_primary_metric_that_nothing_measures() -> None:
    results = build_results(*example_study(keep=Keep(metric="bleurt")))
    assert {v.verdict for v in results.variants if v.name != INT4} >= {"unmeasured"}
    assert "bleurt" in results.variants[0].verdict_reasons[0]
    assert results.recommended is None


def test_several_answers_to_a_sample_are_clustered() -> None:
    one = build_results(*example_study(answers=1))
    four = build_results(*example_study(answers=4))
    task = _of(four, FULL).tasks["humaneval"]
    assert (task["n"], task["answers"]) == (164, 656)
    assert task["pass@1"]["value"] < task["pass@4"]["value"]
    assert _of(four, INT4).verdict == "lost"
    width = [
        kept.high - kept.low  # type: ignore[operator]
        for r in (one, four)
        if (kept := _of(r, NF4).against_baseline.codebleu_retention)  # type: ignore[union-attr]
    ]
    assert width[1] < width[0]


def test_two_hundred_variants() -> None:
    many = [QUICKSTART[0], *(replace(QUICKSTART[2], name=f"v{i}") for i in range(199))]
    results = build_results(*example_study(samples=20, windows=4, characters=many))
    assert len(results.variants) == 200
    assert "over 199 variants" in results.variants[5].guards[0].says


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_no_hole_in_the_data_is_a_crash(data: st.DataObject) -> None:
    study = example_study(seed=1, samples=data.draw(st.integers(1, 14)), windows=3)
    bad = st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -1.0, 1e308])
    rows: dict[CellKey, list[Observation]] = {}
    cells: list[Cell] = []
    for cell in study.cells:
        fate = data.draw(st.sampled_from(["keep", "keep", "drop", "fail", "break"]))
        if fate != "drop":
            cells.append(cell.model_copy(update={"state": "failed"}) if fate == "fail" else cell)
        if fate == "keep":
            rows[cell.key] = study.observations[cell.key]
        if fate == "break":
            value = data.draw(bad)
            rows[cell.key] = [
                o.model_copy(update={"values": {k: value for k in o.values if k != "passed"}})
                for o in study.observations[cell.key]
            ]
    results = build_results(*study._replace(cells=cells, observations=rows))
    text = results.model_dump_json(by_alias=True)
    assert Results.model_validate_json(text).study == "example"
    for variant in results.variants:
        assert variant.verdict_reasons
        assert variant.verdict != "retained" or variant.against_baseline is not None
