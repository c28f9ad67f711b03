"""`report.pdf`: the report to hand on, set by typst; needs no network and no installed font."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from importlib import resources
from pathlib import Path
from typing import Any

from weightcut.files import write_whole
from weightcut.records.results import Results
from weightcut.reports import charts, measures, tables, text, view
from weightcut.reports import json as json_report
from weightcut.reports.tables import Table

FILE = "report.pdf"
FONT = "Libertinus Serif"  # lies in typst itself
_SCRIPTS = ("LATIN", "GREEK", "CYRILLIC", "HEBREW", "ARABIC")  # that its fonts hold
_EVIDENCE_ROWS = 7
_ALARMS, _ALARM_LETTERS = 3, 320
_REASONS, _REASON_LETTERS = 6, 200
_SUMMARY_LETTERS = 1200
_PAGE_LETTERS = 165  # that stand side by side in a table over a landscape page
_FIGURE_LETTERS = 14
_NAME_LETTERS = 26
NO_BREAK_SPACE = "\u00a0"
ZERO_WIDTH_SPACE = "\u200b"
_UNBROKEN = re.compile(r"\S{19,}")


def write(results: Results, folder: Path) -> Path:
    """Write `report.pdf`; the same results give the same bytes."""
    import typst

    layout = resources.files("weightcut.reports.templates").joinpath("report.typ").read_bytes()
    data: bytes = typst.compile(
        layout,
        format="pdf",
        ignore_system_fonts=True,
        sys_inputs={"data": json.dumps(_data(results), ensure_ascii=False)},
        timestamp=0,
    )
    path = folder / FILE
    write_whole(path, data)
    return path


def _data(whole: Results) -> dict[str, Any]:
    results, digest = _shown(whole), hashlib.sha256(json_report.encoded(whole)).hexdigest()
    page = view.page(results)
    figures = charts.figures(results)
    alarms = [("Missing", gap) for gap in page.gaps] + [("Warning", w) for w in page.warnings]
    long = [one for one in alarms[:_ALARMS] if len(one[1]) > _ALARM_LETTERS]
    notices = [*long, *alarms[_ALARMS:], *(("Note", note) for note in page.notes)]
    small = [charts.pareto(results, "latency", charts.NARROW, height=250)]
    small += [f for f in charts.figures(results, charts.NARROW) if f.key.startswith("retention")]
    return {
        "title": page.title,
        "study": _broken(page.study),
        "footer": f"{text.shorten(page.study, 60)} · results {digest[:16]}",
        "facts": _facts(results, digest),
        "recommended": None if page.recommended is None else _broken(page.recommended),
        "summary": _broken(text.shorten(page.summary, _SUMMARY_LETTERS), 60),
        "figures": page.figures,
        "alarms": [(a, _broken(text.shorten(b, _ALARM_LETTERS), 60)) for a, b in alarms[:_ALARMS]],
        "notices": [(a, _broken(b, 60)) for a, b in notices],
        "evidence": {
            "charts": [_chart(figure) for figure in small[:2]],
            "table": _laid_out(_evidence(results, page.tables[0])),
            "reasons": _why(results),
        },
        "charts": [_chart(figure) for figure in figures],
        "tables": [_laid_out(table) for table in page.tables],
        "rule": page.rule,
        "reasons": [_reasons(item) for item in page.reasons],
        "guards": _laid_out(page.guards),
        "agreement": page.agreement,
        "method": page.method,
        "limits": page.limits,
        "conditions": _pairs(page.conditions),
        "machine": _pairs(page.machine),
        "skipped": _pairs(page.skipped),
        "reproduce": [_broken(line, 60) for line in page.reproduce],
    }


def _facts(results: Results, digest: str) -> list[tuple[str, str]]:
    """Return what the title page says of the study."""
    model = results.conditions.get("model") or results.conditions.get("checkpoint") or {}
    named = model.get("reference") if isinstance(model, dict) else model
    versions = results.conditions.get("versions")
    version = versions.get("weightcut") if isinstance(versions, dict) else None
    machine = results.machine
    cores, memory = machine.get("cores"), text.finite(machine.get("memory_bytes"))
    parts = [machine.get("cpu"), f"{cores} cores" if cores else None]
    parts.append(text.size(memory) if memory else None)
    parts += [gpu.get("name") if isinstance(gpu, dict) else gpu for gpu in _listed(machine, "gpus")]
    facts = {
        "Model": named,
        "Baseline": results.baseline,
        "Variants": str(len(results.variants)),
        "Tasks": ", ".join(measures.task_names(results)),
        "Machine": ", ".join(text.plain(part) for part in parts if part),
        "weightcut": version,
        "results.json": f"SHA-256 {digest}",
    }
    return [(key, _broken(text.plain(value), 70)) for key, value in facts.items() if value]


def _listed(data: dict[str, Any], key: str) -> list[Any]:
    found = data.get(key)
    return list(found) if isinstance(found, list | tuple) else []


def _chart(figure: charts.Figure) -> dict[str, str]:
    svg = "" if figure.chart is None else charts.still(figure.chart, font=FONT)
    return {**figure._asdict(), "chart": "", "svg": svg}


def _evidence(results: Results, overview: Table) -> Table:
    """Return the rows of the overview that the recommendation rests on, as many as fit."""
    order = {results.recommended: 0, results.baseline: 1}
    named = dict(zip((v.name for v in results.variants), overview.rows, strict=False))
    chosen = sorted(
        results.variants,
        key=lambda v: (order.get(v.name, 2), not v.on_frontier, -(measures.speedup(v) or 0)),
    )[:_EVIDENCE_ROWS]
    rest = len(results.variants) - len(chosen)
    more = f" {rest} more variants stand in the tables below." if rest > 0 else ""
    return Table(
        overview.key,
        "The evidence",
        overview.columns,
        [named[v.name] for v in chosen if v.name in named],
        overview.caption + more,
        overview.missing,
    )


def _why(results: Results) -> list[str]:
    """Return the reasons for the recommended variant: its verdict's, and its guards' evidence."""
    chosen = measures.find(results, results.recommended)
    if chosen is None:
        return []
    says = [f"{guard.name}: {guard.says}" for guard in chosen.guards]
    reasons = [*chosen.verdict_reasons, *says][:_REASONS]
    return [_broken(text.shorten(text.plain(one), _REASON_LETTERS), 40) for one in reasons]


def _reasons(item: view.Reasons) -> dict[str, Any]:
    return asdict(item) | {
        "name": _broken(item.name, 60),
        "reasons": [_broken(reason, 60) for reason in item.reasons],
        "errors": [_broken(error, 60) for error in item.errors],
    }


def _pairs(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(_broken(key, 30), _broken(value, 66)) for key, value in pairs]


def _laid_out(table: Table) -> dict[str, Any]:
    """Return a table as parts that each fit the width of a page, the names in all of them."""
    table = _with_short_names(table)
    parts = []
    if table.rows:
        for chosen in _columns_by_page(table):
            columns = [table.columns[i] for i in chosen]
            rows = [[_cell(row[i]) for i in chosen] for row in table.rows]
            widths = [
                _width([c.label, *(r[i]["text"] for r in rows)]) for i, c in enumerate(columns)
            ]
            share = min(1.0, sum(widths) / (0.85 * _PAGE_LETTERS))
            parts.append(
                {"columns": [asdict(c) for c in columns], "rows": rows, "widths": widths}
                | {"share": share}
            )
    return {
        "title": table.title,
        "caption": table.caption,
        "missing": table.missing,
        "parts": parts,
    }


def _with_short_names(table: Table) -> Table:
    """Return a table whose first column leaves room for the others."""
    rows = [
        [row[0]._replace(text=text.shorten(row[0].text, _NAME_LETTERS)), *row[1:]]
        for row in table.rows
    ]
    return replace(table, rows=rows)


def _cell(cell: tables.Cell) -> dict[str, str]:
    # A figure and its unit stay on one line.
    short = len(cell.text) < _FIGURE_LETTERS and not cell.text.endswith("]")
    shown = cell.text.replace(" ", NO_BREAK_SPACE) if short else _broken(cell.text)
    return {"text": shown, "kind": cell.kind}


def _columns_by_page(table: Table) -> Iterator[list[int]]:
    """Yield the columns that stand side by side, the first one always among them."""
    widths = [
        _width([column.label, *(row[i].text for row in table.rows)])
        for i, column in enumerate(table.columns)
    ]
    chosen, room = [0], _PAGE_LETTERS - widths[0]
    for index, width in enumerate(widths[1:], start=1):
        if width > room and len(chosen) > 1:
            yield chosen
            chosen, room = [0], _PAGE_LETTERS - widths[0]
        chosen.append(index)
        room -= width
    yield chosen


def _width(texts: Sequence[str]) -> int:
    """Return about how many letters wide a column is: an interval stands below its value."""
    longest = max(
        max(map(text.columns_wide, one.split(" [") if one.endswith("]") else [one]))
        for one in texts[1:] or texts
    )
    heading = max(map(text.columns_wide, texts[0].split()), default=1)
    return min(60, max(5, heading, longest)) + 2


def _broken(value: str, longest: int = 18) -> str:
    """Return text in which a line may end within every run of letters longer than that."""

    def cut(found: re.Match[str]) -> str:
        run = found.group()
        if len(run) <= longest:
            return run
        parts = re.findall(rf"[^-_/.,:=()|]{{1,{longest}}}[-_/.,:=()|]*|[-_/.,:=()|]+", run)
        return ZERO_WIDTH_SPACE.join(parts)

    return _UNBROKEN.sub(cut, value)


def _shown(results: Results) -> Results:
    """Return the results in letters that the fonts have."""
    return Results.model_validate(_readable(results.model_dump(mode="json", by_alias=True)))


def _readable(data: Any) -> Any:
    if isinstance(data, dict):
        return {letters(key): _readable(value) for key, value in data.items()}
    if isinstance(data, list):
        return [_readable(value) for value in data]
    return letters(data) if isinstance(data, str) else data


def letters(value: str) -> str:
    """Return text with each letter that the fonts lack as its name or its number."""
    return value if value.isascii() else "".join(map(_letter, value))


def _letter(letter: str) -> str:
    name = unicodedata.name(letter, "")
    category = unicodedata.category(letter)
    if category.startswith("L") and not name.startswith((*_SCRIPTS, "MODIFIER", "FEMININE")):
        return f"⟨{ord(letter):X}⟩"
    if ord(letter) > 0xFFFF or unicodedata.east_asian_width(letter) in "WF":
        return f":{name.lower().replace(' ', '-')}:" if category == "So" else f"⟨{ord(letter):X}⟩"
    return letter
