"""The page Router: what routing saves, what can be promised, and one's own prompt tried."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weightcut.dashboard import answers, jobs, runs, sheet
from weightcut.dashboard import show as page
from weightcut.dashboard.runs import Revision
from weightcut.errors import WeightcutError
from weightcut.reports import routing as routing_report
from weightcut.reports import text
from weightcut.reports.charts.figure import WIDE, Figure

if TYPE_CHECKING:
    from weightcut.routing.promises import Offer, Offers
    from weightcut.routing.router import Decision, Router
    from weightcut.routing.table import Table

_POLICIES = ("linear", "blend", "knn", "forest", "boosted", "rules", "length")
_QUALITIES = ("the study's own", "pass@1", "codebleu")
_HEADINGS = (
    "quality to keep", "threshold", "kept on calibration", "cost saved", "answered by lighter ones",
)  # fmt: skip


def show(run: Path | None, place: Path) -> None:  # noqa: ARG001
    """Show the page."""
    import streamlit as st

    page.heading("Router", "Each prompt to the lightest variant that answers it well enough.")
    if run is None or not runs.has_database(run):
        page.say("There is no run with answers yet: a router learns from them.", "quiet")
        return
    one, two, three = st.columns(3)
    quality = one.selectbox("Quality", _QUALITIES, key="router-quality")
    policy = two.selectbox(
        "Policy", _POLICIES, key="router-policy",
        help="How it is predicted which variant will do; blend and boosted take a minute",
    )  # fmt: skip
    confidence = float(
        three.slider("Confidence of the promise", 0.5, 0.99, 0.95, 0.01, key="router-confidence")
    )
    metric = None if quality == _QUALITIES[0] else quality
    own = [task.kind for task in answers.spec(run).tasks if task.source]
    if own:  # its prompts are in a file that the run names: reading them would run it
        page.notice("Not here", f"The task {own[0]} is one of your own, and no page runs its file.")
        page.say(f"If you trust it: weightcut router fit {shlex.quote(str(run))}")
        return
    if not _wanted(run):
        page.say("A router is learnt from the answers of this run; it takes some seconds.")
        return
    try:
        with st.spinner("Learning and calibrating …"):
            found = _offers(run, metric, str(policy), confidence, runs.revision(run))
    except WeightcutError as error:
        page.complain(error)
        return
    warnings = _table(run, metric, runs.revision(run)).warnings
    for warning in warnings:
        page.notice("Warning", warning, "warning")
    promised = _promise(found, run.name, metric or answers.spec(run).keep.metric, warnings)
    _try(run, _with(found.router, promised), promised)
    _against_baselines(run, metric)


def _wanted(run: Path) -> bool:
    """Return whether the reader has asked for a router of this run."""
    import streamlit as st

    kept = st.session_state.setdefault("routers", set())
    if st.button("Learn a router", type="primary", icon=":material/school:", key="learn"):
        kept.add(str(run))
    return str(run) in kept


@lru_cache(maxsize=4)
def _table(run: Path, metric: str | None, _files: Revision) -> Table:
    from weightcut.routing.runs import run_outcomes
    from weightcut.routing.table import build_table

    made = runs.reading(run, lambda store: run_outcomes(store, metric))
    numbered = [(f"row {n}", row) for n, row in enumerate(made.rows, 1)]
    there = any(row["variant"] == made.baseline for row in made.rows)
    found = build_table(numbered, run.name, full=made.baseline if there else None)
    return replace(found, warnings=(*made.notes, *found.warnings))


@lru_cache(maxsize=8)
def _offers(
    run: Path, metric: str | None, policy: str, confidence: float, files: Revision
) -> Offers:
    from weightcut.routing.promises import offers

    return offers(_table(run, metric, files), policy, confidence)


def _promise(found: Offers, run: str, quality: str, warnings: Sequence[str]) -> Offer:
    """Show the slider and what is promised at its place; return that promise."""
    import streamlit as st

    page.section("Promise")
    offered = {offer.promise.keep: offer for offer in found.offers}
    first = 0.95 if 0.95 in offered else next(iter(offered))
    keep = st.select_slider(
        "Share of the full model's quality to keep: it sets the threshold",
        list(offered), first, format_func=lambda share: f"{share:.0%}", key="router-keep",
    )  # fmt: skip
    chosen = offered[keep]
    page.say(chosen.promise.says, "lead")
    page.tiles(
        [
            ("threshold of the score", _threshold(found.router, chosen)),
            ("kept on calibration", text.share(chosen.promise.kept)),
            ("cost saved there", text.share(chosen.promise.saved)),
            ("answered by lighter ones", text.share(chosen.lighter)),
        ]
    )
    page.figure("promises", lambda width: _chart(found, keep, width))
    lines = [_line(found.router, offer) for offer in found.offers]
    with st.expander("All thresholds and what each promises"):
        page.rows(_HEADINGS, lines, right=range(len(_HEADINGS)))
    document = sheet.Sheet(
        f"Router: promises of {run}", [chosen.promise.says, *warnings],
        [sheet.Grid("Promises", _HEADINGS, lines)], figures=[_chart(found, keep, WIDE)],
        data={
            "run": run,
            "quality": quality,
            "warnings": list(warnings),
            "variants": list(found.router.variants),
            "costs": list(found.router.costs),
            "qualities": list(found.router.qualities),
            "policy": found.router.policy.kind,
            "promises": [asdict(offer) for offer in found.offers],
        },
    )  # fmt: skip
    sheet.exports(document.files("router-promises"), "promises")
    return chosen


def _with(router: Router, offer: Offer) -> Router:
    return replace(router, allowance=offer.promise.allowance)


def _threshold(router: Router, offer: Offer) -> str:
    finite = [t for t in _with(router, offer).thresholds.values() if math.isfinite(t)]
    if not finite:
        return "none: all to the full model"
    return text.score(finite[0]) if finite[0] > 0 else "0: every prompt passes"


def _line(router: Router, offer: Offer) -> list[str]:
    made = offer.promise
    return [
        f"{made.keep:.0%}",
        _threshold(router, offer),
        text.share(made.kept),
        text.share(made.saved),
        text.share(offer.lighter),
    ]


def _chart(found: Offers, keep: float, width: int) -> Figure:
    from weightcut.reports.charts.routing import promises

    rows = [
        {"keep": o.promise.keep, "saved": o.promise.saved, "kept": o.promise.kept}
        for o in found.offers
    ]
    return promises(rows, keep, width)


def _try(run: Path, router: Router, offer: Offer) -> None:
    import streamlit as st

    page.section("Try a prompt")
    known = _prompts(run)
    own = "your own"
    name = st.selectbox(
        "Prompt", [own, *known], key=f"try-{run.name}", format_func=lambda one: text.plain(one),
        help="One of the run's, whose answers are stored, or your own",
    )  # fmt: skip
    if name == own:
        prompt = st.text_area("Your prompt", key="own-prompt", height=140, max_chars=20_000)
    else:
        prompt = known[name]
        page.write(f"<pre class='wc-code'>{page.block(prompt)}</pre>")
    if not prompt.strip():
        return
    decision = router.decide(prompt)
    lighter = _lighter(router, decision)
    page.notice("Decision", f"{decision.variant} answers: {decision.reason}")
    headings = ("variant", "will it do? (0 to 1)", "must reach", "mean cost", "mean quality")
    lines = _scores(router, decision)
    page.rows(headings, lines, right=(1, 2, 3, 4))
    if name == own:
        given = _ask(run, (lighter, router.full), prompt)
    else:
        task, _, sample = name.partition("/")
        stored = answers.answers(run, task, (lighter, router.full), (sample, 0))
        given = {v: answers.shown(one) for v, one in stored.items() if one is not None}
        _columns(given, {v: answers.mark(one.values) for v, one in stored.items() if one})
    document = sheet.Sheet(
        "Router: a prompt", [f"{decision.variant} answers: {decision.reason}", offer.promise.says],
        [sheet.Grid("Scores", headings, lines)],
        [("Prompt", prompt), *((f"Answer of {v}", said) for v, said in given.items())],
    )  # fmt: skip
    sheet.exports(document.files("router-prompt"), "try")


def _prompts(run: Path) -> dict[str, str]:
    spec = answers.spec(run)
    found = {}
    for task in answers.tasks(run)[:3]:
        named = next(t for t in spec.tasks if t.kind == task)
        for sample, repeat in answers.index(run, task).ids[:200]:
            said = answers.prompt(named, sample)[0] if repeat == 0 else ""
            if said:
                found[f"{task}/{sample}"] = said
    return found


def _lighter(router: Router, decision: Decision) -> str:
    """Return the lighter variant to show beside the full one: the chosen, or the likeliest."""
    if decision.variant != router.full:
        return decision.variant
    return max(router.variants[:-1], key=lambda name: decision.scores[name])


def _scores(router: Router, decision: Decision) -> list[list[str]]:
    thresholds = router.thresholds
    lines = []
    for name, cost, quality in zip(router.variants, router.costs, router.qualities, strict=True):
        needed = thresholds.get(name, math.nan)
        lines.append(
            [
                text.plain(name) + (" (full)" if name == router.full else ""),
                text.score(decision.scores[name]),
                text.score(needed) if math.isfinite(needed) else text.MISSING,
                text.milliseconds(1000 * cost),
                text.score(quality),
            ]
        )
    return lines


def _ask(run: Path, pair: tuple[str, str], prompt: str) -> dict[str, str]:
    """Let both models answer where the reader asks for it; return their answers."""
    import streamlit as st

    from weightcut.dashboard.generate import Question, generate

    kept = st.session_state.setdefault("asked", {})
    key = (str(run), pair, prompt)
    if st.button("Ask both models", icon=":material/forum:", key="ask"):
        try:
            with st.spinner("Both models answer, one after the other …"):
                kept[key] = generate(Question(folder=run, variants=pair, prompt=prompt))
        except WeightcutError as error:
            page.complain(error)
    found: dict[str, dict[str, Any]] = kept.get(key, {})
    given = {name: str(answer["text"]) for name, answer in found.items()}
    about = {
        name: f"{answer['tokens']} tokens, {text.milliseconds(1000 * answer['seconds'])}"
        + (", cut at the token limit" if answer["cut"] else "")
        for name, answer in found.items()
    }
    _columns(given, about)
    return given


def _columns(given: Mapping[str, str], about: Mapping[str, str]) -> None:
    import streamlit as st

    if not given:
        return
    for column, (name, said) in zip(st.columns(len(given)), given.items(), strict=True):
        with column:
            page.write(
                f"<div class='wc-answer'><b>{page.escape(name)}</b>"
                f"<span class='quiet'>{page.escape(about.get(name, ''))}</span></div>"
                f"<pre class='wc-code' data-testid='answer'>{page.block(said)}</pre>"
            )


def _against_baselines(run: Path, metric: str | None) -> None:
    import streamlit as st

    page.section("Against baselines")
    page.say(
        "Every policy on random splits of the answers, beside random routing, hindsight, and "
        "always the cheapest or the full model. It takes a minute or two.", "quiet",
    )  # fmt: skip
    kept = st.session_state.setdefault("evaluations", {})
    key = (str(run), metric, runs.revision(run))
    if st.button("Evaluate", icon=":material/insights:", key="evaluate"):
        asked = [f"--quality={metric}"] if metric else []
        try:
            with st.spinner("Evaluating every policy …"):
                kept[key] = jobs.ask(["router", "evaluate", *asked, "--splits=3", "--", str(run)])
        except WeightcutError as error:
            page.complain(error)
    result = kept.get(key)
    if result is None:
        return
    for line in result["says"]:
        page.say(line)
    page.figure("baselines", lambda width: _baselines(result, width), title=False)
    lines = routing_report.table_rows(result)
    page.rows(routing_report.HEADINGS, lines, right=range(1, len(routing_report.HEADINGS)))
    document = sheet.Sheet(
        "Router: against baselines", result["says"],
        [sheet.Grid("Policies", routing_report.HEADINGS, lines)],
        figures=[_baselines(result, WIDE)], data=result,
    )  # fmt: skip
    sheet.exports(document.files("router-evaluation"), "evaluation")


def _baselines(result: Mapping[str, Any], width: int) -> Figure:
    from weightcut.reports.charts.routing import cost_quality

    title = "Quality by budget"
    chart = cost_quality(result, width - (200 if width > WIDE else 170))
    caption = "Up and to the left is better; the dashed line is the quality to keep."
    return Figure("baselines", title, caption, f"{title}, one line a policy.", chart)
