"""Servers with clients on many addresses, for tests of Peers, pathways, throttles and what proxies say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import pytest

from tests.support.inprocess import Running, running


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[str], Running]]:
    """Run a server with the given configuration until the test ends."""
    with ExitStack() as stack:

        def start(conf: str) -> Running:
            folder = tmp_path / f"server{len(list(tmp_path.iterdir()))}"
            folder.mkdir()
            server: AbstractContextManager[Running] = running(folder, conf)
            return stack.enter_context(server)

        yield start
