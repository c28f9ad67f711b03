"""The upstreams of every variant, each behind its breaker and its slots."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from weightcut.routing.server import logs
from weightcut.routing.server.breaker import Breaker
from weightcut.routing.server.config import BreakerConfig
from weightcut.routing.server.upstreams.upstream import Upstream

PROBE_EVERY = 1.0
"""Seconds between looks at upstreams that are not closed."""


@dataclass(eq=False)
class Endpoint:
    """One upstream of a variant. users: requests that hold a slot of it or wait for one."""

    variant: str
    upstream: Upstream
    breaker: Breaker
    users: int = 0
    slots: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        self.slots = asyncio.Semaphore(self.upstream.slots)

    @property
    def name(self) -> str:
        """The upstream's name."""
        return self.upstream.name


class Pool:
    """Every endpoint by variant, cheapest variant first."""

    def __init__(
        self, upstreams: Mapping[str, Sequence[Upstream]], settings: BreakerConfig
    ) -> None:
        self.variants = {
            variant: [Endpoint(variant, upstream, Breaker(settings)) for upstream in found]
            for variant, found in upstreams.items()
        }

    def endpoints(self) -> Iterator[Endpoint]:
        """Yield all of them."""
        for found in self.variants.values():
            yield from found

    def by_load(self, variant: str) -> list[Endpoint]:
        """Return the variant's endpoints, the least used first."""
        found = self.variants[variant]
        return found if len(found) == 1 else sorted(found, key=lambda endpoint: endpoint.users)

    def ready(self, now: float) -> bool:
        """Return whether any endpoint takes requests."""
        return any(one.breaker.state(now) != "open" for one in self.endpoints())

    async def start(self) -> None:
        """Get all upstreams ready, one after the other; raises WeightcutError."""
        for endpoint in self.endpoints():
            await endpoint.upstream.start()

    async def close(self) -> None:
        """Close all upstreams."""
        for endpoint in self.endpoints():
            await endpoint.upstream.close()

    async def watch(self) -> None:
        """Probe upstreams that have failed, so that recovery needs no client's request."""
        clock = asyncio.get_running_loop().time
        # Nobody waits for a probe: one that opens a large model anew takes minutes.
        async with asyncio.TaskGroup() as probes:
            while True:
                await asyncio.sleep(PROBE_EVERY)
                for endpoint in self.endpoints():
                    if endpoint.breaker.state(clock()) == "half-open":
                        probes.create_task(self._probe(endpoint))

    async def _probe(self, endpoint: Endpoint) -> None:
        clock = asyncio.get_running_loop().time
        token = endpoint.breaker.allow(clock())
        if token is None:
            return
        ok: bool | None = None
        try:
            ok = await endpoint.upstream.healthy()
        except Exception:  # noqa: BLE001 - whatever a probe meets, the watch goes on
            logs.logger().exception("probe failed")
            ok = False
        finally:
            if ok is None:
                endpoint.breaker.release(token)
            else:
                endpoint.breaker.record(token, ok, clock())
