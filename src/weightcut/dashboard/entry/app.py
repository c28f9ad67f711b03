"""The pages: which run they show, and how one gets from one to another."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path


def main() -> None:
    """Draw the page that the reader is on."""
    import streamlit as st

    from weightcut.dashboard import show, sidebar
    from weightcut.dashboard.launch import RUNS
    from weightcut.dashboard.pages import PAGES

    st.set_page_config(page_title="weightcut", page_icon="✂️", layout="wide")
    place = Path(os.environ.get(RUNS, "runs"))
    pages = [
        st.Page(
            partial(_draw, path, place),
            title=title,
            icon=icon,
            url_path=path if path != "overview" else "",
            default=path == "overview",
        )
        for path, title, icon in PAGES
    ]
    chosen = st.navigation(pages)
    show.style()
    sidebar.draw(place)
    chosen.run()


def _draw(name: str, place: Path) -> None:
    from importlib import import_module

    from weightcut.dashboard import show, sidebar
    from weightcut.errors import WeightcutError

    page = import_module(f"weightcut.dashboard.pages.{name}")
    try:
        page.show(sidebar.chosen(place), place)
    except WeightcutError as error:
        show.complain(error)


if __name__ == "__main__":
    main()
