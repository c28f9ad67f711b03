"""From the config to upstreams."""

from __future__ import annotations

from weightcut.routing.server.config import ScriptedUpstream, ServeConfig, UpstreamConfig
from weightcut.routing.server.upstreams.scripted import Scripted
from weightcut.routing.server.upstreams.upstream import Upstream


def make_upstreams(config: ServeConfig) -> dict[str, list[Upstream]]:
    """Return every variant's upstreams, not started; a replica's name has its number."""
    found: dict[str, list[Upstream]] = {}
    for variant in config.variants:
        replicas = config.replicas(variant)
        names = (
            [variant] if len(replicas) == 1 else [f"{variant}-{i}" for i in range(len(replicas))]
        )
        found[variant] = [
            _make(variant, name, one, config) for name, one in zip(names, replicas, strict=True)
        ]
    return found


def _make(variant: str, name: str, settings: UpstreamConfig, config: ServeConfig) -> Upstream:
    if isinstance(settings, ScriptedUpstream):
        return Scripted(name, settings)
    raise NotImplementedError(variant, config)
