"""How large a model fits: memory and time to quantize models of 1 to 16 billion random weights.

    python benchmarks/capacity.py                  # 7B and 16B, int8 and int4; 60 GB of disk
    python benchmarks/capacity.py --shapes llama-1b llama-3b --folder /data
    python benchmarks/capacity.py --shapes llama-1b --recipes "gptq(windows=8)" --limit 6

Shapes are those of benchmarks/shapes.py. One shape at a time is on the disk, and one quantized
copy of it; both are deleted. Each recipe runs in a process of its own. Memory is the
highest resident set (VmHWM), with the highest part of it that is not pages of files (RssAnon, read
20 times a second): a page of a file can be dropped, the rest cannot. --limit: GB that the highest
resident set may have; the exit code is 1 where it is above (default: 4 GB up to 8 billion weights,
else 8 GB).
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from shapes import SHAPES, write_shape

from weightcut.compression import recipe
from weightcut.compression.method import Context
from weightcut.data.blocks import token_blocks
from weightcut.data.corpus import documents
from weightcut.hardware.probe import machine
from weightcut.models.folder import weights
from weightcut.models.tokenizer import load_tokenizer
from weightcut.profiling.machine import peak_rss_bytes

ROOT = Path(__file__).parent.parent
MARKS = re.compile(r"(<!-- capacity: [^>]*-->\n).*?(<!-- /capacity -->)", re.DOTALL)
KEPT, PAGE = ROOT / "docs" / "measured" / "capacity.json", ROOT / "docs" / "benchmarks.md"
RECIPES = ("rtn(bits=8)", "rtn(bits=4)")
HEAD = ("shape", "weights", "recipe", "seconds", "s per 10^9 weights", "CPU s", "peak RSS, GB",
        "not of files, GB", "result, GB", "limit, GB")  # fmt: skip
HEADING = ("| " + " | ".join(HEAD) + " |", "|---|---|---|" + "---:|" * (len(HEAD) - 3))


def main() -> int:
    """Write each shape, quantize it in each way, print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", nargs="+", default=["llama-7b", "llama-16b"], choices=SHAPES)
    parser.add_argument("--recipes", nargs="+", default=RECIPES)
    parser.add_argument("--folder", type=Path, help="where there is room; default: the system's")
    parser.add_argument("--layers", type=int, help="so many of the layers, to see memory sooner")
    parser.add_argument("--limit", type=float, help="GB that the resident set may have")
    parser.add_argument("--write", action="store_true", help="into docs/benchmarks.md, each row")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        print(json.dumps(quantize(chosen.one[0], Path(chosen.one[1]), Path(chosen.one[2]))))
        return 0
    print("\n".join(HEADING), flush=True)
    within = True
    for name in chosen.shapes:
        with TemporaryDirectory(prefix="weightcut-capacity-", dir=chosen.folder) as folder:
            source = write_shape(name, Path(folder) / "source", layers=chosen.layers)
            count = sum(info.elements for info in weights(source).values())
            limit = chosen.limit or (8.0 if name == "llama-16b" else 4.0)
            for text in chosen.recipes:
                row = elsewhere(text, source, Path(folder) / "out")
                row |= {
                    "shape": name if not chosen.layers else f"{name}, {chosen.layers} layers",
                    "weights": count,
                    "recipe": text,
                    "limit": limit,
                }
                within &= row["peak"] <= limit * 1e9
                print(line(row), flush=True)
                if chosen.write:
                    publish(row)
    return 0 if within else 1


def publish(row: dict[str, Any]) -> None:
    """Keep a row beside those of earlier runs, and write the table of docs/benchmarks.md."""
    here = machine()
    row |= {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": f"{here['cpu']}, {here['cores']} cores",
    }
    kept = json.loads(KEPT.read_text()) if KEPT.is_file() else []
    kept = [r for r in kept if (r["shape"], r["recipe"]) != (row["shape"], row["recipe"])]
    kept = sorted([*kept, row], key=lambda r: (r["weights"], r["recipe"]))
    KEPT.write_text(json.dumps(kept, indent=1) + "\n")
    when = "; ".join(sorted({f"{r['date']}, {r['machine']}" for r in kept}))
    told = "\n".join([f"{when}.\n", *HEADING, *map(line, kept), ""])
    PAGE.write_text(MARKS.sub(lambda m: m[1] + told + m[2], PAGE.read_text()))


def elsewhere(text: str, source: Path, out: Path) -> dict[str, Any]:
    """Quantize in a process of its own; what it wrote is deleted."""
    out.mkdir()
    done = subprocess.run(
        [sys.executable, __file__, "--one", text, str(source), str(out)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    shutil.rmtree(out)
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return row


def quantize(text: str, source: Path, out: Path) -> dict[str, Any]:
    """Run one method and return what it took."""
    (step,) = recipe.parse_recipe(text)

    def texts(split: Any, blocks: int, length: int) -> Any:
        pages = (document.text for document in documents(split))
        return token_blocks(pages, load_tokenizer(source), blocks, length, source=split)

    with TemporaryDirectory(dir=out.parent) as scratch, Watch() as watch:
        start = time.perf_counter()
        recipe.build(step).compress(source, out, Context(source, texts, Path(scratch)))
        seconds = time.perf_counter() - start
    return {
        "seconds": seconds,
        "cpu": time.process_time(),
        "peak": peak_rss_bytes(),
        "anonymous": watch.highest,
        "bytes": sum(path.stat().st_size for path in out.iterdir()),
    }


class Watch:
    """The highest anonymous resident memory of this process, in bytes, over its context."""

    def __init__(self) -> None:
        self.highest = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def _look(self) -> None:
        while not self._end.wait(0.05):
            status = Path("/proc/self/status").read_text()
            for row in status.splitlines():
                if row.startswith("RssAnon:"):
                    self.highest = max(self.highest, int(row.split()[1]) * 1024)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()


def line(row: dict[str, Any]) -> str:
    """Return a row of the table."""
    cells = (
        row["shape"],
        f"{row['weights'] / 1e9:.2f} B",
        row["recipe"],
        f"{row['seconds']:.0f}",
        f"{row['seconds'] / row['weights'] * 1e9:.1f}",
        f"{row['cpu']:.0f}",
        f"{row['peak'] / 1e9:.2f}",
        f"{row['anonymous'] / 1e9:.2f}",
        f"{row['bytes'] / 1e9:.2f}",
        f"{row['limit']:g}",
    )
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    sys.exit(main())
