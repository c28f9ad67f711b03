"""`report.md`: the report as GitHub-flavoured Markdown, tables and no pictures."""

from __future__ import annotations

import re
from pathlib import Path

from weightcut.files import write_whole
from weightcut.records.results import Results
from weightcut.reports import view
from weightcut.reports.templates import render

FILE = "report.md"
_SPECIAL = re.compile(r"([\\`*_\[\]#|~$])")
_LIST_ITEM = re.compile(r"^(\s*\d*)([-+=.)](?:\s|$))")


def write(results: Results, folder: Path) -> Path:
    """Write `report.md`."""
    path = folder / FILE
    filters = {"escape": escape, "fence": _fence}
    text = render("report.md.j2", filters, page=view.page(results))
    write_whole(path, re.sub(r"\n{3,}", "\n\n", text).encode())
    return path


def escape(value: object) -> str:
    """Return untrusted text so that Markdown shows it as it is, on one line."""
    line = " ".join(str(value).splitlines())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _LIST_ITEM.sub(r"\1\\\2", _SPECIAL.sub(r"\\\1", line))


def _fence(line: str) -> str:
    """Return a line that cannot end the code block it stands in."""
    return line.replace("```", "` ` `")
