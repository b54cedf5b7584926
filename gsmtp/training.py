"""Mail for a server that counts what its compiled code does, so that the compiler knows what is done often.

It is of the kinds that a server gets most: kept connections and connections of one message, short and long messages,
stored, handed on by SMTP and thrown away, and some refusals. All of it goes over the loopback interface, between
folders of its own.
"""

from __future__ import annotations

import os
import smtplib
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

_CONF = """
hostname = "training.example.com"
spoolbase = "{folder}/spool"
relay_domains = ( "example.com" )
{rest}
ESMTP_Listener {{
  Listen "127.0.0.1:{port}" {{ }}
}}
"""
_HEADER = (
    "From: A Sender <sender@example.net>\r\nTo: recipient@example.com\r\nSubject: training\r\n"
    "Date: Mon, 23 Nov 2026 12:00:00 +0000\r\nMessage-ID: <training@example.net>\r\n\r\n"
)
_LINE = "Forty-eight octets of text, with a line end: .\r\n"
_REFUSED = ("WHAT", "MAIL FROM:<sender@example.net> SIZE=1", "RCPT TO:<recipient@elsewhere.example>", "RSET")
_CLIENTS = 8
_START_S = 30.0
_REPLY_S = 20.0


class TrainingFailed(Exception):
    """The server didn't start, didn't take the mail or didn't end; the message has its last words."""


class _ServerFailed(Exception):
    """What a server did instead."""


def train(root: str) -> None:
    """Run two servers of a package's copy, of which one hands on to the other, and send them mail, some seconds long.

    Args:
        root: the folder that has the folder `gsmtp`.

    Raises:
        TrainingFailed: see there.
    """
    sink, keeping = _free_ports()
    with (
        _running(root, sink, 'blackhole = "internal"'),
        _running(root, keeping, f'gateway = "127.0.0.1:{sink}"'),
    ):
        _send_all(keeping, sink)


@contextmanager
def _running(root: str, port: int, rest: str) -> Iterator[None]:
    """A server, ended by TERM: what was counted is written when a process ends by itself."""
    with tempfile.TemporaryDirectory(prefix="gsmtp-training-") as folder:
        conf, output = os.path.join(folder, "ecelerity.conf"), os.path.join(folder, "output")
        with open(conf, "w", encoding="utf-8") as file:
            file.write(_CONF.format(folder=folder, port=port, rest=rest))
        with open(output, "wb") as log:
            server = subprocess.Popen(  # noqa: S603 - this interpreter, our own words
                [sys.executable, "-m", "gsmtp", "run", conf],
                cwd=root,
                env={**os.environ, "PYTHONPATH": root, "GSMTP_PURE": "0"},
                stdout=log,
                stderr=log,
            )
        try:
            _await(port, server)
            yield
            server.terminate()
            if server.wait(_START_S):
                raise _ServerFailed(f"it ended with {server.returncode}")
        except (OSError, smtplib.SMTPException, subprocess.TimeoutExpired, _ServerFailed) as error:
            raise TrainingFailed(f"{error}; the server says:\n{_tail(output)}") from error
        finally:
            server.kill()
            server.wait()


def _free_ports() -> tuple[int, int]:
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:
        return first.getsockname()[1], second.getsockname()[1]


def _await(port: int, server: subprocess.Popen[bytes]) -> None:
    due = time.monotonic() + _START_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError as error:
            if server.poll() is not None or time.monotonic() > due:
                raise _ServerFailed("it didn't start") from error
            time.sleep(0.05)
        else:
            return


def _send_all(keeping: int, sink: int) -> None:
    rounds: tuple[tuple[Callable[[int], None], int], ...] = (
        (lambda port: _keep(port, 150, 1_024), 1),
        (lambda port: _keep(port, 50, 10_240), 1),
        (lambda port: _keep(port, 3, 1_048_576), 1),
        (lambda port: _keep(port, 1, 1_024), 40),
        (_be_refused, 2),
    )
    with ThreadPoolExecutor(_CLIENTS) as clients:
        for work, times in rounds:
            for port in (keeping, sink):
                for done in [clients.submit(work, port) for _ in range(_CLIENTS * times)]:
                    done.result()


def _keep(port: int, messages: int, size_bytes: int) -> None:
    """Send some messages over one connection."""
    text = (_HEADER + _LINE * (max(0, size_bytes - len(_HEADER)) // len(_LINE))).encode("ascii")
    with smtplib.SMTP("127.0.0.1", port, "client.example.net", _REPLY_S) as client:
        for _ in range(messages):
            client.sendmail("sender@example.net", ["recipient@example.com"], text)


def _be_refused(port: int) -> None:
    with smtplib.SMTP("127.0.0.1", port, "client.example.net", _REPLY_S) as client:
        client.ehlo()
        for command in _REFUSED:
            client.docmd(command)


def _tail(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()[-2_000:].strip()
