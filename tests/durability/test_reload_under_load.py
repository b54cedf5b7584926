"""A hundred reloads under two hundred busy clients: nothing that was confirmed is lost, no connection is reset.

Every second reload changes an option that all sessions resolve, so that all of them are told 421 at their next MAIL;
a second Listen comes and goes. Clients do what senders do: after a 421 they come again.
"""

from __future__ import annotations

import re
import signal
import sqlite3
import threading
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.ports import free_port
from tests.support.server import Server, serving
from tests.support.waiting import wait_until
from tests.support.wire import Wire

pytestmark = pytest.mark.durability

CLIENTS = 200
RELOADS = 100
CONF = """
hostname = "mx.example.com"
spoolbase = "{folder}/spool"
spool_reserve = 0
suspend_delivery = true
relay_domains = ( "example.com" )
ESMTP_Listener {
  idle_time = IDLE
  Listen "127.0.0.1:{port}" { listen_backlog = 1024 }
  SECOND
}
"""
BODY = b"Subject: under reload\r\n\r\nhello\r\n"


class Crowd:
    """Clients in threads of their own, each sending one message after the other until told to stop.

    Args:
        port: where.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.confirmed: list[str] = []
        self.troubles: Counter[str] = Counter()
        self.told = 0
        self.stop = threading.Event()
        self._threads = [threading.Thread(target=self._client) for _ in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def _client(self) -> None:
        while not self.stop.is_set():
            try:
                with Wire(self.port) as wire:
                    wire.greet()
                    while not self.stop.is_set() and self._message(wire):
                        pass
            except (OSError, EOFError, AssertionError) as error:
                self.troubles[repr(error)] += 1

    def _message(self, wire: Wire) -> bool:
        answer = wire.say(b"MAIL FROM:<a@example.net>")
        if answer.startswith(b"421 4.3.2 Reconfiguration in progress"):
            self.told += 1
            assert wire.socket.recv(1) == b"", "the connection ends in order; a reset would raise"
            return False
        assert answer.startswith(b"250 "), answer
        for line in (b"RCPT TO:<b@example.com>", b"DATA"):
            answer = wire.say(line)
            assert answer[:1] in b"23", answer
        wire.send(BODY + b".\r\n")
        answer = wire.line()
        found = re.match(rb"250 (?:2\.0\.0 )?OK (\S+)", answer)
        assert found, answer
        self.confirmed.append(found[1].decode())
        return True

    def end(self) -> None:
        """Let all of them finish what they are at."""
        self.stop.set()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()


def _conf(number: int, second: int) -> str:
    listen = f'Listen "127.0.0.1:{second}" {{ }}' if number % 3 else ""
    return CONF.replace("IDLE", str(100 + number // 2)).replace("SECOND", listen)


def _reload(server: Server, number: int, second: int) -> None:
    server.write_conf(_conf(number, second))
    server.signal(signal.SIGHUP)
    wait_until(lambda: server.log().count(" config   reloaded ") >= number, f"reload {number}", every_s=0.01)


def test_a_hundred_reloads_under_two_hundred_clients(tmp_path: Path) -> None:
    second = free_port()
    with serving(tmp_path, _conf(0, second)) as server:
        crowd = Crowd(server.port)
        try:
            wait_until(lambda: len(crowd.confirmed) >= CLIENTS, "the crowd is at work")
            for number in range(1, RELOADS + 1):
                _reload(server, number, second)
            wait_until(lambda: crowd.told >= CLIENTS, "sessions are told")
        finally:
            crowd.end()
        assert not crowd.troubles
        assert server.stop() == 0
        with closing(sqlite3.connect(server.spool / "spool.db")) as database:
            kept = {row[0] for row in database.execute("SELECT name FROM message")}
        assert len(set(crowd.confirmed)) == len(crowd.confirmed)
        assert set(crowd.confirmed) <= kept, "every 250 is in the spool"
        assert "Traceback" not in server.log()
        assert "Reconfigure failed" not in server.log()
