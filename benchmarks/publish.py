"""Take a run into README and docs: python benchmarks/publish.py runs/quickstart."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from weightcut.records import Results
from weightcut.reports import charts, tables
from weightcut.reports import json as results_json
from weightcut.reports.markdown import escape
from weightcut.reports.view import summary

ROOT = Path(__file__).parent.parent
MARKS = re.compile(r"(<!-- quickstart: [^>]*-->\n).*?(<!-- /quickstart -->)", re.DOTALL)


def main() -> None:
    """Copy the results, draw the charts, and write the README's section."""
    results = results_json.read(Path(sys.argv[1]) / "results.json")
    kept = ROOT / "docs" / "quickstart"
    kept.mkdir(exist_ok=True)
    results_json.write(results, kept)
    images = ROOT / "docs" / "images"
    images.mkdir(exist_ok=True)
    for cost in ("latency", "memory", "size"):
        figure = charts.pareto(results, cost)
        if figure.chart is not None:
            charts.save(figure.chart, images / f"quickstart-{cost}.svg")
    readme = ROOT / "README.md"
    readme.write_text(MARKS.sub(lambda m: m[1] + section(results) + m[2], readme.read_text()))


def section(results: Results) -> str:
    """Return the README's section on a run."""
    machine = results.machine
    gpus = ", ".join(gpu["name"] for gpu in machine["gpus"]) or "no GPU"
    table = tables.overview(results)
    rows = [" | ".join(escape(column.label) for column in table.columns)]
    rows.append(" | ".join("---" for _ in table.columns))
    rows += [" | ".join(escape(cell.text) for cell in row) for row in table.rows]
    return "\n".join(
        [
            f"On {machine['cpu']}, {machine['cores']} cores, "
            f"{machine['memory_bytes'] / 2**30:.0f} GiB, {gpus}:\n",
            *(f"| {row} |" for row in rows),
            f"\n> {summary(results)}\n",
            "![Quality against latency](docs/images/quickstart-latency.svg)\n\n",
        ]
    )


if __name__ == "__main__":
    main()
