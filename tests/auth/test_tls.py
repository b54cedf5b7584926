"""Logins and TLS: what is offered before and behind STARTTLS, what STARTTLS makes forgotten."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest

from tests.auth.test_login import BAD, GOOD, plain
from tests.support.certificates import Authority
from tests.support.server import Server, serving
from tests.support.tlsclient import TlsClient

CONF = """
hostname = "localhost"
spoolbase = "{folder}/spool"
suspend_delivery = true
ESMTP_Listener {
  SMTP_Extensions = ( STARTTLS "AUTH PLAIN CRAM-MD5 SCRAM-SHA-256 SCRAM-SHA-256-PLUS" )
  TLS_Certificate = "{folder}/cert.pem"
  Auth_Failure_Delay = 0
  AuthPlainParameters = [ uri = "file://{folder}/users" ]
  AuthCramMD5Parameters = [ uri = "file://{folder}/users" ]
  AuthScramSHA256Parameters = [ uri = "file://{folder}/users" ]
  Peer "127.0.0.2" { Auth_Requires_TLS = true }
  Listen "127.0.0.1:{port}" { }
}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("authtls")
    Authority("tests").issue("localhost").write(folder / "cert.pem")
    (folder / "users").write_text("tim:tanstaaftanstaaf\n")
    with serving(folder, CONF) as running:
        yield running


def start_tls(client: TlsClient) -> None:
    assert client.say(b"STARTTLS") == b"220 Ready to start TLS\r\n"
    client.wrap()


def offered(client: TlsClient) -> list[str]:
    lines = client.say(b"EHLO client.example").decode().splitlines()
    return next((line[9:].split(" ") for line in lines if line[4:9] == "AUTH "), [])


def test_clear_text_mechanisms_wait_for_tls(server: Server) -> None:
    with TlsClient(server.port, "127.0.0.2") as client:
        client.reply()
        assert offered(client) == ["CRAM-MD5", "SCRAM-SHA-256"]
        assert client.say(plain(b"tim", b"tanstaaftanstaaf")).startswith(b"538 5.7.11 ")
        start_tls(client)
        assert offered(client) == ["PLAIN", "CRAM-MD5", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"]
        assert client.say(plain(b"tim", b"tanstaaftanstaaf")) == GOOD


def test_starttls_makes_a_login_forgotten(server: Server) -> None:
    with TlsClient(server.port) as client:
        client.reply()
        assert offered(client) == ["PLAIN", "CRAM-MD5", "SCRAM-SHA-256"]
        assert client.say(plain(b"tim", b"tanstaaftanstaaf")) == GOOD
        assert client.say(b"MAIL FROM:<a@example.net>").startswith(b"250 ")
        assert client.say(b"RCPT TO:<b@elsewhere.example>").startswith(b"250 ")
        assert client.say(b"RSET").startswith(b"250 ")
        start_tls(client)
        offered(client)
        assert client.say(b"MAIL FROM:<a@example.net>").startswith(b"250 ")
        assert client.say(b"RCPT TO:<b@elsewhere.example>").startswith(b"550 ")
        assert client.say(b"RSET").startswith(b"250 ")
        assert client.say(plain(b"tim", b"tanstaaftanstaaf")) == GOOD


def test_a_client_that_was_shown_no_binding_is_told_so(server: Server) -> None:
    """Flag y with -PLUS offered: somebody in the middle has changed the list (RFC 5802 section 6)."""
    with TlsClient(server.port) as client:
        client.reply()
        offered(client)
        start_tls(client)
        offered(client)
        first = base64.b64encode(b"y,,n=tim,r=abcdef")
        assert client.say(b"AUTH SCRAM-SHA-256 " + first) == BAD
        assert client.say(b"AUTH SCRAM-SHA-256 " + base64.b64encode(b"n,,n=tim,r=abcdef")).startswith(b"334 ")
