"""CodeBLEU pairs a second: weightcut and the package `codebleu`, side by side.

    python benchmarks/codebleu.py PAIRS.jsonl [--peer-python PYTHON] [--rounds 5] [--json]

PAIRS has one JSON object a line with lang, reference and prediction. The package pins an older
tree-sitter than weightcut, so it lives in an environment of its own, whose interpreter is given
by --peer-python (there: `pip install "codebleu[all]==0.7.0"`); without it only weightcut is
timed. Each contestant scores every pair alone on one core, CPU time is taken, and the best of
the rounds counts, since other load can only add to it. Nothing is kept from one pair to the next:
weightcut's memory of analysed texts is off, even for the two texts of a pair. weightcut is timed
with its C extension and without it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Pair = dict[str, Any]
PEER = "codebleu 0.7.0"


def main() -> int:
    """Time the contestants in turn and print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--peer-python", help="interpreter that has the package codebleu")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", dest="as_json")
    parser.add_argument("--as-peer", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--as-ourselves", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    pairs = [json.loads(line) for line in options.pairs.read_text("utf-8").splitlines()]
    if options.as_peer:
        print(json.dumps({PEER: measure(pairs, peer_round, options.rounds)}))
        return 0
    from weightcut.metrics.code import native

    if options.as_ourselves:
        way = "in Python alone" if native.missing() else "with its extension"
        rates = {
            f"weightcut {mode}, {way}": measure(pairs, our_round(mode), options.rounds)
            for mode in MODES
        }
        print(json.dumps(rates))
        return 0
    rates = {}
    if options.peer_python:
        rates |= in_process_of_its_own(options, options.peer_python, "--as-peer", {})
    rates |= in_process_of_its_own(options, sys.executable, "--as-ourselves", {})
    if not native.missing():
        pure = {native.SWITCH: "1"}
        rates |= in_process_of_its_own(options, sys.executable, "--as-ourselves", pure)
    print(json.dumps(rates) if options.as_json else table(rates, pairs))
    return 0


MODES = ("compat", "fixed")


def in_process_of_its_own(
    options: argparse.Namespace, python: str, role: str, variables: dict[str, str]
) -> dict[str, dict[str, float]]:
    """Return the rates that one contestant measures of itself."""
    command = [python, __file__, str(options.pairs), role, "--rounds", str(options.rounds)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, env=os.environ | variables)
    rates: dict[str, dict[str, float]] = json.loads(done.stdout)
    return rates


def measure(
    pairs: list[Pair], score: Callable[[list[Pair]], None], rounds: int
) -> dict[str, float]:
    """Return pairs a CPU-second for each language and all together."""
    rates = {}
    seconds = 0.0
    for lang in sorted({pair["lang"] for pair in pairs}):
        some = [pair for pair in pairs if pair["lang"] == lang]
        score(some[:1])
        best = min(timed(score, some) for _ in range(rounds))
        rates[lang] = len(some) / best
        seconds += best
    return rates | {"all": len(pairs) / seconds}


def timed(score: Callable[[list[Pair]], None], pairs: list[Pair]) -> float:
    """Return the CPU-seconds of one round."""
    start = time.process_time()
    score(pairs)
    return time.process_time() - start


def our_round(mode: str) -> Callable[[list[Pair]], None]:
    """Return one round of weightcut."""
    from weightcut.metrics import codebleu as metric

    metric.REMEMBERED = 0  # each pair from scratch, as the package does it

    def score(pairs: list[Pair]) -> None:
        for pair in pairs:
            metric.codebleu(pair["reference"], pair["prediction"], pair["lang"], mode)

    return score


def peer_round(pairs: list[Pair]) -> None:
    """Run one round of the package."""
    import logging

    # This script has the package's name, and its folder stands first on the path.
    here = str(Path(__file__).resolve().parent)
    sys.path[:] = [folder for folder in sys.path if folder != here]
    from codebleu import calc_codebleu

    logging.disable(logging.WARNING)
    for pair in pairs:
        calc_codebleu([pair["reference"]], [pair["prediction"]], pair["lang"])


def table(rates: dict[str, dict[str, float]], pairs: list[Pair]) -> str:
    """Return the rates as a Markdown table, in pairs a CPU-second."""
    columns = list(next(iter(rates.values())))
    head = ["", *(f"{name} ({count(pairs, name)})" for name in columns), f"against {PEER}"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for name, rate in rates.items():
        ratio = f"{rate['all'] / rates[PEER]['all']:.1f}x" if PEER in rates else "not measured"
        cells = [name, *(f"{rate[column]:,.0f}" for column in columns), ratio]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def count(pairs: list[Pair], lang: str) -> int:
    """Return how many pairs are of a language."""
    return len([pair for pair in pairs if lang in ("all", pair["lang"])])


if __name__ == "__main__":
    sys.exit(main())
