"""A full disk: new mail gets 452 4.3.1, nothing accepted is lost, and service comes back by itself."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.messages import compose, large, number_of, without_trace
from tests.support.peers import need_root, open_folder
from tests.support.ports import free_port
from tests.support.server import Server, serving
from tests.support.waiting import wait_until
from tests.support.wire import Wire

pytestmark = [pytest.mark.durability, pytest.mark.timeout(180)]

NEXT_HOP = """
hostname = "store.example.com"
spoolbase = "{folder}/spool"
relay_domains = ( "example.com" )
ESMTP_Listener { Listen "127.0.0.1:{port}" { } }
maildir "m" { basedir = "{folder}/maildir"  domains = ( "example.com" ) }
"""

CONF = """
hostname = "mx.example.com"
spoolbase = "{folder}/disk/spool"
spool_reserve = RESERVE
relay_domains = ( "example.com" )
ESMTP_Listener {
  smtp_extensions = ( "ENHANCEDSTATUSCODES" "CHUNKING" )
  Listen "127.0.0.1:{port}" { }
}
Domain "example.com" {
  gateway = "127.0.0.1"  remote_smtp_port = NEXT_PORT  retry_interval = 1  max_retry_interval = 1
}
"""

FULL = b"452 4.3.1 Insufficient system storage, try again later"


@contextmanager
def _small_disk(folder: Path, size_mib: int) -> Iterator[Path]:
    need_root("mounts a tmpfs")
    disk = folder / "disk"
    disk.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size_mib}m", "tmpfs", str(disk)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mount.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {mount.stderr.strip()}")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def _fill(server: Server, most: int, size_bytes: int) -> tuple[list[int], bytes]:
    """Send until refused: the numbers that were accepted, and the refusal."""
    accepted: list[int] = []
    with Wire(server.port) as wire:
        wire.greet()
        for number in range(most):
            reply = wire.message(b"user@example.com", _content(number, size_bytes))
            if not reply.startswith(b"250 "):
                return accepted, reply
            accepted.append(number)
    raise AssertionError(f"{most} messages of {size_bytes} bytes were all accepted")


def _content(number: int, size_bytes: int) -> bytes:
    return compose(number, large(number, size_bytes))


def _numbers(store: Server) -> set[int]:
    return {number_of(file.read_bytes()[:4096]) for file in store.delivered()}


@pytest.mark.parametrize(
    ("reserve", "size_bytes"),
    [(8 * 1024 * 1024, 1_000_000), (0, 1_000_000), (0, 20_000)],
    ids=["reserve, large", "to the last byte, large", "to the last byte, small"],
)
def test_a_full_disk_refuses_and_recovers(reserve: int, size_bytes: int) -> None:
    next_port = free_port()
    with open_folder("full") as folder, _small_disk(folder, 24):
        conf = CONF.replace("RESERVE", str(reserve)).replace("NEXT_PORT", str(next_port))
        with serving(folder, conf) as server:
            accepted, refusal = _fill(server, 3000, size_bytes)
            assert refusal == FULL
            assert len(accepted) >= 5
            with Wire(server.port) as wire:
                wire.greet()
                assert wire.message(b"user@example.com", _content(9999, 2_000_000)) == FULL
                assert wire.say(b"NOOP").startswith(b"250 "), "the session lives on"
            (folder / "next").mkdir()
            with serving(folder / "next", NEXT_HOP, next_port) as store:
                wait_until(lambda: _numbers(store) >= set(accepted), "what was accepted is delivered", 60, every_s=0.5)
                found = {number_of(data): data for data in (file.read_bytes() for file in store.delivered())}
                assert sorted(found) == accepted
                for number, data in found.items():
                    assert without_trace(data) == _content(number, size_bytes)

                def accepted_again() -> bool:
                    with Wire(server.port) as wire:
                        return wire.greet().message(b"user@example.com", _content(5000, size_bytes))[:4] == b"250 "

                wait_until(accepted_again, "service is back without help", 30, every_s=0.5)
                wait_until(lambda: 5000 in _numbers(store), "and delivers", 30)
            assert server.stop() == 0


def test_a_declared_size_beyond_the_room_is_refused_at_mail() -> None:
    with open_folder("full") as folder, _small_disk(folder, 24):
        conf = CONF.replace("RESERVE", "1048576").replace("NEXT_PORT", str(free_port()))
        with serving(folder, conf) as server, Wire(server.port) as wire:
            wire.greet()
            assert wire.say(b"MAIL FROM:<sender@example.net> SIZE=60000000") == FULL
            assert wire.say(b"MAIL FROM:<sender@example.net> SIZE=1000") == b"250 2.1.0 MAIL FROM accepted"


def test_what_waits_on_a_full_disk_survives_a_kill() -> None:
    next_port = free_port()
    with open_folder("full") as folder, _small_disk(folder, 24):
        conf = CONF.replace("RESERVE", "0").replace("NEXT_PORT", str(next_port))
        server = Server(folder, conf)
        try:
            server.start()
            accepted, _ = _fill(server, 3000, 1_000_000)
            server.kill()
            server.start()
            (folder / "next").mkdir()
            with serving(folder / "next", NEXT_HOP, next_port) as store:
                wait_until(lambda: _numbers(store) >= set(accepted), "all is delivered after the restart", 60)
                assert _numbers(store) == set(accepted)
        finally:
            server.kill()
