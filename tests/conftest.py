"""Settings of the whole test suite."""

from __future__ import annotations

import signal

import pytest
from hypothesis import settings

# In the background a shell has us ignore Ctrl-C, and all that tests start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A machine under load is no failure of the code: nothing here is timed.
settings.register_profile("weightcut", deadline=None)
settings.load_profile("weightcut")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List what was not tested and why, a line for each reason."""
    reasons: dict[str, list[str]] = {}
    for report in terminalreporter.stats.get("skipped", ()):
        said = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        where = report.nodeid.partition("::")[0]
        reasons.setdefault(said.removeprefix("Skipped: "), []).append(where)
    left_out = len(terminalreporter.stats.get("deselected", ()))
    if left_out:
        reasons["deselected"] = ["by the command line"] * left_out
    if not reasons:
        return
    terminalreporter.section("not tested, and why")
    for reason, places in sorted(reasons.items(), key=lambda one: (-len(one[1]), one[0])):
        terminalreporter.line(f"{len(places):4}  {reason} ({', '.join(sorted(set(places)))})")
