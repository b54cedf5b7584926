"""Living under a process manager: TERM, a second TERM, INT, HUP with good and bad files."""

from __future__ import annotations

import re
import signal
import socket
from pathlib import Path

import pytest

from tests.support.messages import compose, plain, without_trace
from tests.support.ports import free_port
from tests.support.server import Server, serving
from tests.support.waiting import wait_until
from tests.support.wire import Wire

pytestmark = pytest.mark.durability

CONF = """
hostname = "mx.example.com"
spoolbase = "{folder}/spool"
relay_domains = ( "example.com" )
DRAIN
ESMTP_Listener {
  smtp_extensions = ( "ENHANCEDSTATUSCODES" )
LISTENS
}
maildir "m" { basedir = "{folder}/maildir"  domains = ( "example.com" ) }
"""

ONE = '  Listen "127.0.0.1:{port}" { }'


def _conf(*listens: str, drain: str = "") -> str:
    return CONF.replace("LISTENS", "\n".join(listens or (ONE,))).replace("DRAIN", drain)


def _refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


def test_term_lets_a_transaction_end_and_tells_the_idle_ones(tmp_path: Path) -> None:
    content = compose(1, plain(1))
    with serving(tmp_path, _conf()) as server, Wire(server.port) as idle, Wire(server.port) as busy:
        idle.greet()
        busy.greet()
        busy.envelope(b"user@example.com")
        assert busy.say(b"DATA").startswith(b"354 ")
        busy.send(content[:100])
        server.signal(signal.SIGTERM)
        assert idle.line() == b"421 4.4.5 Service unavailable"
        assert idle.is_closed()
        assert _refuses(server.port), "nothing new is accepted"
        busy.send(content[100:] + b".\r\n")
        assert busy.line().startswith(b"250 2.0.0 OK ")
        assert busy.line() == b"421 4.4.5 Service unavailable"
        assert busy.is_closed()
        assert server.wait() == 0
        server.start()
        wait_until(server.delivered, "the message that was let end is delivered")
        assert without_trace(server.delivered()[0].read_bytes()) == content


def test_a_transaction_that_does_not_end_is_cut_when_the_drain_time_is_over(tmp_path: Path) -> None:
    with serving(tmp_path, _conf(drain="drain_time = 1")) as server, Wire(server.port) as busy:
        busy.greet()
        busy.envelope(b"user@example.com")
        assert busy.say(b"DATA").startswith(b"354 ")
        server.signal(signal.SIGTERM)
        assert busy.line() == b"421 4.4.5 Service unavailable"
        assert busy.is_closed()
        assert server.wait() == 0
        assert "transactions_cut=1" in server.log()


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_at_once(tmp_path: Path, second: signal.Signals) -> None:
    with serving(tmp_path, _conf(drain="drain_time = 600")) as server, Wire(server.port) as busy:
        busy.greet()
        busy.envelope(b"user@example.com")
        server.signal(signal.SIGTERM)
        wait_until(lambda: _refuses(server.port), "draining")
        assert server.is_running
        server.signal(second)
        assert server.wait(5) == 128 + second
        assert busy.is_closed()


def test_int_ends_at_once(tmp_path: Path) -> None:
    with serving(tmp_path, _conf(drain="drain_time = 600")) as server, Wire(server.port) as busy:
        busy.greet()
        busy.envelope(b"user@example.com")
        server.signal(signal.SIGINT)
        assert server.wait(5) == 128 + signal.SIGINT
        assert busy.is_closed()


def test_a_server_that_says_it_is_ready_can_be_told_things(tmp_path: Path) -> None:
    """HUP and TERM right behind the ready line; a HUP without its handler would kill."""
    server = Server(tmp_path, _conf())
    try:
        for _ in range(5):
            server.launch()
            wait_until(lambda: " ready " in server.log(), "the ready line", every_s=0.0)
            server.signal(signal.SIGHUP)
            wait_until(lambda: " reloaded " in server.log(), "the reload")
            server.signal(signal.SIGTERM)
            assert server.wait() == 0
    finally:
        server.kill()


def test_hup_adds_removes_and_changes_listeners_without_dropping_sessions(tmp_path: Path) -> None:
    second, third, fourth = free_port(), free_port(), free_port()
    same = f'  Listen "127.0.0.1:{fourth}" {{ }}'
    with (
        serving(tmp_path, _conf(ONE, same, f'  Listen "127.0.0.1:{second}" {{ }}')) as server,
        Wire(fourth) as kept,
        Wire(server.port) as outdated,
        Wire(second) as on_removed,
    ):
        kept.greet()
        outdated.greet()
        on_removed.greet()
        on_removed.envelope(b"user@example.com")
        changed = '  Listen "127.0.0.1:{port}" { max_message_size = 12345 }'
        server.write_conf(_conf(changed, same, f'  Listen "127.0.0.1:{third}" {{ }}'))
        server.signal(signal.SIGHUP)
        wait_until(lambda: " reloaded " in server.log(), "the reload")
        assert _refuses(second)
        with Wire(third) as on_added, Wire(server.port) as on_changed:
            on_added.greet()
            on_changed.reply()
            on_changed.send(b"EHLO client.example.net\r\n")
            lines = [on_changed.line()]
            while lines[-1][3:4] == b"-":
                lines.append(on_changed.line())
            assert b"SIZE 12345" in [line[4:] for line in lines]
        assert kept.message(b"user@example.com", compose(1, plain(1))).startswith(b"250 ")
        assert outdated.say(b"MAIL FROM:<a@example.net>") == b"421 4.3.2 Reconfiguration in progress"
        assert on_removed.say(b"DATA").startswith(b"354 ")
        on_removed.send(compose(2, plain(2)) + b".\r\n")
        assert on_removed.reply().startswith(b"250 ")
        wait_until(lambda: len(server.delivered()) == 2, "both are delivered")


def test_hup_with_a_bad_file_keeps_the_old_configuration(tmp_path: Path) -> None:
    with serving(tmp_path, _conf()) as server, Wire(server.port) as kept:
        kept.greet()
        server.write_conf(_conf('  Listn "127.0.0.1:{port}" { }', drain='drain_time = "soon"'))
        server.signal(signal.SIGHUP)
        wait_until(lambda: "the old configuration stays" in server.log(), "the refusal")
        log = server.log()
        assert re.search(r"gsmtp\.conf:\d+:\d+: .*listn", log, re.IGNORECASE), "each problem with its place"
        assert re.search(r"gsmtp\.conf:\d+:\d+: .*drain_time", log, re.IGNORECASE)
        assert kept.message(b"user@example.com", compose(1, plain(1))).startswith(b"250 ")
        with Wire(server.port) as fresh:
            assert fresh.greet().message(b"user@example.com", compose(2, plain(2))).startswith(b"250 ")


def test_hup_that_can_not_bind_changes_nothing(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", free_port())) as taken, serving(tmp_path, _conf()) as server:
        port = taken.getsockname()[1]
        server.write_conf(_conf(f'  Listen "127.0.0.1:{port}" {{ }}'))
        server.signal(signal.SIGHUP)
        wait_until(lambda: "the old configuration stays" in server.log(), "the refusal")
        assert re.search(rf"gsmtp\.conf:\d+:\d+: .*{port}", server.log())
        with Wire(server.port) as fresh:
            assert fresh.greet().message(b"user@example.com", compose(1, plain(1))).startswith(b"250 ")


def test_a_socket_that_can_not_be_bound_ends_the_start_with_its_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", free_port())) as taken:
        port = taken.getsockname()[1]
        server = Server(tmp_path, _conf(ONE, f'  Listen "127.0.0.1:{port}" {{ }}'))
        server.launch()
        assert server.wait() == 1
        line = next(number for number, text in enumerate(server.conf.read_text().splitlines(), 1) if str(port) in text)
        assert f"{server.conf}:{line}:" in server.log()
        assert _refuses(server.port), "all sockets or none"
