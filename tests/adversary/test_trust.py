"""Trust that one client has earned, and that must not reach another one for whom it speaks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.certificates import Authority
from tests.support.server import Server, serving
from tests.support.tlsclient import TlsClient, context

CONF = """
hostname = "mx.example.com"
spoolbase = "{folder}/spool"
spool_reserve = 0
suspend_delivery = true
relay_domains = ( "example.com" )
tls_certificate = "{folder}/mx.pem"
tls_client_ca = "{folder}/ca.pem"
ESMTP_Listener {
  tls_verified_peer_can_relay = true
  smtp_extensions = ( STARTTLS "AUTH EXTERNAL" )
  AuthPlainParameters = [ uri = "file://{folder}/users" ]
  Listen "127.0.0.1:{port}" {
    Peer "127.0.0.2" { smtp_extensions = ( STARTTLS "AUTH EXTERNAL" "AUTH PLAIN" XCLIENT XREMOTEIP ) }
  }
}
"""
AUTH_EXTERNAL = b"AUTH EXTERNAL ="


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("trust")
    authority = Authority("the CA")
    authority.write(folder / "ca.pem")
    authority.issue("mx.example.com").write(folder / "mx.pem")
    authority.issue("proxy.example").write(folder / "proxy.pem")
    (folder / "users").write_text("proxy:secret\n")
    with serving(folder, CONF) as running:
        yield running


def proxy(server: Server) -> TlsClient:
    """A proxy that has shown its certificate."""
    client = TlsClient(server.port, "127.0.0.2")
    assert client.reply().startswith(b"220 ")
    assert client.say(b"EHLO proxy.example").startswith(b"250-")
    assert client.say(b"STARTTLS").startswith(b"220 ")
    client.wrap(context(cert=server.folder / "proxy.pem"))
    assert client.say(b"EHLO proxy.example").startswith(b"250-")
    return client


def relays(client: TlsClient) -> bool:
    assert client.say(b"MAIL FROM:<a@example.net>").startswith(b"250 ")
    return client.say(b"RCPT TO:<b@elsewhere.example>").startswith(b"250 ")


def test_a_proxy_may_relay_and_log_in_by_its_certificate(server: Server) -> None:
    with proxy(server) as client:
        assert relays(client)
        assert client.say(b"RSET").startswith(b"250 ")
        assert client.say(AUTH_EXTERNAL).startswith(b"235 ")


@pytest.mark.parametrize("command", [b"XCLIENT ADDR=192.0.2.9", b"XREMOTEIP 192.0.2.9"])
def test_a_proxys_certificate_is_not_its_clients(server: Server, command: bytes) -> None:
    with proxy(server) as client:
        assert client.say(command)[:1] == b"2"
        offered = client.say(b"EHLO client.example")
        assert b"AUTH" not in offered
        assert client.say(AUTH_EXTERNAL)[:1] == b"5"
        assert not relays(client)


def test_a_login_of_the_proxy_is_not_its_clients(server: Server) -> None:
    with proxy(server) as client:
        assert client.say(AUTH_EXTERNAL).startswith(b"235 ")
        assert client.say(b"XCLIENT ADDR=192.0.2.9").startswith(b"220 ")
        assert client.say(b"EHLO client.example").startswith(b"250-")
        assert not relays(client)


@pytest.mark.parametrize("command", [b"XREMOTEIP 127.0.0.9", b"XCLIENT ADDR=127.0.0.9"])
def test_a_proxys_login_is_not_its_clients(server: Server, command: bytes) -> None:
    with TlsClient(server.port, "127.0.0.2") as client:
        client.reply()
        client.say(b"EHLO proxy.example")
        assert client.say(b"AUTH PLAIN AHByb3h5AHNlY3JldA==").startswith(b"235 ")
        assert relays(client)
        client.say(b"RSET")
        assert client.say(command)[:1] == b"2"
        client.say(b"EHLO client.example")
        assert not relays(client)
