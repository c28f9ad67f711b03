"""What the text is worth that a method calibrates on: source code against English prose.

    python benchmarks/calibration.py [--recipes int4 gptq] [--windows 16] [--length 256]
                                     [--limit 164] [--write]

The same recipe is built twice on the bundled model, on as many windows of the standard library's
source and of the Python documentation's topics (prose), then measured:
perplexity on held-out source and on held-out prose, and HumanEval (pass@1, CodeBLEU, mean tokens of
an answer). Perplexity can stay where HumanEval falls, and the other way round. `--write` puts the
table into docs/methods.md.
"""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from pydoc_data.topics import topics
from tempfile import TemporaryDirectory

from weightcut.compression import recipe as recipes
from weightcut.data.blocks import token_blocks
from weightcut.data.corpus import documents
from weightcut.hardware import probe
from weightcut.models.resolve import resolve
from weightcut.models.tokenizer import load_tokenizer
from weightcut.records import Artifact, Named
from weightcut.study.build import as_artifact, build_artifact, open_engine
from weightcut.study.prompts import task_requests
from weightcut.tasks.humaneval import HumanEval

MODEL = "smollm2-135m"
ENGINES = {"hf": "transformers", "openvino": "openvino"}
ROOT = Path(__file__).parent.parent
MARKS = re.compile(r"(<!-- calibration: [^>]*-->\n).*?(<!-- /calibration -->)", re.DOTALL)
HEAD = ("recipe", "calibrated on", "perplexity, code", "perplexity, prose", "HumanEval pass@1",
        "CodeBLEU", "tokens an answer")  # fmt: skip


def main() -> None:
    """Build, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipes", nargs="+", default=["int4", "gptq"])
    parser.add_argument("--windows", type=int, default=16)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--limit", type=int, default=164, help="tasks of HumanEval")
    parser.add_argument("--write", action="store_true", help="put the table into docs/methods.md")
    chosen = parser.parse_args()
    here = probe.machine()
    lines = [
        f"{datetime.now(UTC):%Y-%m-%d}, {here['cpu']}, {here['cores']} cores, {MODEL}, "
        f"{chosen.windows} windows of {chosen.length} tokens, {chosen.limit} tasks of HumanEval.\n",
        "| " + " | ".join(HEAD) + " |",
        "|---|---|" + "---:|" * (len(HEAD) - 2),
    ]
    print("\n".join(lines), flush=True)
    plain = as_artifact(resolve(MODEL))
    lines.append(_row("as it is", "", measure(plain, "transformers", chosen.limit)))
    print(lines[-1], flush=True)
    for text in chosen.recipes:
        for texts in ("code", "prose"):
            with TemporaryDirectory() as folder:
                made = build(text, texts, chosen.windows, chosen.length, Path(folder))
                found = measure(made, ENGINES[made.format], chosen.limit)
            lines.append(_row(f"`{text}`", texts, found))
            print(lines[-1], flush=True)
    if chosen.write:
        page = ROOT / "docs" / "methods.md"
        told = "\n".join([*lines, ""])
        page.write_text(MARKS.sub(lambda m: m[1] + told + m[2], page.read_text()))


def build(text: str, texts: str, windows: int, length: int, folder: Path) -> Artifact:
    """Make a recipe of one step with its own calibration text."""
    checkpoint = resolve(MODEL)
    step = recipes.parse_step(text)
    step = recipes.step(
        step.kind, {**step.settings, "windows": windows, "length": length, "text": texts}
    )
    opens = frozenset({recipes.build(step).produces})
    return build_artifact(checkpoint, recipes.fit((step,), checkpoint.format, opens), folder)


def held_out(texts: str) -> Iterator[str]:
    """Yield documents of a kind that nothing is calibrated on."""
    if texts == "code":
        yield from (document.text for document in documents("evaluation"))
    else:
        yield from (topics[name] for name in sorted(topics)[1::2])


def measure(artifact: Artifact, engine: str, limit: int) -> dict[str, float]:
    """Return perplexities and HumanEval's means."""
    tokenizer = load_tokenizer(resolve(MODEL).path)
    found: dict[str, float] = {}
    task = HumanEval(limit=limit)
    samples = {sample.id: sample for sample in task.items()}
    with open_engine(Named(kind=engine)).open(artifact) as session:
        for kind in ("code", "prose"):
            blocks = token_blocks(held_out(kind), tokenizer, 8, 256)
            chosen = [
                float(window.values[index, token])
                for window, row in zip(session.token_logprobs(blocks), blocks.ids, strict=True)
                for index, token in enumerate(row[1:])
            ]
            found[kind] = math.exp(-sum(chosen) / len(chosen))
        for answer in session.generate(task_requests(task, tokenizer, seed=0)):
            sample = samples[answer.request_id.rpartition("/")[0]]
            scores = task.score(sample, answer, tokenizer.has_chat_template)
            for name in ("passed", "codebleu"):
                found[name] = found.get(name, 0.0) + scores.values[name] / limit
            found["tokens"] = found.get("tokens", 0.0) + len(answer.token_ids) / limit
    return found


def _row(recipe: str, texts: str, found: dict[str, float]) -> str:
    cells = (
        recipe, texts, f"{found['code']:.2f}", f"{found['prose']:.2f}", f"{found['passed']:.1%}",
        f"{found['codebleu']:.3f}", f"{found['tokens']:.0f}",
    )  # fmt: skip
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
