"""Bad clients of the console: none can stall mail, fill memory, or get done what they may not."""

from __future__ import annotations

from pathlib import Path

import gevent
import pytest
from gevent import socket

from gsmtp.control.listener import MOST_SESSIONS
from gsmtp.control.wire import Wire
from tests.support.console import console_of
from tests.support.inprocess import Running, running

CONF = """
ESMTP_Listener {{ Listen "127.0.0.1:0" {{ }} }}
Control_Listener {{ timeout = {timeout} Listen "{folder}/control" {{ }} Listen "127.0.0.2:0" {{ }} }}
"""


def _mail_goes_on(server: Running) -> None:
    client = server.client().greet()
    assert client.transaction().startswith(b"250 ")
    client.close()


def test_a_line_that_never_ends_is_cut_off(tmp_path: Path) -> None:
    with running(tmp_path, CONF.format(folder=tmp_path, timeout=60)) as server:
        console = console_of(server)
        console.send(b"x" * 65_000)
        console.send(b"y" * 6_000)
        assert console.answer() == ["ERR line too long"]


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"\xff\xfe\n", "ERR not UTF-8"),
        (b"config\0get\n", "ERR control characters"),
        (b"\x1b[2J\n", "ERR control characters"),
        (b"EHLO x\n", "ERR unknown command: EHLO x; `help` lists the commands"),
        (b'config get "x\n', 'ERR a quote is not closed: "x'),
        ("prüfe\n".encode(), "ERR unknown command: prüfe; `help` lists the commands"),
    ],
)
def test_garbage_gets_an_error(tmp_path: Path, line: bytes, status: str) -> None:
    with running(tmp_path, CONF.format(folder=tmp_path, timeout=60)) as server:
        console = console_of(server)
        console.send(line)
        assert console.answer()[0] == status


def test_a_browser_gets_nothing_done(tmp_path: Path) -> None:
    """A web page can make a browser post lines to a port of this machine."""
    with running(tmp_path, CONF.format(folder=tmp_path, timeout=60)) as server:
        console = console_of(server, 1)
        console.send(b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\nsummary reset\nshutdown\n")
        assert console.answer() == []
        assert not server.supervisor._stop.is_set()


def test_commands_may_come_in_one_piece(tmp_path: Path) -> None:
    with running(tmp_path, CONF.format(folder=tmp_path, timeout=60)) as server:
        console = console_of(server)
        console.send(b"pid\r\n\nversion\npi")
        assert console.answer()[0] == "OK"
        assert console.answer() == ["OK"]
        assert console.answer()[1].startswith("gsmtp ")
        console.send(b"d\nquit\n")
        assert len(console.answer()) == 2
        assert console.answer() == ["OK bye"]
        assert console.is_closed()


def test_one_that_does_not_read_is_left_alone_and_let_go(tmp_path: Path) -> None:
    with running(tmp_path, CONF.format(folder=tmp_path, timeout=1)) as server:
        console = console_of(server)
        try:
            for _ in range(200):
                console.send(b"help\nwrite config\njson config showrecurse\n" * 20)
        except OSError:  # let go already
            pass
        _mail_goes_on(server)
        server.wait_for(lambda: not server.supervisor._host.seats, "the session is still there")
        assert "does not read" in str(server.log)


def test_one_that_drips_is_let_go(tmp_path: Path) -> None:
    with running(tmp_path, CONF.format(folder=tmp_path, timeout=1)) as server:
        console = console_of(server)

        def drip() -> None:
            try:
                while True:
                    console.send(b"x")
                    gevent.sleep(0.05)
            except OSError:
                pass

        dripping = gevent.spawn(drip)
        server.wait_for(lambda: not server.supervisor._host.seats, "the session is still there")
        dripping.join(10)


def test_too_many_on_one_socket_leave_room_on_the_other(tmp_path: Path) -> None:
    with running(tmp_path, CONF.format(folder=tmp_path, timeout=60)) as server:
        clients = [console_of(server, 1) for _ in range(MOST_SESSIONS)]
        assert all(client.greeting[0] == "OK gsmtp-console 1" for client in clients)
        assert console_of(server, 1).greeting == ["ERR too many console sessions"]
        operator = console_of(server, 0)
        assert operator.lines("count Control") == [f"{MOST_SESSIONS + 1} sessions"]
        _mail_goes_on(server)
        clients.pop().close()
        server.wait_for(lambda: len(server.supervisor._host.seats) == MOST_SESSIONS)
        assert console_of(server, 1).greeting[0] == "OK gsmtp-console 1"


def test_a_reset_in_the_midst_of_an_answer_is_nothing(tmp_path: Path) -> None:
    import struct

    with running(tmp_path, CONF.format(folder=tmp_path, timeout=60)) as server:
        for _ in range(20):
            console = console_of(server, 1)
            console.send(b"help\nhelp\nhelp\n")
            console.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            console.close()
        server.wait_for(lambda: not server.supervisor._host.seats)
        assert "Traceback" not in str(server.log)
        _mail_goes_on(server)


def test_a_command_that_breaks_costs_one_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(tmp_path, CONF.format(folder=tmp_path, timeout=60)) as server:
        console = console_of(server)
        monkeypatch.setattr("gsmtp.control.commands.summary.own", lambda operations: 1 / 0)
        assert console.say("summary") == ["ERR the command failed: see the log"]
        assert console.lines("pid")


def test_text_of_others_can_not_move_a_terminal(tmp_path: Path) -> None:
    with running(tmp_path, CONF.format(folder=tmp_path, timeout=60)) as server:
        server.supervisor.service.events.event("error", "net", "x\x1b[2J\ny")
        console = console_of(server)
        text = "\n".join(console.lines("paniclog"))
        assert "\x1b" not in text
        assert "x\\x1b[2J\\ny" in text


def test_a_dot_at_the_beginning_of_a_line_is_no_end() -> None:
    ours, theirs = socket.socketpair()
    Wire(ours).answer("OK", (".", "..x", "a\n.b", ""), 10)
    assert theirs.recv(4096) == b"OK\n..\n...x\na\n..b\n\n.\n"
