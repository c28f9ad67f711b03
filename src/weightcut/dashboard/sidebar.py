"""Which run the pages show."""

from __future__ import annotations

from pathlib import Path

from weightcut.dashboard import runs, show
from weightcut.reports import text

_KEY = "run"


def draw(place: Path) -> None:
    """Show the choice of a run and how far the chosen one is."""
    import streamlit as st

    with st.sidebar:
        found = runs.find_runs(place)
        if not found:
            show.say("There is no run yet. Start one on the page Run.", "quiet")
            return
        names = list(found)
        # The address names the run that was drawn last, unless the reader came by a link or went
        # back. As `index`, it would make another list of this one, and the next choice be lost.
        asked = st.query_params.get(_KEY)
        if asked in names and asked != st.session_state.get("wc-run"):
            st.session_state["run-chosen"] = asked
        labels = show.labels(names, lambda one: text.shorten(text.plain(one), 60))
        name = st.selectbox("Run", names, key="run-chosen", format_func=labels.__getitem__)
        st.session_state["wc-run"] = name
        if st.query_params.get(_KEY) != name:
            st.query_params[_KEY] = name
        state = runs.state(found[name])
        show.write(f"<span class='wc-state'>{show.escape(state.words)}</span>")


def chosen(place: Path) -> Path | None:
    """Return the folder of the run that the reader chose, None where there is no run."""
    import streamlit as st

    found = runs.find_runs(place)
    name = st.session_state.get("wc-run")
    return found.get(name) if name in found else next(iter(found.values()), None)
