"""Run the benchmarks that need no data but the project's, and print their tables.

    python benchmarks/all.py [--quick] [--pairs PAIRS.jsonl --peer-python PYTHON]

With --pairs, CodeBLEU is timed too (see benchmarks/codebleu.py). What is worth keeping goes into
docs/benchmarks.md, with date and machine.
"""

from __future__ import annotations

import argparse
import datetime as dt
import subprocess
import sys
from pathlib import Path

from weightcut.hardware.probe import machine

HERE = Path(__file__).parent
GENERATION = "The whole HumanEval generation: transformers' own batches, our engines"


def main() -> None:
    """Run the scripts one after another and print what they print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small inputs, for a first look")
    parser.add_argument("--pairs", help="pairs of code for CodeBLEU")
    parser.add_argument("--peer-python", help="interpreter that has the package codebleu")
    arguments = parser.parse_args()
    scripts = [
        (GENERATION, "generate.py", ["--limit", "16"] if arguments.quick else []),
        ("Running untrusted programs", "sandbox.py", []),
    ]
    if arguments.pairs:
        peer = ["--peer-python", arguments.peer_python] if arguments.peer_python else []
        scripts.append(("CodeBLEU", "codebleu.py", [arguments.pairs, *peer]))
    here = machine()
    print(
        f"{dt.datetime.now(dt.UTC):%Y-%m-%d}, {here['cpu']}, {here['cores']} cores, "
        f"{here['memory_bytes'] / 2**30:.0f} GiB, Python {here['python']}.",
        flush=True,
    )
    for title, script, more in scripts:
        print(f"\n## {title}\n\n`python benchmarks/{' '.join([script, *more])}`\n", flush=True)
        subprocess.run([sys.executable, str(HERE / script), *more], check=True)


if __name__ == "__main__":
    main()
