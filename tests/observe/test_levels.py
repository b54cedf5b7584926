"""Debug_Flags and TimestampFormat in a whole server."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.inprocess import BASE, running

LISTENER = 'ESMTP_Listener { Listen "127.0.0.1:0" { } }\n'


@pytest.fixture(autouse=True)
def _levels_restored() -> Iterator[None]:
    before = {name: logging.getLogger(name).level for name in _our_loggers()}
    yield
    for name in _our_loggers():
        logging.getLogger(name).setLevel(before.get(name, logging.NOTSET))


def _our_loggers() -> list[str]:
    return [name for name in logging.Logger.manager.loggerDict if name.partition(".")[0] == "gsmtp"]


def test_debug_flags_set_levels_by_subsystem(tmp_path: Path) -> None:
    flags = "Debug_Flags { DEBUG = ( SMTP ) WARNING = ( NET ) INFO = ( MOD ) }\n"
    with running(tmp_path, LISTENER + flags) as server:
        levels = {part: logging.getLogger(f"gsmtp.{part}").level for part in ("smtp", "net", "policy", "alias", "ssl")}
        assert levels == {
            "smtp": logging.DEBUG, "net": logging.WARNING, "policy": logging.INFO, "alias": logging.INFO,
            "ssl": logging.ERROR,
        }  # fmt: skip
        assert logging.getLogger("gsmtp").level == logging.ERROR
        client = server.client().greet()
        assert client.code(b"QUIT") == 221
        client.close()
        server.wait_for(lambda: " disconnected " in str(server.log), "the end is told")
        assert re.search(
            r"debug    smtp     connected session=\S+ client=127\.0\.0\.1:\d+ listen=127\.0\.0\.1:0 pathway=default\n",
            str(server.log),
        )
        assert re.search(r" end=quit seconds=\d\.\d{3} messages=0 state=", str(server.log))
        server.reconfigure(BASE.format(spool=tmp_path / "spool") + LISTENER + "Debug_Flags { }\n")
        assert logging.getLogger("gsmtp.smtp").level == logging.ERROR
        before = str(server.log).count(" disconnected ")
        client = server.client().greet()
        assert client.transaction().startswith(b"250 ")
        client.close()
        server.wait_for(lambda: server.sessions == 0, "the session is over")
        assert str(server.log).count(" disconnected ") == before
        assert " received " in str(server.log), "mail is told of at any level"
        server.reconfigure(BASE.format(spool=tmp_path / "spool") + LISTENER)
        assert logging.getLogger("gsmtp.smtp").level == logging.NOTSET
        assert logging.getLogger("gsmtp").level == logging.INFO


def test_the_time_stamp_has_the_form_that_is_set(tmp_path: Path) -> None:
    with running(tmp_path, 'TimestampFormat = "[%a %d %b %Y %H:%M:%S] "\n' + LISTENER) as server:
        ready = next(line for line in str(server.log).splitlines() if " ready " in line)
        assert re.match(r"\[[A-Z][a-z]{2} \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d\] info     start    ready ", ready)
        server.reconfigure(BASE.format(spool=tmp_path / "spool") + LISTENER)
        assert re.match(r"\d{4}-\d\d-\d\dT\S+Z info     config   reloaded", str(server.log).splitlines()[-1])
