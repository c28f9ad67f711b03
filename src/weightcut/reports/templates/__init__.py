"""The layouts of the text reports, and how they are filled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment

_ESCAPED = (".html.j2",)


def render(name: str, filters: Mapping[str, Callable[..., Any]] | None = None, **data: Any) -> str:
    """Return a filled layout; values in an HTML one are escaped, and an unknown one is an error."""
    environment = _environment()
    template = environment.overlay()
    template.filters = {**environment.filters, **(filters or {})}
    return template.get_template(name).render(**data)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("weightcut.reports", "templates"),
        # Markdown is escaped by a filter of its own.
        autoescape=lambda name: name is not None and name.endswith(_ESCAPED),  # noqa: S701
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
