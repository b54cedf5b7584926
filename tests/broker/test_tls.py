"""A broker behind TLS: who it is has to be shown."""

from __future__ import annotations

from pathlib import Path

from tests.broker.conftest import Serve, items, stanza
from tests.support.rabbitmq import Node
from tests.support.server import serving


def test_mail_goes_to_a_broker_whose_certificate_is_good(serve: Serve, node: Node, queue: str) -> None:
    more = f'tls_ca = "{node.authority}"'
    with serve(more=more, url=f"amqps://guest:guest@localhost:{node.tls_port}") as server:
        server.wait_for(lambda: "connected to" in str(server.log))
        assert server.client().greet().transaction().startswith(b"250 ")
        assert len(items(node, queue)) == 1


def test_a_server_of_its_own_process_speaks_tls_too(node: Node, queue: str, tmp_path: Path) -> None:
    url = f"amqps://guest:guest@localhost:{node.tls_port}"
    conf = 'spoolbase = "{folder}/spool"\nrelay_domains = "example.com"\n'
    conf += 'ESMTP_Listener { Listen "127.0.0.1:{port}" { } }\n'
    conf += stanza("confirm", f'tls_ca = "{node.authority}"', url, f'routing_key = "{queue}"')
    with serving(tmp_path, conf) as server, server.client() as client:  # where sockets and ssl are patched
        assert client.sendmail("a@example.net", ["b@example.com"], "Subject: x\r\n\r\nhello\r\n") == {}
        assert len(items(node, queue)) == 1


def test_a_certificate_of_somebody_else_is_refused_and_named(serve: Serve, node: Node) -> None:
    with serve(url=f"amqps://guest:guest@localhost:{node.tls_port}") as server:
        server.wait_for(lambda: "certificate verify failed" in str(server.log))
        assert server.client().greet().transaction() == b"451 4.4.1 not handed on, try again later\r\n"


def test_requiretls_needs_a_broker_on_this_machine_or_behind_tls() -> None:
    from gsmtp.delivery.amqp.settings import Settings, parse_url

    def is_private(*urls: str) -> bool:
        return Settings("x", tuple(parse_url(url) for url in urls)).is_private

    assert is_private("amqps://rabbit1.example", "amqp://127.0.0.1", "amqp://localhost")
    assert not is_private("amqps://rabbit1.example", "amqp://rabbit2.example")
