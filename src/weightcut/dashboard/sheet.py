"""What a page shows, as files: CSV, JSON, HTML and PDF."""

from __future__ import annotations

import csv
import html
import io
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from weightcut import registry
from weightcut.records import Results
from weightcut.reports import charts, text
from weightcut.reports.charts import Figure
from weightcut.reports.csv import written
from weightcut.reports.pdf import FONT, letters

File = tuple[str, str, str, Callable[[], bytes]]
"""Label, file name, media type, content."""


@dataclass(frozen=True)
class Grid:
    """A table of plain values."""

    title: str
    headings: Sequence[str]
    lines: Sequence[Sequence[Any]]

    def records(self) -> list[dict[str, Any]]:
        """Return each line by heading."""
        return [dict(zip(self.headings, line, strict=True)) for line in self.lines]


@dataclass(frozen=True)
class Sheet:
    """A page as a document. texts: longer ones, title -> text, set as they are.

    data: what the JSON file holds; by default the tables.
    """

    title: str
    says: Sequence[str] = ()
    grids: Sequence[Grid] = ()
    texts: Sequence[tuple[str, str]] = ()
    figures: Sequence[Figure] = ()
    data: Mapping[str, Any] | None = field(default=None)

    def files(self, stem: str) -> list[File]:
        """Return the files, named by `stem`; each is made when it is asked for."""
        return files(stem, lambda: self)

    def csv(self) -> bytes:
        """Return the tables; several follow each other, with their titles and a blank line."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\r\n")
        for number, grid in enumerate(self.grids):
            if number:
                writer.writerow([])
            if len(self.grids) > 1:
                writer.writerow([written(grid.title)])
            writer.writerow([written(name) for name in grid.headings])
            writer.writerows([written(_flat(value)) for value in line] for line in grid.lines)
        return stream.getvalue().encode(errors="replace")  # half a letter is none

    def json(self) -> bytes:
        """Return the data; numbers that JSON does not know are null."""
        data: Any = self.data
        if data is None:
            data = {
                "title": self.title,
                "says": list(self.says),
                "tables": [{"title": g.title, "rows": g.records()} for g in self.grids],
                "texts": dict(self.texts),
            }
        made = json.dumps(_plain(data), indent=2, ensure_ascii=False) + "\n"
        return made.encode(errors="replace")

    def html(self) -> bytes:
        """Return one page that loads nothing, with still pictures of the charts."""
        body = [f"<h1>{_escape(self.title)}</h1>", *(f"<p>{_escape(s)}</p>" for s in self.says)]
        for figure in self.figures:
            if figure.chart is not None:
                body.append(f"<h2>{_escape(figure.title)}</h2>{charts.still(figure.chart)}")
                body.append(f"<p class='quiet'>{_escape(figure.caption)}</p>")
        for grid in self.grids:
            heads = "".join(f"<th>{_escape(name)}</th>" for name in grid.headings)
            lines = "".join(
                f"<tr>{''.join(f'<td>{_escape(_told(v))}</td>' for v in line)}</tr>"
                for line in grid.lines
            )
            body.append(
                f"<h2>{_escape(grid.title)}</h2><div><table><thead><tr>{heads}</tr></thead>"
                f"<tbody>{lines}</tbody></table></div>"
            )
        body += [
            f"<h2>{_escape(title)}</h2><pre>{html.escape(text.block(value))}</pre>"
            for title, value in self.texts
        ]
        return _PAGE.format(title=html.escape(text.plain(self.title)), body="".join(body)).encode()

    def pdf(self) -> bytes:
        """Return the document as typst sets it; all text is data to it, never markup."""
        import typst

        data = {
            "title": letters(text.plain(self.title)),
            "says": [letters(text.plain(one)) for one in self.says],
            "figures": [
                {"title": f.title, "svg": charts.still(f.chart, font=FONT), "caption": f.caption}
                for f in self.figures
                if f.chart is not None
            ],
            "grids": [
                {
                    "title": letters(text.plain(g.title)),
                    "headings": [letters(text.plain(h)) for h in g.headings],
                    "lines": [[_broken(letters(_told(v))) for v in line] for line in g.lines],
                }
                for g in self.grids
            ],
            "texts": [(letters(text.plain(t)), letters(text.block(v))) for t, v in self.texts],
        }
        made: bytes = typst.compile(
            _LAYOUT.encode(),
            format="pdf",
            ignore_system_fonts=True,
            sys_inputs={"data": json.dumps(data)},
            timestamp=0,
        )
        return made


def files(stem: str, make: Callable[[], Sheet]) -> list[File]:
    """Return a sheet's files, named by `stem`; the sheet too is made when one is asked for."""
    return [
        ("CSV", f"{stem}.csv", "text/csv", lambda: make().csv()),
        ("JSON", f"{stem}.json", "application/json", lambda: make().json()),
        ("HTML", f"{stem}.html", "text/html", lambda: make().html()),
        ("PDF", f"{stem}.pdf", "application/pdf", lambda: make().pdf()),
    ]


def report_files(results: Results, stem: str) -> list[File]:
    """Return the reports of results as files."""

    def maker(name: str) -> Callable[[], bytes]:
        def make() -> bytes:
            with tempfile.TemporaryDirectory(prefix="weightcut-") as folder:
                path: Path = registry.load("report", name)(results, Path(folder))
                return path.read_bytes()

        return make

    kinds = {
        "csv": ("CSV", "text/csv"),
        "json": ("JSON", "application/json"),
        "html": ("HTML", "text/html"),
        "pdf": ("PDF", "application/pdf"),
    }
    return [(label, f"{stem}.{name}", media, maker(name)) for name, (label, media) in kinds.items()]


def exports(files: Sequence[File], key: str) -> None:
    """Show a button for each file; nothing is made before it is asked for."""
    import streamlit as st

    with st.container(horizontal=True, key=f"wc-export-{key}"):
        for label, name, media, make in files:
            st.download_button(
                label,
                make,
                file_name=name,
                mime=media,
                key=f"{key}-{label}",
                on_click="ignore",
                icon=":material/download:",
                help=f"Download what this page shows as {label}",
            )


def stem(*parts: str) -> str:
    """Return a file name without its suffix: letters, digits, dots and dashes alone."""
    words = [
        "".join(c if (c.isascii() and c.isalnum()) or c in ".-" else "-" for c in p) for p in parts
    ]
    return "-".join(word.strip("-.")[:60] for word in words if word.strip("-.")) or "weightcut"


def _flat(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool | None) else _told(value)


def _told(value: Any) -> str:
    if value is None:
        return text.MISSING
    if isinstance(value, bool):
        return text.yes(value)
    if isinstance(value, int | float):
        return text.number(value, 5) if isinstance(value, float) else f"{value:,}"
    if isinstance(value, list | tuple):
        return ", ".join(map(_told, value))
    return text.plain(value)


def _broken(value: str) -> str:
    """Return text that may break within long words."""
    return " ".join(
        "\u200b".join(word[i : i + 14] for i in range(0, len(word), 14))
        for word in value.split(" ")
    )


def _plain(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {str(key): _plain(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_plain(value) for value in data]
    if isinstance(data, float):
        return text.finite(data)
    return data if isinstance(data, str | int | bool | None) else str(data)


def _escape(value: str) -> str:
    return f"<bdi>{html.escape(text.plain(value))}</bdi>"


_PAGE = (
    "<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{title}</title>"
    "<meta http-equiv='Content-Security-Policy' content=\"default-src 'none'; "
    "style-src 'unsafe-inline'\"><style>"
    "body{{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}}"
    "div{{overflow-x:auto}}table{{border-collapse:collapse;font-size:13px}}"
    "td,th{{padding:.3rem .6rem;text-align:left;border-bottom:1px solid #ddd;vertical-align:top}}"
    "pre{{white-space:pre-wrap;overflow-wrap:anywhere;background:#f6f7f8;padding:12px}}"
    ".quiet{{color:#59616b;font-size:13px}}svg{{max-width:100%;height:auto}}"
    "</style></head><body>{body}</body></html>\n"
)
_LAYOUT = """
#let page-data = json(bytes(sys.inputs.data))
#set document(title: page-data.title, author: "weightcut", date: none)
#set text(font: ("Libertinus Serif", "DejaVu Sans Mono"), size: 10pt, number-width: "tabular")
#set page(paper: "a4", flipped: true, margin: 1.8cm, numbering: "1 / 1")
#set par(spacing: 0.9em)
= #page-data.title
#for says in page-data.says { par(says) }
#for one in page-data.figures {
  block(breakable: false)[
    == #one.title
    #image(bytes(one.svg), format: "svg", width: 62%)
    #text(size: 8.5pt, fill: rgb("#59616b"), one.caption)
  ]
}
#for one in page-data.grids [
  == #one.title
  #set text(size: 8pt)
  #set par(justify: false)
  #if one.headings.len() > 0 {
    table(
      columns: one.headings.len(),
      stroke: (x: none, y: 0.4pt + rgb("#dfe2e6")),
      inset: (x: 4pt, y: 4pt),
      table.header(..one.headings.map(h => strong(h))),
      ..one.lines.flatten(),
    )
  }
]
#for pair in page-data.texts [
  == #pair.at(0)
  #set text(size: 7.5pt, font: "DejaVu Sans Mono")
  #raw(pair.at(1), block: true)
]
"""
