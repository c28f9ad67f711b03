"""What the tests of the server share: a router that reads lengths, an app, a server process."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import httpx
import numpy as np
import yaml

from weightcut.routing.encoder import Corpus
from weightcut.routing.files import write_router
from weightcut.routing.policy import Training, fit_policy
from weightcut.routing.router import Router
from weightcut.routing.server.app import build_app
from weightcut.routing.server.config import ServeConfig, parse_config
from weightcut.routing.server.keys import Keys
from weightcut.routing.server.metrics import Metrics
from weightcut.routing.server.pool import Pool
from weightcut.routing.server.service import Service
from weightcut.routing.server.shadow import Shadow
from weightcut.routing.server.tracing import Tracer
from weightcut.routing.server.upstreams.make import make_upstreams
from weightcut.routing.server.upstreams.scripted import Scripted

HARD = "hard " * 40
"""A prompt that goes to the full model; short ones go to the light one."""
T = TypeVar("T")


def router(variants: tuple[str, ...] = ("light", "full"), allowance: float | None = 0.1) -> Router:
    """Return a router that sends prompts of more than 100 characters to the full model."""
    light = len(variants) - 1
    prompts = ["x" * (20 + i) for i in range(60)] + ["x" * (150 + i) for i in range(60)]
    quality = np.array([[0.9] * light + [0.5]] * 60 + [[0.1] * light + [0.5]] * 60)
    policy = fit_policy("length", Training(Corpus.of(prompts), quality))
    costs = tuple(float(index + 1) for index in range(len(variants)))
    return Router(variants, costs, (0.5,) * len(variants), policy, allowance, {"keep": 0.9})


def config(**more: Any) -> ServeConfig:
    """Return a config of scripted upstreams, `light` and `full`, that retry without a pause."""
    data: dict[str, Any] = {
        "variants": {
            "light": {"kind": "scripted", "reply": "a light answer"},
            "full": {"kind": "scripted", "reply": "the full model's answer"},
        },
        "retries": {"base_s": 0.0},
    }
    return parse_config(data | more, "test")


class Served:
    """A service with its app and its upstreams, in this process."""

    def __init__(
        self,
        settings: ServeConfig,
        keys: Keys | None = None,
        made: Router | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        pool = Pool(make_upstreams(settings), settings.breaker)
        made = made or router(tuple(settings.variants))
        self.service = Service(made, pool, settings)
        self.metrics = Metrics()
        self.shadow = Shadow(settings.drift, self.service, self.metrics)
        self.app = build_app(self.service, self.metrics, self.shadow, keys, tracer)

    def upstream(self, variant: str) -> Scripted:
        """Return a variant's scripted upstream."""
        found = self.service.pool.variants[variant][0].upstream
        assert isinstance(found, Scripted)
        return found

    def client(self) -> httpx.AsyncClient:
        """Return a client of the app."""
        transport = httpx.ASGITransport(app=self.app)
        return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1")

    def value(self, name: str, **labels: str) -> float:
        """Return a metric's value, 0 where it was never set."""
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


def talk(served: Served, what: Callable[[httpx.AsyncClient], Awaitable[T]]) -> T:
    """Run a conversation with the app."""

    async def run() -> T:
        async with served.client() as client:
            found = await what(client)
            await served.shadow.close()
            return found

    return asyncio.run(run())


def post(served: Served, path: str, body: Any, **more: Any) -> httpx.Response:
    """Send one request."""

    async def one(client: httpx.AsyncClient) -> httpx.Response:
        return await client.post(path, json=body, **more)

    return talk(served, one)


def chat(text: str, **more: Any) -> dict[str, Any]:
    """Return the body of a chat of one turn."""
    return {"model": "auto", "messages": [{"role": "user", "content": text}], **more}


def events(text: str) -> list[dict[str, Any]]:
    """Return the events of a stream, which must end as OpenAI's do."""
    lines = [line[6:] for line in text.split("\n\n") if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


class ServerProcess:
    """`weightcut serve` on a free port of loopback."""

    def __init__(self, data: dict[str, Any], *options: str, made: Router | None = None) -> None:
        self._folder = tempfile.TemporaryDirectory()
        root = Path(self._folder.name)
        (root / "serve.yaml").write_text(yaml.safe_dump(data))
        write_router(made or router(tuple(data["variants"])), root / "router")
        self._log = (root / "log").open("w+")
        words = ["serve", str(root / "router"), "--config", str(root / "serve.yaml")]
        words += ["--port", "0", "--json", *options]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "weightcut", *words],
            stdout=subprocess.PIPE,
            stderr=self._log,
        )

    def __enter__(self) -> ServerProcess:
        assert self.process.stdout is not None
        text = b""
        for line in self.process.stdout:
            text += line
            if line == b"}\n":
                break
        assert text, self.log()
        self.url = str(json.loads(text)["url"])
        self.port = int(self.url.rpartition(":")[2])
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._log.close()
        self._folder.cleanup()

    def log(self) -> str:
        """Return what the server has written to stderr."""
        return Path(self._log.name).read_text()
