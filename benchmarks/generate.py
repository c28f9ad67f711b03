"""Whole HumanEval generation, side by side: transformers' static batches against our engines.

    python benchmarks/generate.py --limit 32
    python benchmarks/generate.py --json > generate.json

All contestants get the same prompts as token ids (the task's own, through the chat template),
and decode greedily up to --max-new-tokens. Each runs in a process of its own, one after the other;
loading and a short warm-up are not counted. Static batches hold --batch sequences, our engines as
many as they hold by themselves, or --max-batch. The static contestant is `model.generate` of
transformers on left-padded batches of prompts sorted by length.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from weightcut.errors import WeightcutError
from weightcut.hardware.probe import machine
from weightcut.models.resolve import resolve
from weightcut.models.tokenizer import load_tokenizer
from weightcut.records import Artifact, Named, Request
from weightcut.settings import artifacts_folder
from weightcut.study.build import build_artifact, fitted, open_engine
from weightcut.study.prompts import task_requests
from weightcut.tasks.humaneval import HumanEval

STATIC = "transformers generate, static batches"
ENGINES = {"weightcut transformers": "transformers", "weightcut openvino": "openvino"}


def main() -> int:
    """Run every contestant, print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="smollm2-135m", help="any model reference")
    parser.add_argument("--limit", type=int, help="only the first tasks of HumanEval")
    parser.add_argument("--batch", type=int, default=32, help="sequences of a static batch")
    parser.add_argument("--max-batch", type=int, help="sequences at once in our engines")
    parser.add_argument("--max-new-tokens", type=int, default=256)
    parser.add_argument("--only", choices=[STATIC, *ENGINES], action="append")
    parser.add_argument("--json", action="store_true", help="print JSON, not a Markdown table")
    args = parser.parse_args()
    task = HumanEval(limit=args.limit, max_new_tokens=args.max_new_tokens)
    asked = task_requests(task, load_tokenizer(resolve(args.model).path), seed=0)
    # Without stop texts, which the static contestant would have to be given apart: all end alike.
    requests = [request.model_copy(update={"stop": ()}) for request in asked]
    rows = []
    for name in args.only or [STATIC, *ENGINES]:
        print(f"{name} ...", file=sys.stderr)
        try:
            batch = args.batch if name == STATIC else args.max_batch
            rows.append({"name": name, **contest(name, args.model, requests, batch)})
        except WeightcutError as error:
            rows.append({"name": name, "error": str(error)})
    done = {
        "model": args.model,
        "prompts": len(requests),
        "max_new_tokens": args.max_new_tokens,
        "batch": args.batch,
        "machine": machine(),
        "rows": rows,
    }
    print(json.dumps(done, indent=1) if args.json else table(rows))
    return 1 if any("error" in row for row in rows) else 0


def contest(
    name: str, model: str, requests: Sequence[Request], batch: int | None
) -> dict[str, Any]:
    """Run one contestant in a fresh process and return its figures."""
    about = () if name == STATIC else (ENGINES[name],)
    run: Callable[..., dict[str, Any]] = static if name == STATIC else engine
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        artifact = pool.submit(make, model, *about).result()
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(run, artifact, requests, batch, *about).result()


def make(model: str, kind: str = "transformers") -> Artifact:
    """Return the model in a form that the engine opens, converted (and cached) if need be."""
    checkpoint = resolve(model)
    steps = fitted((), checkpoint.format, Named(kind=kind))
    return build_artifact(checkpoint, steps, artifacts_folder())


def engine(
    artifact: Artifact, requests: Sequence[Request], batch: int | None, kind: str
) -> dict[str, Any]:
    """Submit all requests to one of our engines at once."""
    opened = open_engine(Named(kind=kind, settings={"max_batch": batch} if batch else {}))
    with opened.open(artifact) as session:
        warm_up = session.generate(requests)
        next(warm_up)
        warm_up.close()
        return measured(
            lambda: [len(c.token_ids) for c in session.generate(requests)], session.describe()
        )


def static(artifact: Artifact, requests: Sequence[Request], batch: int) -> dict[str, Any]:
    """Give sorted, left-padded batches to `model.generate`; each waits for its last row."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = AutoModelForCausalLM.from_pretrained(
        artifact.path, dtype=torch.bfloat16, device_map=device
    )
    stops = list(requests[0].stop_ids)

    def answer(part: Sequence[Request], limit: int) -> list[int]:
        width = max(len(r.prompt_ids) for r in part)
        ids = torch.full((len(part), width), stops[0])
        mask = torch.zeros_like(ids)
        for row, request in enumerate(part):
            ids[row, width - len(request.prompt_ids) :] = torch.tensor(request.prompt_ids)
            mask[row, width - len(request.prompt_ids) :] = 1
        out = model.generate(
            ids.to(device),
            attention_mask=mask.to(device),
            do_sample=False,
            max_new_tokens=limit,
            eos_token_id=stops,
            pad_token_id=stops[0],
        )
        return [used(row, stops) for row in out[:, width:].tolist()]

    answer(requests[:2], 4)
    ordered = sorted(requests, key=lambda r: len(r.prompt_ids), reverse=True)
    return measured(
        lambda: [
            tokens
            for at in range(0, len(ordered), batch)
            for tokens in answer(ordered[at : at + batch], requests[0].max_new_tokens)
        ],
        {"precision": "bfloat16", "attention": model.config._attn_implementation},
    )


def used(row: Sequence[int], stops: Sequence[int]) -> int:
    """Return the number of tokens up to the first stop, that one included."""
    return next((at + 1 for at, token in enumerate(row) if token in stops), len(row))


def measured(run: Callable[[], list[int]], about: dict[str, Any]) -> dict[str, Any]:
    """Time a whole generation; peak memory is that of the process, loading included."""
    begin = time.perf_counter()
    tokens = sum(run())
    seconds = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"seconds": seconds, "tokens": tokens, "peak_rss_bytes": peak, "about": about}


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return a Markdown table; the ratio is wall time against the first row."""
    lines = [
        "| contestant | wall s | tokens | tokens/s | speed-up | peak GB |",
        "|---|" + "--:|" * 5,
    ]
    first = rows[0].get("seconds")
    for row in rows:
        if "error" in row:
            lines.append(f"| {row['name']} | {row['error']} | | | | |")
            continue
        seconds, tokens = row["seconds"], row["tokens"]
        ratio = f"{first / seconds:.2f}x" if first else "-"
        lines.append(
            f"| {row['name']} | {seconds:.1f} | {tokens} | {tokens / seconds:.0f} | {ratio} "
            f"| {row['peak_rss_bytes'] / 1e9:.2f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
