"""Dockerfiles, compose.yaml and what they mount: linted, pinned, and true to the repository."""

from __future__ import annotations

import fnmatch
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.command_line import check_cli

ROOT = Path(__file__).parents[3]
DOCKERFILES = ("Dockerfile", "Dockerfile.gpu")
PINNED = re.compile(r":v?\d+\.\d+(\.\d+)?([.-][\w.]+)*$")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def instructions(name: str) -> list[tuple[str, str]]:
    """A Dockerfile's instructions, lines joined, comments left out."""
    text = "\n".join(
        line for line in (ROOT / name).read_text().splitlines() if not line.startswith("#")
    )
    joined = re.sub(r"\\\n", " ", text)
    pairs = (line.split(maxsplit=1) for line in joined.splitlines() if line.strip())
    return [(word.upper(), rest.strip()) for word, rest in pairs]


def values(name: str, word: str) -> list[str]:
    return [rest for found, rest in instructions(name) if found == word]


@pytest.mark.parametrize("name", DOCKERFILES)
def test_hadolint_finds_nothing(name: str) -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    hadolint = hadolint or shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not installed (extra dev)")
    done = subprocess.run([hadolint, name], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", DOCKERFILES)
def test_bases_are_pinned_and_the_last_stage_is_slim_and_not_root(name: str) -> None:
    arguments = dict(a.split("=", 1) for a in values(name, "ARG") if "=" in a)
    bases = [re.sub(r"\$\{(\w+)\}", lambda m: arguments[m[1]], f) for f in values(name, "FROM")]
    assert len(bases) == 2, "one stage builds, one runs"
    for base in bases:
        assert PINNED.search(base.split()[0]), base
    assert "slim" in bases[-1]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", values(name, "USER")[-1])
    assert values(name, "HEALTHCHECK")
    labels = dict(
        re.findall(r'(org\.opencontainers\.image\.\w+)="([^"]*)"', values(name, "LABEL")[0])
    )
    assert labels["org.opencontainers.image.version"] == PROJECT["version"]
    assert labels["org.opencontainers.image.licenses"] == PROJECT["license"]
    assert not re.search(r"(?i)password|secret|token|api_?key", " ".join(values(name, "ENV")))


@pytest.mark.parametrize("name", DOCKERFILES)
def test_what_is_copied_exists_and_is_not_ignored(name: str) -> None:
    kept = [
        line[1:]
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    ]
    for copy in values(name, "COPY"):
        words = shlex.split(copy)
        if words[0].startswith("--from"):
            continue
        for source in words[:-1]:
            assert (ROOT / source).exists(), source
            assert any(fnmatch.fnmatch(source, pattern) for pattern in kept), source
    used = {*kept} - {s for copy in values(name, "COPY") for s in shlex.split(copy)}
    assert not used, f".dockerignore lets in what nobody copies: {used}"


@pytest.mark.parametrize("name", DOCKERFILES)
def test_extras_and_the_command_exist(name: str) -> None:
    for extras in re.findall(r'"\.\[([a-z,]+)\]"', " ".join(values(name, "RUN"))):
        assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"])
    assert json.loads(values(name, "ENTRYPOINT")[0]) == ["weightcut"]
    check_cli(json.loads(values(name, "CMD")[0]))


# compose.yaml


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """The file with its anchors resolved, and its variables at their defaults."""
    text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", (ROOT / "compose.yaml").read_text())
    assert "${" not in text, "a variable has no default"
    data: dict[str, Any] = yaml.safe_load(text)
    return data


def test_the_compose_file_keeps_its_specification(compose: dict[str, Any]) -> None:
    spec = pytest.importorskip("compose_spec", reason="compose-spec is not installed (extra dev)")
    known = {key: value for key, value in compose.items() if not key.startswith("x-")}
    parsed = spec.PyCompose.from_json(json.dumps(known))
    assert set(parsed.service_names()) == set(compose["services"])
    known["services"]["router"]["prots"] = ["127.0.0.1:1:1"]
    with pytest.raises(ValueError, match="prots"):
        spec.PyCompose.from_json(json.dumps(known))
    del known["services"]["router"]["prots"]


def test_every_service_is_walled_in(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert not service.get("privileged"), name
        assert service["mem_limit"], name
        assert PINNED.search(service["image"]), name
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:"), f"{name} is published beyond loopback"
        for variable in service.get("environment", {}):
            assert not re.search(r"(?i)(password|key|token)$", variable), f"{name}: {variable}"


def test_mounts_and_secrets_exist(compose: dict[str, Any]) -> None:
    made_by_the_user = ("./work", "./secrets")
    for name, service in compose["services"].items():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert source.startswith(made_by_the_user) or (ROOT / source).exists(), (name, source)
        for secret in service.get("secrets", ()):
            assert compose["secrets"][secret]["file"].startswith("./secrets/")
        for network in service.get("networks", ()):
            assert network in compose["networks"]
    ours = f"weightcut:{PROJECT['version']}"
    assert compose["services"]["router"]["image"] == ours


def test_our_commands_are_commands(compose: dict[str, Any]) -> None:
    for name in ("cli", "router", "dashboard"):
        check_cli(compose["services"][name]["command"])
    command = compose["services"]["router"]["command"]
    key_file = command[command.index("--keys") + 1]
    assert key_file == "/run/secrets/weightcut-keys"
    assert "weightcut-keys" in compose["services"]["router"]["secrets"]


def test_prometheus_asks_the_router_with_its_key(compose: dict[str, Any]) -> None:
    settings = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yaml").read_text())
    (job,) = settings["scrape_configs"]
    (target,) = job["static_configs"][0]["targets"]
    service, port = target.split(":")
    assert compose["services"][service]["ports"][0].endswith(f":{port}")
    name = Path(job["authorization"]["credentials_file"]).name
    assert name in compose["services"]["prometheus"]["secrets"]
    mounted = {v.split(":")[1] for v in compose["services"]["prometheus"]["volumes"]}
    assert set(settings["rule_files"]) <= mounted


def test_grafana_finds_its_dashboard_and_its_source(compose: dict[str, Any]) -> None:
    folder = ROOT / "deploy/grafana/provisioning"
    (provider,) = yaml.safe_load((folder / "dashboards/weightcut.yaml").read_text())["providers"]
    mounted = [v.split(":")[1] for v in compose["services"]["grafana"]["volumes"]]
    assert any(path.startswith(provider["options"]["path"] + "/") for path in mounted)
    (source,) = yaml.safe_load((folder / "datasources/prometheus.yaml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    assert source["type"] == "prometheus"


@pytest.mark.parametrize("what", ["config", "rules"])
def test_promtool_agrees(what: str, tmp_path: Path) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    rules = ROOT / "deploy/prometheus/alerts.yaml"
    path = rules
    if what == "config":
        settings = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yaml").read_text())
        settings["rule_files"] = [str(rules)]
        (tmp_path / "key").write_text("key")
        settings["scrape_configs"][0]["authorization"]["credentials_file"] = str(tmp_path / "key")
        path = tmp_path / "prometheus.yaml"
        path.write_text(yaml.safe_dump(settings))
    done = subprocess.run(
        ["promtool", "check", what, str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
