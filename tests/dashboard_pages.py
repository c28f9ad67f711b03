"""Pages of the dashboard drawn and used without a browser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from weightcut.dashboard import sheet


def draw(name: str, run: str | None, place: str) -> None:
    """Draw one page; what AppTest runs (its source is taken, so it stands alone)."""
    from importlib import import_module
    from pathlib import Path

    from weightcut.dashboard import show
    from weightcut.errors import WeightcutError

    show.style()
    try:
        import_module(f"weightcut.dashboard.pages.{name}").show(
            None if run is None else Path(run), Path(place)
        )
    except WeightcutError as error:
        show.complain(error)


def opened(name: str, run: Path | None, place: Path) -> Any:
    """Return a page that has been drawn once."""
    from streamlit.testing.v1 import AppTest

    arguments = (name, None if run is None else str(run), str(place))
    return again(AppTest.from_function(draw, args=arguments, default_timeout=600))


def again(app: Any) -> Any:
    """Draw a page as its reader has now set it; no exception may come of it."""
    app.run()
    assert not app.exception, app.exception[0].message
    return app


def said(app: Any) -> str:
    """Return the markup of a page."""
    return "\n".join(element.body for element in app.get("html"))


Files = dict[str, dict[str, Callable[[], bytes]]]


def exported(patch: pytest.MonkeyPatch) -> Files:
    """Return what will hold the files that pages offer: key of the buttons -> label -> content."""
    found: Files = {}
    offer = sheet.exports

    def exports(files: Any, key: str) -> None:
        found[key] = {label: make for label, _, _, make in files}
        offer(files, key)

    patch.setattr(sheet, "exports", exports)
    return found
