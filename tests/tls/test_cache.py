"""``tls show cache``, ``tls flush cache`` and ``tls rekey`` on a running server."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import gevent

from gsmtp.control.command import COMMANDS, CommandError
from gsmtp.control.commands import tls
from gsmtp.control.console import Console
from tests.support.certificates import Authority
from tests.support.inprocess import Running, running
from tests.support.tlsclient import TlsClient, context

assert tls

T = TypeVar("T")


def aside(function: Callable[..., T], *args: object) -> T:
    """Run a blocking client in a native thread, beside the server's hub."""
    result: T = gevent.get_hub().threadpool.apply(function, args)
    return result


def say(server: Running, name: str) -> str:
    found = COMMANDS.get(name)
    assert found is not None
    try:
        return "\n".join(found.run(Console(server.supervisor, "tester"), ()).lines)
    except CommandError as error:
        return f"ERR {error}"


def connected(port: int) -> TlsClient:
    return TlsClient(port).starttls()


def subject(port: int) -> bytes:
    with connected(port) as client:
        return client.tls.getpeercert(binary_form=True) or b""


def test_the_cache_is_shown_and_made_anew(tmp_path: Path) -> None:
    authority = Authority("ca")
    file = authority.issue("old.example.com").write(tmp_path / "mx.pem")
    conf = f"""ESMTP_Listener {{ smtp_extensions = ( STARTTLS )  tls_certificate = "{file}"
        Listen "127.0.0.1:0" {{ }} }}"""
    with running(tmp_path, conf) as server:
        port = int(server.address()[1])
        client = aside(connected, port)
        shown = say(server, "tls show cache")
        assert re.sub(r"\d+ seconds", "N seconds", shown) == (
            f"1: server context\n  age: N seconds old\n  in use by: 1 sessions\n  certificate: {file}\n"
            "  ca list: \n  ciphers: DEFAULT\nTemp RSA key is uncached."
        )
        authority.issue("new.example.com").write(file)
        assert b"old.example.com" in aside(subject, port)
        assert say(server, "tls flush cache") == "Cache flush request submitted."
        assert b"new.example.com" in aside(subject, port)
        assert "in use by: 0 sessions" in say(server, "tls show cache"), "the running session keeps the old one"
        assert aside(client.say, b"NOOP").startswith(b"250 ")
        file.write_text("no certificate")
        assert "holds no certificate in PEM form" in say(server, "tls flush cache")
        assert b"new.example.com" in aside(subject, port), "all stays as it is"
        aside(client.socket.close)


def test_rekeying_ends_the_life_of_tickets(tmp_path: Path) -> None:
    file = Authority("ca").issue("mx.example.com").write(tmp_path / "mx.pem")
    conf = f"""ESMTP_Listener {{ smtp_extensions = ( STARTTLS )  tls_certificate = "{file}"
        Listen "127.0.0.1:0" {{ }} }}"""

    made = context()

    def shake(session: object) -> tuple[object, bool | None]:
        with TlsClient(port) as client:
            client.starttls(made, session=session)
            return client.tls.session, client.tls.session_reused

    with running(tmp_path, conf) as server:
        port = int(server.address()[1])
        session, _ = aside(shake, None)
        assert aside(shake, session)[1]
        assert say(server, "tls rekey") == "Rekey request submitted."
        assert not aside(shake, session)[1]
