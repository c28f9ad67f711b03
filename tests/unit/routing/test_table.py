from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.outcomes import rows, table

from weightcut.errors import BrokenInput, UsageError, WeightcutError
from weightcut.routing.fit import fit_router
from weightcut.routing.table import build_table, read_table, write_table

HEAD = "prompt_id,prompt,variant,quality,cost\n"


def _read(tmp_path: Path, text: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    read_table(path)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_what_is_written_is_read_back(tmp_path: Path, suffix: str) -> None:
    if suffix == ".parquet":
        pytest.importorskip("pyarrow", reason="the extra `router` is not installed")
    found = read_table(write_table(rows(30, 3), tmp_path / f"t{suffix}"))
    expected = table(30, 3)
    assert found.variants == ("v0", "v1", "v2")
    assert found.prompts == expected.prompts
    np.testing.assert_allclose(found.quality, expected.quality)
    np.testing.assert_allclose(found.signals["parses"], expected.signals["parses"])


def test_gzip_and_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "t.csv.gz"
    text = "\ufeff" + HEAD + "1,hello,a,1,1\n1,hello,b,0,2\n"
    path.write_bytes(gzip.compress(text.encode()))
    assert read_table(path).variants == ("a", "b")


def test_variants_are_ordered_by_mean_cost_whatever_their_names(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    lines = [
        {"prompt_id": p, "prompt": f"do {p}", "variant": v, "quality": 0.5, "cost": c}
        for p in range(3)
        for v, c in (("a", 9), ("b", 1), ("c", 4))
    ]
    path.write_text("\n".join(map(json.dumps, lines)))
    assert read_table(path).variants == ("b", "c", "a")


def test_missing_labels_leave_their_prompts_out_and_say_so(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(HEAD + "1,x,a,,1\n1,x,b,1,2\n2,y,a,1,1\n2,y,b,nan,2\n3,z,a,0,1\n3,z,b,1,2\n")
    found = read_table(path)
    assert found.ids == ("3",)
    assert len(found.warnings) == 2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "missing"),
        ("a,b\n1,2\n", "missing"),
        (HEAD, "two variants"),
        (HEAD + "1,x,a,1,1\n", "two variants"),
        (HEAD + "1,x,a,1,1\n2,y,b,1,1\n", "no prompt"),
        (HEAD + "1,x,a,1,1\n1,x,a,1,1\n", "twice"),
        (HEAD + "1,x,a,1,1\n1,other,b,1,1\n", "two prompts"),
        (HEAD + "1,x,a,1.5,1\n", "from 0 to 1"),
        (HEAD + "1,x,a,1,-1\n", "not negative"),
        (HEAD + "1,x,a,good,1\n", "not a number"),
        (HEAD + "1,x,a,inf,1\n", "not a number"),
        (HEAD + "1,x,,1,1\n", "not a text"),
        (HEAD + "1,x,a,1\n", "number of fields"),
        (HEAD + '1,"x,a,1,1\n', "cannot be read"),
        (HEAD + "1,x,a,,\n1,x,b,,\n", "two variants"),
    ],
)
def test_a_wrong_table_is_refused_with_the_reason(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(BrokenInput, match=says):
        _read(tmp_path, text)


def test_half_a_sign_is_refused_with_its_line(tmp_path: Path) -> None:
    row = {"prompt_id": 1, "prompt": "x", "variant": "a", "quality": 1, "cost": 1}
    path = tmp_path / "t.jsonl"
    path.write_text("\n".join(map(json.dumps, (row, row | {"variant": "\ud800"}))))
    with pytest.raises(BrokenInput, match="half a surrogate pair") as caught:
        read_table(path)
    assert caught.value.place.endswith("t.jsonl, line 2")


@pytest.mark.parametrize(
    "content", [b"\xff\xfe\x00", b"[1]\n", b"{\n", b"[" * 100_000, b"\x1f\x8b"]
)
@pytest.mark.parametrize("name", ["t.jsonl", "t.csv", "t.csv.gz", "t.parquet"])
def test_other_files_are_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightcutError):
        read_table(tmp_path / name)


def test_damaged_gzip_is_refused(tmp_path: Path) -> None:
    rows = "".join(f"{i},p{i},v{j},0.5,{j}\n" for i in range(3000) for j in range(2))
    packed = bytearray(gzip.compress((HEAD + rows).encode()))
    packed[50:53] = bytes(byte ^ 0xFF for byte in packed[50:53])
    (tmp_path / "t.csv.gz").write_bytes(packed)
    with pytest.raises(BrokenInput, match="cannot be read"):
        read_table(tmp_path / "t.csv.gz")


def test_unknown_names_and_kinds_are_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        read_table(tmp_path / "t.csv")
    (tmp_path / "t.txt").write_text("x")
    with pytest.raises(UsageError, match="name"):
        read_table(tmp_path / "t.txt")
    with pytest.raises(UsageError, match=r"\.txt"):
        write_table([], tmp_path / "t.txt")


def test_another_column_can_be_the_quality(tmp_path: Path) -> None:
    path = write_table(rows(10, codebleu=0.25), tmp_path / "t.csv")
    assert (read_table(path, "codebleu").quality == 0.25).all()
    with pytest.raises(BrokenInput, match="speed"):
        read_table(path, "speed")


def test_prompts_of_the_same_words_are_one_group() -> None:
    from dataclasses import replace

    made = replace(table(4), prompts=("What is it?", "what  IS it", "What is not?", "???"))
    assert made.groups().tolist() == [0, 0, 1, 2]


def test_a_sparse_variant_costs_no_prompts_once_it_is_left_out(tmp_path: Path) -> None:
    few = {f"p{n}" for n in range(10)}
    made = [row for row in rows(1_000, 3) if row["variant"] != "v2" or row["prompt_id"] in few]
    path = write_table(made, tmp_path / "t.jsonl")
    all_of_them = read_table(path)
    assert len(all_of_them) == 10
    assert any("v2 has the fewest, 10 of 1000" in line for line in all_of_them.warnings)
    with pytest.raises(UsageError, match=r"10 different prompts are too few.*v2 has the fewest"):
        fit_router(all_of_them, "length")
    for only, full in ((["v0", "v1"], None), ([], "v1"), (["v0"], "v1")):
        found = read_table(path, only=only, full=full)
        assert (len(found), found.variants) == (1_000, ("v0", "v1"))
    assert "v2 was left out: it costs more than v1" in read_table(path, full="v1").warnings
    with pytest.raises(UsageError, match="only v0 is left"):
        read_table(path, only=["v0"])
    with pytest.raises(UsageError, match="unknown variant 'v9'"):
        read_table(path, only=["v9"])
    apart = [row for row in made if row["variant"] == "v2" or row["prompt_id"] not in few]
    with pytest.raises(BrokenInput, match="v2 has the fewest, 10 of 1000"):
        read_table(write_table(apart, tmp_path / "apart.jsonl"))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=200))
def test_no_csv_ends_in_a_traceback(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.csv").write_text(HEAD + text, encoding="utf-8", newline="")
    with pytest.raises(WeightcutError):
        read_table(tmp_path / "t.csv")


def test_variants_can_be_chosen_and_dearer_ones_than_the_full_model_are_left_out() -> None:
    made = table(40, 4)
    found = made.narrowed(full="v2")
    assert found.variants == ("v0", "v1", "v2")
    assert found.quality.shape == found.cost.shape == (40, 3)
    assert found.signals["parses"].shape == (40, 3)
    assert "v3 was left out: it costs more than v2" in found.warnings
    assert made.narrowed(["v1", "v3"]).variants == ("v1", "v3")
    assert made.narrowed(["v1"], "v2").variants == ("v1", "v2")
    for only, full in (([], "v0"), (["v1"], None), (["x"], None), ([], "x")):
        with pytest.raises(UsageError):
            made.narrowed(only, full)
    with pytest.raises(UsageError, match="v1 was left out: it costs more than v0"):
        made.narrowed(["v1"], "v0")


def test_of_equal_cost_the_full_model_is_the_last() -> None:
    made = rows(30)
    for row in made:
        row["cost"] = 1.0
    even = build_table(((f"row {k}", row) for k, row in enumerate(made)), "even")
    assert [even.narrowed(full=name).variants[-1] for name in ("v0", "v1")] == ["v0", "v1"]


def test_whole_numbers_written_as_floats_are_ids() -> None:
    made = [row | {"prompt_id": float(n // 2)} for n, row in enumerate(rows(25))]
    assert build_table(((f"row {k}", row) for k, row in enumerate(made)), "t").ids[3] == "3"
