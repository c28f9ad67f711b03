"""What the server costs, and whether it stands: overhead, throughput, routed pair, soak.

    python benchmarks/serving.py overhead            # over a scripted upstream
    python benchmarks/serving.py soak RUN            # 200 clients for 2 minutes on a run's variants
    python benchmarks/serving.py pair RUN --light V  # routed against always-full, side by side

Each prints JSON. Server and load generator are separate processes on the same cores; CPU seconds
of both are given beside the wall times, since other work on the machine stretches only the latter.
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

import numpy as np
import psutil
import yaml

from weightcut.routing.constant import Constant
from weightcut.routing.files import write_router
from weightcut.routing.router import Router

WORDS = "def add(a, b): return the sum of two numbers and explain every step of it please "


def main() -> None:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = parser.add_subparsers(dest="part", required=True)
    one = parts.add_parser("overhead")
    one.add_argument("--requests", type=int, default=6000)
    one.add_argument("--clients", type=int, default=16)
    print(json.dumps(overhead(**_options(parser)), indent=1))


def _options(parser: argparse.ArgumentParser) -> dict[str, Any]:
    found = vars(parser.parse_args())
    found.pop("part")
    return found


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
        asyncio.run(drive(server.port, prompt, 500, 4))
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
    """Return a router that sends everything to the light variant."""
    means = Constant(np.array([0.5, 0.5]))
    return Router(("light", "full"), (1.0, 4.0), (0.5, 0.5), means, allowance=0.1)


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

    def rss(self) -> int:
        """Return the server's resident bytes."""
        return int(self._facts.memory_info().rss)


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
