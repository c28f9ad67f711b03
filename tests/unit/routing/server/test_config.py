from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.serving import router

from weightcut.errors import BrokenInput, NotHere, UsageError
from weightcut.routing.files import write_router
from weightcut.routing.server.config import Price, parse_config, read_config
from weightcut.routing.server.keys import Keys
from weightcut.routing.server.lifecycle import address, bind
from weightcut.routing.server.setup import open_service

BOTH = {"light": {"kind": "scripted"}, "full": {"kind": "scripted"}}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"variants": {}}, "variants"),
        ({"variants": {"a": {"kind": "magic"}}}, "variants.a"),
        ({"variants": {"a": {"kind": "openai", "url": "ftp://x", "model": "m"}}}, "url"),
        ({"variants": {"a": {"kind": "engine"}}}, "run"),
        ({"variants": {"a": {"kind": "engine", "run": "r", "artifact": "a"}}}, "run"),
        ({"limits": {"running": 0}}, "limits.running"),
        ({"limits": {"runing": 5}}, "limits.runing"),
        ({"timeouts": {"total_s": -1}}, "timeouts.total_s"),
        ({"breaker": {"failure_share": 2}}, "breaker.failure_share"),
        ({"drift": {"shadow_share": 1.5}}, "drift.shadow_share"),
        ({"tracing": "file:///tmp/x"}, "tracing"),
    ],
)
def test_a_wrong_key_is_named(change: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_config({"variants": BOTH} | change, "serve.yaml")


@pytest.mark.parametrize("text", ["a: [", "- 1", "1", "", "\x00", "&a [*a]"])
def test_a_file_that_is_no_config(tmp_path: Path, text: str) -> None:
    file = tmp_path / "serve.yaml"
    file.write_text(text)
    with pytest.raises(BrokenInput):
        read_config(file)
    with pytest.raises(UsageError, match="cannot be read"):
        read_config(tmp_path / "nothing.yaml")


def test_prices() -> None:
    price = Price(request=1, prompt_million=2, completion_million=4)
    assert price.of(500_000, 250_000) == 3


@pytest.mark.parametrize(
    ("prices", "said"),
    [
        ({"light": {"request": 1}}, "no price for full"),
        ({"light": {}, "full": {}, "ful": {}}, "unknown variant 'ful'"),
    ],
)
def test_prices_are_for_known_variants_and_for_all_of_them(
    tmp_path: Path, prices: dict[str, Any], said: str
) -> None:
    write_router(router(), tmp_path / "router")
    (tmp_path / "serve.yaml").write_text(f"variants: {BOTH}\nprices: {prices}")
    with pytest.raises(UsageError, match=said):
        open_service(tmp_path / "router", tmp_path / "serve.yaml")


def test_variants_stand_in_the_routers_order_and_others_answer_by_name_alone(
    tmp_path: Path,
) -> None:
    write_router(router(), tmp_path / "router")
    more = {"full": BOTH["full"], "extra": {"kind": "scripted"}, "light": BOTH["light"]}
    (tmp_path / "serve.yaml").write_text(f"variants: {more}")
    service = open_service(tmp_path / "router", tmp_path / "serve.yaml")
    assert service.variants == ("extra", "light", "full")
    assert service.full == "full"


def test_a_router_that_knows_no_run_needs_to_be_told_who_answers(tmp_path: Path) -> None:
    write_router(router(), tmp_path / "router")
    with pytest.raises(UsageError, match="unknown who answers"):
        open_service(tmp_path / "router")


def test_only_loopback_without_keys() -> None:
    for host in ("0.0.0.0", "::", "192.0.2.1", "example.org"):
        with pytest.raises(UsageError, match="no API keys"):
            bind(host, 0, None)
        with pytest.raises(UsageError, match="no API keys"):
            bind(host, 0, Keys([]))
    for host in ("127.0.0.1", "127.0.0.9", "localhost"):
        with bind(host, 0, None) as bound:
            assert address(bound).startswith("http://127.0.0.")
            with pytest.raises(NotHere, match="cannot listen"):
                bind(host, bound.getsockname()[1], None)
