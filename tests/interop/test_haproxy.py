"""A real HAProxy in front: PROXY headers of both versions, health checks, TLS passed through and TLS ended there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.certificates import Authority
from tests.support.haproxy import HAProxy, haproxy
from tests.support.ports import free_port
from tests.support.server import Server, serving
from tests.support.tlsclient import TlsClient, context
from tests.support.waiting import wait_until

pytestmark = pytest.mark.interop

CONF = """
hostname = "mx.example.com"
spoolbase = "{folder}/spool"
relay_domains = ( "example.com" )
suspend_delivery = true
ESMTP_Listener {
  smtp_extensions = ( XDUMPCONTEXT )
  Peer "127.0.5.0/24" { banner_hostname = five.example }
  Listen "127.0.0.1:{port}" { }
  Listen "127.0.0.1:@plain@" {
    Peer "127.0.0.1" { proxy_protocol = any  context = [ proxy = "yes" ] }
  }
  Listen "127.0.0.1:@smtps@" {
    use_ssl = true
    tls_certificate = "{folder}/mx.pem"
    Peer "127.0.0.1" { proxy_protocol = v2 }
  }
}
"""

SECTIONS = """
listen v1
    bind 127.0.0.1:{v1}
    server gsmtp 127.0.0.1:{plain} send-proxy
listen v2
    bind 127.0.0.1:{v2}
    bind [::1]:{v2}
    server gsmtp 127.0.0.1:{plain} send-proxy-v2 proxy-v2-options crc32c,unique-id check inter 200ms
    unique-id-format %ci-%cp
listen ended
    bind 127.0.0.1:{ended} ssl crt {folder}/proxy.pem ca-file {folder}/ca.pem verify optional
    server gsmtp 127.0.0.1:{plain} send-proxy-v2-ssl-cn proxy-v2-options crc32c,authority,ssl,cert-cn,ssl-cipher
listen passed
    bind 127.0.0.1:{passed}
    server gsmtp 127.0.0.1:{smtps} send-proxy-v2
"""


@dataclass
class Site:
    """HAProxy, the server behind it, and the ports of both."""

    proxy: HAProxy
    server: Server
    ports: dict[str, int]
    folder: Path


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("haproxy")
    authority = Authority("CA of the tests")
    authority.write(folder / "ca.pem")
    for name, host in (("mx", "mx.example.com"), ("proxy", "proxy.example.com"), ("client", "client.example")):
        authority.issue(host).write(folder / f"{name}.pem")
    ports = {name: free_port() for name in ("plain", "smtps", "v1", "v2", "ended", "passed")}
    conf = CONF
    for name, port in ports.items():
        conf = conf.replace(f"@{name}@", str(port))
    with (
        serving(folder, conf) as server,
        haproxy(folder, SECTIONS.format(folder=folder, **ports)) as proxy,
    ):
        yield Site(proxy, server, ports, folder)


def dump(client: TlsClient) -> dict[str, str]:
    """The connection variables."""
    lines = client.say(b"XDUMPCONTEXT").decode().splitlines()
    return dict(line.split(" ", 2)[1:] for line in lines[:-1])


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_the_client_is_who_connected_to_haproxy(site: Site, version: str) -> None:
    with TlsClient(site.ports[version], "127.0.5.7") as client:
        assert client.reply().startswith(b"220 five.example ")
        assert client.say(b"EHLO x").startswith(b"250-five.example says EHLO to 127.0.5.7\r\n")
        found = dump(client)
        assert found["proxy_protocol"] == version
        assert "proxy" not in found
        assert client.message(b"Subject: by HAProxy\r\n\r\nhello\r\n").startswith(b"250 ")
        port = client.socket.getsockname()[1]
    wait_until(lambda: f"client=127.0.5.7:{port}" in site.server.log(), "the session in the log")


def test_other_clients_have_other_peers(site: Site) -> None:
    with TlsClient(site.ports["v2"], "127.0.6.7") as client:
        assert client.reply().startswith(b"220 mx.example.com ")
        assert client.say(b"HELO x") == b"250 mx.example.com says HELO to 127.0.6.7\r\n"
        port = client.socket.getsockname()[1]
        client.say(b"EHLO x")
        assert dump(client)["proxy_unique_id"] == f"127.0.6.7-{port}"


def test_health_checks_are_served_as_the_proxys_own_connections(site: Site) -> None:
    wait_until(lambda: site.proxy.status("v2") == "UP", "the health check to succeed")
    assert 'why="not a PROXY header"' not in site.server.log()


def test_tls_passes_through_and_the_header_comes_before_the_handshake(site: Site) -> None:
    with TlsClient(site.ports["passed"], "127.0.5.8") as client:
        client.wrap(context())
        assert client.reply().startswith(b"220 five.example ")
        assert b"127.0.5.8" in client.say(b"EHLO x")
        found = dump(client)
        assert found["tls"] == "on"
        assert found["proxy_protocol"] == "v2"
        assert client.message(b"Subject: TLS\r\n\r\nhello\r\n").startswith(b"250 ")


def test_tls_that_haproxy_ends_is_told(site: Site) -> None:
    with TlsClient(site.ports["ended"], "127.0.5.9") as client:
        client.wrap(context(cert=site.folder / "client.pem"), name="mx.example.com")
        assert client.reply().startswith(b"220 five.example ")
        client.say(b"EHLO x")
        found = dump(client)
        assert found["proxy_tls"] == client.tls.version()
        cipher = client.tls.cipher()
        assert cipher is not None
        assert found["proxy_tls_cipher"] == cipher[0]
        assert found["proxy_tls_client_cn"] == "client.example"
        assert found["proxy_tls_client_verified"] == "yes"
        assert found["proxy_authority"] == "mx.example.com"
        assert "tls" not in found


def test_a_client_that_goes_around_haproxy_is_turned_away(site: Site) -> None:
    with TlsClient(site.ports["plain"]) as client:
        client.socket.sendall(b"EHLO x\r\n")
        assert client.reply() == b""
    with TlsClient(site.ports["plain"], "127.0.5.7") as other:
        assert other.reply().startswith(b"220 five.example "), "who is not the proxy is served as it is"
