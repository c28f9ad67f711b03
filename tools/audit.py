"""Ask pip-audit which pinned packages have known flaws, and say so if nobody could be asked.

    python tools/audit.py PIP_AUDIT CONSTRAINTS

pip-audit ends with "No known vulnerabilities found" also where its database could not be reached
and every package was passed over; that is told apart here. Exit codes: 0 nothing known, 1 flaws
were found, 2 nothing or not everything could be audited.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

PROBE = "pip==24.0"  # an old and well-known package, which every database knows


def main() -> int:
    """Audit, and print what was found."""
    pip_audit, constraints = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        probe = Path(folder) / "probe.txt"
        probe.write_text(f"{PROBE}\n")
        asked, said = audit(pip_audit, probe)
    if not asked or any("skip_reason" in one for one in asked):
        reason = asked[0].get("skip_reason", "") if asked else said
        print(f"NOT AUDITED: the database cannot be reached from here ({reason})", file=sys.stderr)
        print("what to do: run `make audit` on a machine with a network", file=sys.stderr)
        return 2
    found, said = audit(pip_audit, Path(constraints))
    if not found:
        print(f"NOT AUDITED: {said}", file=sys.stderr)
        return 2
    return report(found)


def audit(pip_audit: str, requirements: Path) -> tuple[list[dict[str, Any]], str]:
    """Return what pip-audit says of each package, or nothing and its last line."""
    command = [pip_audit, "--requirement", str(requirements), "--no-deps", "--disable-pip"]
    command += ["--format", "json", "--progress-spinner", "off"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        return json.loads(done.stdout)["dependencies"], ""
    except (ValueError, KeyError):
        return [], (done.stderr.strip().splitlines() or ["pip-audit said nothing"])[-1]


def report(found: list[dict[str, Any]]) -> int:
    """Print the flaws and what was passed over; return the exit code."""
    skipped = [one for one in found if "skip_reason" in one]
    flawed = [one for one in found if one.get("vulns")]
    for one in flawed:
        for flaw in one["vulns"]:
            mended = ", ".join(flaw["fix_versions"]) or "none yet"
            print(f"{one['name']} {one['version']}: {flaw['id']}, mended in {mended}")
    for one in skipped:
        print(f"{one['name']}: not audited, {one['skip_reason']}", file=sys.stderr)
    asked = len(found) - len(skipped)
    print(f"{asked} packages audited, {len(flawed)} with known flaws, {len(skipped)} passed over")
    return 1 if flawed else 2 if skipped else 0


if __name__ == "__main__":
    sys.exit(main())
