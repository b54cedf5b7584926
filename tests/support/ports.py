"""TCP ports for servers of tests."""

from __future__ import annotations

import random
import socket
import time
from typing import Final

NO_NAME_SERVER: Final = "127.0.0.1:1"
"""What servers of tests ask that don't say whom else: nobody listens there, and no look-up leaves the machine."""


def free_port() -> int:
    """A loopback port that nobody listens on, outside the range from which clients' ports are taken."""
    for _ in range(200):
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no free port between 20000 and 32000")


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
