"""A fixture for pytest: ``pytest_plugins = ["gsmtp.testing.fixtures"]`` in conftest.py gives `policy_server`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from gsmtp.testing.server import PolicyServer


@pytest.fixture
def policy_server() -> Iterator[Callable[..., PolicyServer]]:
    """A function that makes a `PolicyServer` (its arguments), closed at the end of the test."""
    with ExitStack() as stack:
        yield lambda *args, **options: stack.enter_context(PolicyServer(*args, **options))
