"""From a reference to a checked folder: each kind of reference, and what can be wrong with it."""

from __future__ import annotations

import hashlib
import json
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from tests.gguf_files import write_gguf

from weightcut.errors import BrokenInput, NotHere, UsageError
from weightcut.models import bundled, digest, hub, resolve
from weightcut.models.bundled import Bundled, Wheel


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WEIGHTCUT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    write_gguf(tmp_path / "tiny.gguf")
    return resolve.resolve(str(tmp_path / "tiny.gguf")).path


def test_a_gguf_file_is_converted_once(tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    write_gguf(path)
    said: list[str] = []
    first = resolve.resolve(str(path), lambda phrase, _: said.append(phrase))
    again = resolve.resolve(str(path), lambda phrase, _: said.append(phrase))
    assert first == again
    assert said == ["dequantizing tiny.gguf to bf16 safetensors"]
    assert first.notes == ()  # float32 weights lie on no grid


def test_weights_on_a_grid_are_said_to_be(tmp_path: Path) -> None:
    import gguf

    write_gguf(tmp_path / "q.gguf", kind=gguf.GGMLQuantizationType.Q4_0)
    assert "(Q4_0)" in resolve.resolve(str(tmp_path / "q.gguf")).notes[0]


def test_a_damaged_copy_in_the_cache_is_made_again(tmp_path: Path, model: Path) -> None:
    weights = model / "model.safetensors"
    intact = weights.read_bytes()
    weights.write_bytes(intact[:-1] + b"\x01")
    again = resolve.resolve(str(tmp_path / "tiny.gguf"))
    assert again.path == model
    assert weights.read_bytes() == intact


def test_what_is_in_the_cache_needs_no_lock(tmp_path: Path, model: Path) -> None:
    lock = model.with_name(f".{model.name}.lock")
    lock.unlink()
    lock.mkdir()  # stands in for a cache that cannot be written, which stops no root
    assert resolve.resolve(str(tmp_path / "tiny.gguf")).path == model


def test_a_folder_is_taken_as_it_is(model: Path) -> None:
    found = resolve.resolve(str(model))
    assert found.format == "hf"
    assert found.path == model
    assert found.bytes == sum(p.stat().st_size for p in model.iterdir() if p.name != digest.NOTE)


def test_only_what_is_opened_counts_for_the_size(model: Path) -> None:
    before = resolve.resolve(str(model))
    for name in ("pytorch_model.bin", "tf_model.h5", "onnx/model.onnx", "original/a.safetensors"):
        (model / name).parent.mkdir(exist_ok=True)
        (model / name).write_bytes(b"x" * 10_000)
    after = resolve.resolve(str(model))
    assert after.bytes == before.bytes
    assert after.digest != before.digest


def test_a_scripted_folder_is_a_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "scripted.json").write_text('{"skill": 0.5}')
    found = resolve.resolve(str(tmp_path))
    assert (found.format, found.parameters) == ("scripted", 0)


def test_a_tied_head_that_is_stored_all_the_same_counts_once(model: Path) -> None:
    before = resolve.resolve(str(model)).parameters
    table = np.zeros((7, 5), np.float32)
    save_file(
        {"model.embed_tokens.weight": table, "lm_head.weight": table}, model / "model.safetensors"
    )
    assert before != 35 == resolve.resolve(str(model)).parameters


def _shards(model: Path, places: dict[str, str]) -> None:
    (model / "model.safetensors").unlink()
    save_file({"a": np.zeros(3, np.float32)}, model / "one.safetensors")
    save_file({"b": np.zeros(4, np.float32)}, model / "two.safetensors")
    index = model / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": places}))


def test_shards_count_together(model: Path) -> None:
    _shards(model, {"a": "one.safetensors", "b": "two.safetensors"})
    assert resolve.resolve(str(model)).parameters == 7


def _break(name: str, text: str | None) -> Callable[[Path], None]:
    def action(model: Path) -> None:
        (model / name).unlink()
        if text is not None:
            (model / name).write_text(text)

    return action


def _pickle(name: str) -> Callable[[Path], None]:
    def action(model: Path) -> None:
        (model / "model.safetensors").unlink()
        (model / name).write_bytes(pickle.dumps({"weight": print}))

    return action


@pytest.mark.parametrize(
    ("damage", "error", "cause"),
    [
        (_break("config.json", None), BrokenInput, "lacks config.json"),
        (_break("config.json", "{"), BrokenInput, "not valid JSON"),
        (_break("config.json", "{}"), BrokenInput, "names no model_type"),
        (_break("model.safetensors", None), BrokenInput, "lacks model.safetensors"),
        (_break("model.safetensors", "junk"), BrokenInput, "no intact safetensors"),
        (_break("tokenizer.json", None), BrokenInput, "no tokenizer.json"),
        (_break("tokenizer.json", "{}"), BrokenInput, "cannot be read as a tokenizer"),
        (_pickle("pytorch_model-00001-of-00002.bin"), UsageError, "pickle"),
        (_pickle("pytorch_model.bin"), BrokenInput, "more than tensors"),
        (lambda m: _shards(m, {"a": "none.safetensors"}), BrokenInput, "lacks none.safetensors"),
        (lambda m: _shards(m, {"x": "one.safetensors"}), BrokenInput, "no shard holds"),
        (lambda m: _shards(m, {"a": "../one.safetensors"}), BrokenInput, "outside its folder"),
    ],
)
def test_what_a_folder_lacks_is_named(
    model: Path, damage: Callable[[Path], None], error: type[Exception], cause: str
) -> None:
    damage(model)
    with pytest.raises(error, match=cause) as raised:
        resolve.resolve(str(model))
    assert str(model) in str(raised.value)


@pytest.mark.parametrize(
    ("reference", "hint"),
    [
        ("smollm2-135n", "did you mean 'smollm2-135m'"),
        ("org/name", "hub:org/name"),
        ("hub:name", "not of the form"),
        ("hub:../x@y", "not of the form"),
        ("./nothing/here.gguf", "there is no model"),
    ],
)
def test_an_unknown_reference_says_what_is_known(reference: str, hint: str) -> None:
    with pytest.raises(UsageError, match=hint.replace(".", r"\.")):
        resolve.resolve(reference)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.zip").write_bytes(b"PK")
    with pytest.raises(UsageError, match="neither a model folder"):
        resolve.resolve(str(tmp_path / "model.zip"))


@pytest.mark.parametrize("reference", ["smollm2-135m", "smollm2-135m-original", "hub:a/b"])
def test_offline_says_so(monkeypatch: pytest.MonkeyPatch, home: Path, reference: str) -> None:
    monkeypatch.setenv("WEIGHTCUT_OFFLINE", "1")
    with pytest.raises(NotHere, match="WEIGHTCUT_OFFLINE is set") as raised:
        resolve.resolve(reference)
    assert raised.value.cure
    assert not [p for p in (home / "models").glob("*") if p.is_dir()]


def test_too_little_disk_is_said_before_the_pull(monkeypatch: pytest.MonkeyPatch) -> None:
    model = bundled.BUNDLED["smollm2-135m"]
    vast = Wheel(**{**vars(model.source), "bytes": 10**18})
    monkeypatch.setitem(bundled.BUNDLED, "vast", Bundled("t", "l", vast))  # type: ignore[arg-type]
    with pytest.raises(NotHere, match="of disk are needed"):
        resolve.resolve("vast")


def test_hub_references() -> None:
    commit = "0123456789abcdef" * 2 + "01234567"
    assert hub.parse(f"hub:o/n@{commit}").pinned
    assert not hub.parse("hub:o/n@main").pinned
    assert hub.parse("hub:o/n").revision is None
    assert str(hub.parse("hub:o/n@v1")) == "hub:o/n@v1"


def _wheel(folder: Path) -> Wheel:
    """Make a real wheel with a GGUF file in it, for pip to find in a folder."""
    write_gguf(folder / "tiny.gguf")
    path = folder / "tiny_model-1.0-py3-none-any.whl"
    info = "tiny_model-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(folder / "tiny.gguf", "tiny_model/tiny.gguf")
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0"
        )
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any"
        )
        archive.writestr(f"{info}/RECORD", "")
    return Wheel(
        package="tiny-model",
        version="1.0",
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        member="tiny_model/tiny.gguf",
        member_sha256=hashlib.sha256((folder / "tiny.gguf").read_bytes()).hexdigest(),
        bytes=path.stat().st_size,
    )


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Wheel:
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    wheel = _wheel(folder)
    monkeypatch.setitem(bundled.BUNDLED, "tiny", Bundled("t", "MIT", wheel, ("note",)))  # type: ignore[arg-type]
    return wheel


def test_a_wheel_is_pulled_checked_and_unpacked(index: Wheel, home: Path) -> None:
    said: list[str] = []
    assert resolve.cached("tiny") is None
    found = resolve.resolve("tiny", lambda phrase, _: said.append(phrase))
    assert said[0] == "pulling tiny-model 1.0 from the package index, 0 MB"
    assert found.notes == ("note",)
    assert found == resolve.cached("tiny") == resolve.resolve("tiny")
    # Neither the wheel nor the GGUF file stays.
    assert not [p for p in home.rglob("*") if p.suffix in (".whl", ".gguf")]


@pytest.mark.parametrize("part", ["sha256", "member_sha256"])
def test_what_is_not_pinned_is_refused(
    index: Wheel, home: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    other = Wheel(**{**vars(index), part: "0" * 64})
    monkeypatch.setitem(bundled.BUNDLED, "tiny", Bundled("t", "MIT", other))  # type: ignore[arg-type]
    with pytest.raises((BrokenInput, NotHere), match=r"SHA-256|could not download"):
        resolve.resolve("tiny")
    assert not [p for p in (home / "models").iterdir() if p.is_dir()]


def test_an_index_without_the_wheel_says_what_pip_said(
    index: Wheel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "home"))
    with pytest.raises(NotHere, match=r"pip could not download tiny-model==1\.0: .*"):
        resolve.resolve("tiny")


def test_two_processes_at_once_make_one_folder(tmp_path: Path, home: Path) -> None:
    write_gguf(tmp_path / "tiny.gguf")
    code = "import sys; from weightcut.models.resolve import resolve; print(resolve(sys.argv[1]))"
    command = [sys.executable, "-c", code, str(tmp_path / "tiny.gguf")]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    found = [one.communicate(timeout=300)[0] for one in both]
    assert found[0] == found[1] != ""
    assert [one.returncode for one in both] == [0, 0]
    assert len([p for p in (home / "models").iterdir() if p.is_dir()]) == 1
