"""What is recorded of a machine."""

from __future__ import annotations

import getpass
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import psutil

from weightcut.hardware import probe


def test_the_record_is_plain_and_names_nobody() -> None:
    found = probe.machine()
    text = json.dumps(found)
    assert platform.node() not in text
    assert getpass.getuser() not in json.dumps([*found.values()])
    assert found["cpu"]
    assert 1 <= found["cores"] <= (os.cpu_count() or 1)
    assert 0 < found["memory_available_bytes"] <= found["memory_bytes"]
    assert found["memory_bytes"] <= psutil.virtual_memory().total
    assert found["disk_free_bytes"] > 0


def test_cores_are_those_that_this_process_may_use() -> None:
    code = (
        "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\n"
        "from weightcut.hardware.probe import cores; print(cores())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"


def test_the_disk_of_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    assert probe.disk_free(tmp_path / "not" / "yet") > 0


def test_gpus_as_the_driver_tells_them() -> None:
    text = (
        "NVIDIA H100 80GB HBM3, 81559, 9.0, 550.54.15\n"
        "Odd, with comma, [N/A], [N/A], 470.1\n"
        "\nNo devices were found\n"
    )
    first, second = probe.parse_gpus(text)
    assert first == {
        "name": "NVIDIA H100 80GB HBM3",
        "memory_bytes": 81559 << 20,
        "compute_capability": "9.0",
        "driver": "550.54.15",
    }
    assert second["name"] == "Odd, with comma"
    assert second["memory_bytes"] is None
    assert second["compute_capability"] is None


def test_a_tool_without_a_driver_is_no_gpu(tmp_path: Path) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\nexit 9\n")
    tool.chmod(0o755)
    code = "from weightcut.hardware.probe import gpus; print(gpus())"
    environment = {**os.environ, "PATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    assert done.stdout.strip() == "()"
