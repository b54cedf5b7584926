"""What all tests of the configuration language use."""

from __future__ import annotations

import pytest

from gsmtp.app.wiring import load


@pytest.fixture(scope="session", autouse=True)
def _declarations() -> None:
    """Load what the product declares: hints name options and stanzas."""
    load()


@pytest.fixture(autouse=True)
def _no_search_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EC_CONF_SEARCH_PATH", raising=False)
