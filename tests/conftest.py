"""Settings of the whole test suite."""

from __future__ import annotations

from hypothesis import settings

# A machine under load is no failure of the code: nothing here is timed.
settings.register_profile("weightcut", deadline=None)
settings.load_profile("weightcut")
