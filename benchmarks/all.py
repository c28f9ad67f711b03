"""Run every benchmark and write docs/benchmarks.md: python benchmarks/all.py [--quick]."""

from __future__ import annotations

import argparse
import datetime as dt
import subprocess
import sys
from pathlib import Path

from weightcut.hardware.probe import machine

HERE = Path(__file__).parent
SCRIPTS = {
    "generate.py": "The whole HumanEval generation: transformers' own batches, our engines",
    "sandbox.py": "Running untrusted programs",
    "codebleu.py": "CodeBLEU",
}
QUICK = {"generate.py": ["--limit", "16"]}


def main() -> None:
    """Run the scripts one after another and write what they print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small inputs, for a first look")
    parser.add_argument("--out", type=Path, default=HERE.parent / "docs" / "benchmarks.md")
    arguments = parser.parse_args()
    here = machine()
    parts = [
        "# Benchmarks\n",
        "Printed by `python benchmarks/all.py`; ratios are within one run on one machine.\n",
        f"{dt.datetime.now(dt.UTC):%Y-%m-%d}, {here['cpu']}, {here['cores']} cores, "
        f"{here['memory_bytes'] / 2**30:.0f} GiB, Python {here['python']}.\n",
    ]
    for script, title in SCRIPTS.items():
        more = QUICK.get(script, []) if arguments.quick else []
        command = [sys.executable, str(HERE / script), *more]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        shown = " ".join(["python", f"benchmarks/{script}", *more])
        parts.append(f"## {title}\n\n`{shown}`\n\n{done.stdout.strip()}\n")
    arguments.out.write_text("\n".join(parts))


if __name__ == "__main__":
    main()
