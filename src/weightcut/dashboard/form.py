"""The form that a study is put together with; its result is the text of a study file."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import yaml

from weightcut import registry
from weightcut.dashboard import drafts
from weightcut.dashboard import show as page
from weightcut.dashboard.drafts import Draft, Variant
from weightcut.errors import UsageError
from weightcut.reports import text

_METRICS = ("codebleu", "pass@1", "bleu", "exact_match", "perplexity")
_TEMPLATES = {"quickstart": "quickstart: seven variants of a small code model", "": "empty"}


def draw() -> str:
    """Show the form and return the study as YAML; UsageError where it cannot be one."""
    import streamlit as st

    source = st.selectbox(
        "Begin with", list(_TEMPLATES), format_func=_TEMPLATES.__getitem__, key="template"
    )
    base = drafts.built_in(source) if source else Draft()
    draft = _general(base, source)
    draft = replace(draft, variants=_variants(base, source))
    draft = _measured(draft, source)
    _methods()
    made = drafts.as_yaml(draft)
    with st.expander("As a study file", icon=":material/code:"):
        if not st.toggle("Edit by hand", key="by-hand"):
            page.write(f"<pre class='wc-code'>{page.block(made)}</pre>")
            return made
        return str(st.text_area("Study file", value=made, height=420, key="yaml"))


def name_of(study: str) -> str:
    """Return the name that a study file gives its study."""
    try:
        data = yaml.safe_load(study)
    except (yaml.YAMLError, ValueError, RecursionError):  # such as the 45th day of a month
        return "study"
    name = data.get("study") if isinstance(data, dict) else None
    return name if isinstance(name, str) and name else "study"


def _general(base: Draft, source: str) -> Draft:
    import streamlit as st

    left, right = st.columns(2)
    study = left.text_input("Name of the study", base.study, key=f"study-{source}", max_chars=80)
    model = right.text_input(
        "Model", base.model, key=f"model-{source}",
        help="An alias, a folder, a GGUF file, or hub:org/name@revision",
    )  # fmt: skip
    return replace(base, study=study, model=model)


def _variants(base: Draft, source: str) -> tuple[Variant, ...]:
    import streamlit as st

    key = f"rows-{source}"
    rows: list[int] = st.session_state.setdefault(key, list(range(len(base.variants))))
    page.section("Variants")
    engines = list(registry.names("engine"))
    found = []
    for place, row in enumerate(rows):
        first = base.variants[row] if row < len(base.variants) else None
        shown: Literal["visible", "collapsed"] = "visible" if place == 0 else "collapsed"
        with st.container(key=f"wc-variant-{source}-{row}"):
            one, two, three, four = st.columns([3, 3, 7, 1], vertical_alignment="bottom")
            name = one.text_input(
                "Name", first.name if first else f"variant-{row + 1}", max_chars=80,
                key=f"name-{source}-{row}", label_visibility=shown,
            )  # fmt: skip
            engine = two.selectbox(
                "Engine", engines, key=f"engine-{source}-{row}", label_visibility=shown,
                index=engines.index(first.engine if first else "openvino"),
            )  # fmt: skip
            recipe = three.text_input(
                "Recipe", first.recipe if first else "int8", key=f"recipe-{source}-{row}",
                label_visibility=shown, placeholder="as it is",
                help="Steps joined by |, such as prune-depth(ratio=0.15) | int8",
            )  # fmt: skip
            if four.button("", icon=":material/close:", key=f"drop-{source}-{row}",
                           help="Leave this variant out", disabled=len(rows) == 1):  # fmt: skip
                rows.remove(row)
                st.rerun()
        found.append(Variant(name.strip(), engine, recipe))
    if st.button("Add a variant", icon=":material/add:"):
        rows.append(max(rows, default=-1) + 1)
        st.rerun()
    return tuple(found)


def _measured(draft: Draft, source: str) -> Draft:
    import streamlit as st

    page.section("What is measured")
    names = [variant.name for variant in draft.variants]
    one, two, three = st.columns(3)
    baseline = one.selectbox(
        "Baseline", names, key=f"baseline-{source}", format_func=text.plain,
        index=names.index(draft.baseline) if draft.baseline in names else 0,
    )  # fmt: skip
    tasks = two.multiselect(
        "Tasks", list(registry.names("task")), list(draft.tasks), key=f"tasks-{source}"
    )
    limit = three.number_input(
        "Samples of each task", 0, 1_000_000, draft.limit, key=f"limit-{source}", help="0 is all"
    )
    metric = one.selectbox(
        "Quality to keep", _METRICS, _METRICS.index(draft.metric), key=f"metric-{source}"
    )
    share = two.number_input("Share to keep", 0.01, 1.0, draft.share, 0.01, key=f"share-{source}")
    confidence = three.number_input(
        "Confidence", 0.51, 0.999, draft.confidence, 0.01, format="%.3f",
        key=f"confidence-{source}",
    )  # fmt: skip
    speedup = one.number_input(
        "Speed-up to reach", 0.1, 1000.0, draft.speedup, 0.1, key=f"speedup-{source}"
    )
    counts = two.text_input(
        "Concurrent sequences timed", ", ".join(map(str, draft.concurrency)),
        key=f"counts-{source}",
    )  # fmt: skip
    seed = three.number_input("Seed", 0, 2**31, draft.seed, key=f"seed-{source}")
    profile = one.checkbox("Measure speed and memory", draft.profile, key=f"profile-{source}")
    load = two.checkbox("Measure under load", draft.load, key=f"load-{source}")
    return replace(
        draft, baseline=baseline or "", tasks=tuple(tasks), limit=int(limit), metric=str(metric),
        share=float(share), confidence=float(confidence), speedup=float(speedup), seed=int(seed),
        profile=profile, load=load, concurrency=_counts(counts),
    )  # fmt: skip


def _counts(said: str) -> tuple[int, ...]:
    parts = [part.strip() for part in said.split(",") if part.strip()]
    if not parts or not all(part.isdecimal() and 0 < int(part) < 10_000 for part in parts):
        raise UsageError(
            f"{said!r} are no numbers of concurrent sequences", cure="write them like 1, 8, 32"
        )
    return tuple(map(int, parts))


def _methods() -> None:
    import streamlit as st

    with st.expander("The compression methods", icon=":material/menu_book:"):
        page.rows(("method", "what it does", "settings and defaults"), drafts.methods())
