from __future__ import annotations

from pathlib import Path

from tests.families import make_family
from tests.integration.openvino_models import artifact, export

from weightcut.analysis.load import summarize_load
from weightcut.engines.openvino import OpenVINOEngine
from weightcut.profiling.load import under_load
from weightcut.records import LoadSpec, Request


def test_a_real_engine_takes_requests_in_as_they_come(tmp_path: Path) -> None:
    source = make_family("llama-tied", tmp_path / "hf")
    (tmp_path / "ov").mkdir()
    export(source, tmp_path / "ov")
    spec = LoadSpec(rates=(20,), clients=(3,), requests=12, at_once=4)
    requests = [
        Request(
            id=str(i), prompt="", prompt_ids=tuple(range(3, 12 + i)), max_new_tokens=9,
            ignore_stop=True,
        )
        for i in range(5)
    ]  # fmt: skip
    with OpenVINOEngine(max_batch=4).open(artifact(tmp_path / "ov")) as session:
        found = list(under_load(session, requests, spec, 0))
    assert "join those under way" in found[-1].detail["batching"]
    load = summarize_load(found, spec)
    assert load is not None
    for level in load.levels:
        assert level.error_rate == 0
        assert level.ttft_ms.p50 is not None
        assert level.latency_ms.p50 is not None
        assert 0 < level.ttft_ms.p50 < level.latency_ms.p50
    rows = [o for o in found if "tokens" in o.values]
    assert len(rows) == 24
    assert {o.values["tokens"] for o in rows} == {9.0}
