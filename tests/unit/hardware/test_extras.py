"""Which extras are installed, from the metadata of an installed package."""

from __future__ import annotations

from pathlib import Path

import pytest

from weightcut.hardware.extras import extras

METADATA = """Metadata-Version: 2.4
Name: made-up
Version: 1
Requires-Dist: numpy>=2
Requires-Dist: pydantic>=2; extra == "good"
Requires-Dist: not-there-at-all[fast]>=1; python_version > "3" and extra == "bad"
Requires-Dist: made-up[bad,good]; extra == 'both'
Requires-Dist: not-there-either; extra == "dev"
"""


def test_extras_are_told_with_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "made_up-1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(METADATA)
    monkeypatch.syspath_prepend(tmp_path)
    found = {one.name: one for one in extras("made-up")}
    assert set(found) == {"good", "bad", "both"}
    assert found["good"].installed
    assert found["bad"].missing == ("not-there-at-all",)
    assert found["both"].missing == ("not-there-at-all",)
    assert found["bad"].install == 'pip install "weightcut[bad]"'


def test_a_package_that_is_not_installed_has_none() -> None:
    assert extras("not-there-at-all") == ()
