"""Reloads that go wrong, or come when they should not: the old configuration stays wholly in force."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import gevent
import pytest

from tests.support.inprocess import BASE, Running, running
from tests.support.ports import free_port

TWO = """
esmtp_listener { listen "127.0.0.1:0" { pool_name = "small" } listen "127.0.0.2:%d" { } }
threadpool "small" { concurrency = 4 max_sessions = 7 }
"""


def whole(folder: Path, conf: str) -> str:
    return BASE.format(spool=folder / "spool") + conf


def refused(server: Running) -> bool:
    return "Reconfigure failed, the old configuration stays" in str(server.log)


def test_a_port_that_is_taken_changes_neither_pools_nor_sockets(tmp_path: Path) -> None:
    port = free_port()
    with running(tmp_path, TWO % port) as server, socket.socket() as stranger:
        stranger.bind(("127.0.0.3", 0))
        stranger.listen()
        before = server.listeners
        waiting = server.client(1)  # perhaps still in the kernel's queue when the reload comes
        conf = f"""esmtp_listener {{ listen "127.0.0.1:0" {{ pool_name = "small" }}
                   listen "127.0.0.3:{stranger.getsockname()[1]}" {{ }} }}
                   threadpool "small" {{ concurrency = 9 max_sessions = 1 }}"""
        server.reconfigure(whole(tmp_path, conf))
        assert refused(server)
        assert server.listeners == before, "the socket that was to go was never closed"
        pool = server.listeners[0].work_pool
        assert (pool.slots, pool.max_sessions) == (4, 7)
        assert server.supervisor._pools.get("small") is pool
        assert waiting.reply().startswith(b"220 ")
        waiting.close()


def test_a_unix_socket_whose_file_is_gone_comes_back_with_a_reload(tmp_path: Path) -> None:
    path = tmp_path / "in.sock"
    conf = f'esmtp_listener {{ listen "127.0.0.1:0" {{ }} listen "{path}" {{ }} }}'
    with running(tmp_path, conf) as server:
        path.unlink()
        added = conf.replace("esmtp_listener {", 'esmtp_listener { listen "127.0.0.2:0" { }')
        server.reconfigure(whole(tmp_path, added))
        assert len(server.listeners) == 3
        for number in range(3):
            client = server.client(number).greet()
            assert client.transaction().startswith(b"250 ")
            client.close()


def test_a_reload_during_the_drain_opens_nothing(tmp_path: Path) -> None:
    port = free_port()
    with running(tmp_path, TWO % port) as server:
        client = server.client().greet()
        client.say(b"MAIL FROM:<a@example.net>")
        supervisor = server.supervisor
        supervisor.request_stop()
        stopping = gevent.spawn(supervisor.stop)
        server.wait_for(lambda: supervisor._service.is_draining)
        other = free_port()
        server.reconfigure(whole(tmp_path, TWO % other))
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.2", other)) != 0, "nothing listens on a new socket"
        assert "reloaded" not in str(server.log)
        assert client.say(b"RCPT TO:<b@example.com>").startswith(b"250 ")
        client.close()
        stopping.join(10)
        assert stopping.successful()
        supervisor.stop = lambda: None  # type: ignore[method-assign]  # it is stopped


@pytest.mark.parametrize("what", ["gone", "folder", "cycle", "binary", "deep", "empty-name"])
def test_a_file_that_can_not_be_read_leaves_all_as_it_was(tmp_path: Path, what: str) -> None:
    with running(tmp_path, TWO % free_port()) as server:
        before, path = server.listeners, server.path
        match what:
            case "gone":
                path.unlink()
            case "folder":
                path.unlink()
                path.mkdir()
            case "cycle":
                path.write_text(f'include "{path}"\n')
            case "binary":
                path.write_bytes(os.urandom(200_000))
            case "deep":
                path.write_text("a {" * 50_000)
            case _:
                path.write_text('spoolbase = ""\nesmtp_listener { listen "" { } }\n')
        server.supervisor.reload()
        assert refused(server)
        assert server.listeners == before
        client = server.client().greet()
        assert client.transaction().startswith(b"250 ")
        client.close()


def test_a_bug_in_a_load_is_told_and_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_args: object) -> None:
        raise RecursionError("too deep")

    with running(tmp_path, TWO % free_port()) as server:
        monkeypatch.setattr("gsmtp.app.reloading.load", broken)
        server.supervisor.reload()
        assert refused(server)
        assert "RecursionError" in str(server.log)
        assert not server.supervisor._is_busy
