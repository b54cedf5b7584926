"""TCP ports for servers of tests."""

from __future__ import annotations

import os
import random
import socket
import time
from typing import Final

NO_NAME_SERVER: Final = "127.0.0.1:1"
"""What servers of tests ask that don't say whom else: nobody listens there, and no look-up leaves the machine."""


_FIRST, _END = 20_000, 32_000
_WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _WORKERS


def free_port() -> int:
    """A port that nobody listens on at any address, outside the range from which clients' ports are taken.

    Tests that run side by side get theirs from ranges of their own: between the look and the use nobody takes it.
    """
    for _ in range(200):
        port = random.randrange(_FIRST // _WORKERS, _END // _WORKERS) * _WORKERS + _WORKER
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("", port))
            except OSError:
                continue
            return port
    raise AssertionError(f"no free port from {_FIRST} to {_END}")


def wait_for_port(port: int, deadline_s: float = 20.0, greeting: bytes = b"220") -> None:
    """Wait until a server on the loopback port greets. Raises AssertionError when the deadline has passed."""
    end = time.monotonic() + deadline_s
    last: object = "nothing tried"
    while time.monotonic() < end:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=2) as client:
                last = client.recv(512)
                if last.startswith(greeting):
                    return
        except OSError as error:
            last = error
        time.sleep(0.05)
    raise AssertionError(f"nothing greets on port {port} within {deadline_s} s; last seen: {last!r}")
