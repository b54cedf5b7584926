"""Who may send what, over real sockets: the documented decision and the tricks that must not get around it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.inprocess import Running, running

DENIED = b"550 5.7.1 relaying denied\r\n"
CONF = """
relay_domains = ( "example.com" "*.sub.example.com" "*glob.example" "bücher.example" )
bounce_domains = ( "bounces.example" )
Pathway "partners" { relay_domains = ( "partner.example" ) }
ESMTP_Listener {
  smtp_extensions = ( "SMTPUTF8" )
  Listen "127.0.0.1:0" {
    Peer "127.0.1.0/24" { relay_hosts = ( "127.0.1.7" ) }
    Peer "127.0.2.0/24" { open_relay = true }
    Peer "127.0.3.0/24" { relay_for_sending_domains = ( "customer.example" "*.customer.example" ) }
    Peer "127.0.4.0/24" { enable_authentication = true }
    Peer "127.0.5.0/24" { pathway = "partners" }
    Peer "127.0.6.0/24" { allow_null_envelope_sender = false }
    Peer "127.0.7.0/24" { allow_ip_literal = false }
    Peer "127.0.8.0/24" { require_ehlo = true }
  }
}
Domain "hole.example.com" { blackhole = "inline" }
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("relay"), CONF) as one:
        yield one


def _ask(server: Running, recipient: bytes, source: str = "127.0.9.9", sender: bytes = b"a@example.net") -> bytes:
    client = server.client(source=source).greet()
    got = client.say(b"MAIL FROM:<%s>%s" % (sender, b"" if recipient.isascii() else b" SMTPUTF8"))
    got = client.say(b"RCPT TO:<%s>" % recipient) if got.startswith(b"250") else got
    client.close()
    return got


@pytest.mark.parametrize(
    "recipient",
    [
        b"u@example.com",
        b"U@EXAMPLE.COM",
        b"u@a.sub.example.com",
        b"u@a.b.sub.example.com",
        b"u@badglob.example",
        b"u@glob.example",
        b"u@bounces.example",
        b"u@example.com.",
        b'"quoted"@example.com',
        b"postmaster",
        b"PostMaster",
        "\u00fc@b\u00fccher.example".encode(),
    ],
)
def test_anyone_may_write_to_our_domains(server: Running, recipient: bytes) -> None:
    assert _ask(server, recipient) == b"250 RCPT TO accepted.\r\n"


@pytest.mark.parametrize(
    "recipient",
    [
        b"u@other.example",
        b"u@sub.example.com",  # "*.sub.example.com" is below it only
        b"u@notexample.com",
        b"u@example.com.other.example",
        b"u@example.comother",
        b"u%other.example@example.com",
        b"u%other.example%x.example@example.com",
        b"other.example!u@example.com",
        b"a!b!u@example.com",
        b'"u@other.example"@example.com',
        b'"u%other.example"@example.com',
        b'"other.example!u"@example.com',
        b'"u\\@other.example"@example.com',
        b'"@other.example:u"@example.com',
        b"@example.com:u@other.example",
        b"@example.com,@sub.example.com:u@other.example",
        b"@other.example:u%third.example@example.com",
        b"u@[192.0.2.1]",
        b"u@[IPv6:2001:db8::1]",
        b"u@[127.0.0.2]",
        b"u@localhost",
        b"u@localhost.localdomain",
        b"u@mx.example.com",
        b"u@xn--exmple-cua.com",
        "u@ex\u0430mple.com".encode(),  # Cyrillic a
        "u@example\u3002com.other.example".encode(),  # ideographic full stop
        "u%other.example@b\u00fccher.example".encode(),  # its A-labels are longer than what was sent
        "u%x@b\u00fccher.example".encode(),
        b"postmaster@other.example",
        b"postmaster%other.example@example.com",
        b"u@other.example.",
        b"u@partner.example",
    ],
)
def test_tricks_relay_nothing(server: Running, recipient: bytes) -> None:
    assert _ask(server, recipient)[:1] == b"5"


@pytest.mark.parametrize(
    "recipient",
    [
        b"u",
        b"u@",
        b"@example.com",
        b"u@example.com@other.example",
        b"u@other.example\x00@example.com",
        b"u@-",
        b"<u@x>",
        b"u@example..com",
        b"u@.example.com",
        b"u@other.example>,<v@example.com",
        b"u@other.example v@example.com",
    ],
)
def test_what_is_no_address_is_refused_as_such(server: Running, recipient: bytes) -> None:
    assert _ask(server, recipient) == b"501 5.5.2 RCPT TO syntax error\r\n"


def test_a_plain_foreign_domain_gets_the_documented_text(server: Running) -> None:
    assert _ask(server, b"u@other.example") == DENIED


def test_relay_hosts_may_send_anywhere_and_its_neighbours_not(server: Running) -> None:
    assert _ask(server, b"u@other.example", "127.0.1.7") == b"250 RCPT TO accepted.\r\n"
    assert _ask(server, b"u%other.example@example.com", "127.0.1.7") == b"250 RCPT TO accepted.\r\n"
    assert _ask(server, b"u@other.example", "127.0.1.8") == DENIED


def test_open_relay_may_send_anywhere(server: Running) -> None:
    assert _ask(server, b"u@other.example", "127.0.2.1") == b"250 RCPT TO accepted.\r\n"


def test_sending_domains_may_send_anywhere(server: Running) -> None:
    for sender in (b"a@customer.example", b"a@x.customer.example", b"a@CUSTOMER.example"):
        assert _ask(server, b"u@other.example", "127.0.3.1", sender) == b"250 RCPT TO accepted.\r\n"
    for sender in (b"a@example.net", b"a@badcustomer.example", b""):
        assert _ask(server, b"u@other.example", "127.0.3.1", sender) == DENIED


def test_routing_in_the_local_part_is_refused_to_sending_domains_too(server: Running) -> None:
    got = _ask(server, b"u%third.example@example.com", "127.0.3.1", b"a@customer.example")
    assert got == DENIED


def test_enable_authentication_asks_for_a_login_that_nobody_has(server: Running) -> None:
    assert _ask(server, b"u@example.com", "127.0.4.1") == b"530 5.7.0 Authentication required\r\n"


def test_a_pathway_replaces_the_relay_domains(server: Running) -> None:
    assert _ask(server, b"u@partner.example", "127.0.5.1") == b"250 RCPT TO accepted.\r\n"
    assert _ask(server, b"u@example.com", "127.0.5.1") == DENIED


def test_null_senders_may_be_refused(server: Running) -> None:
    assert _ask(server, b"u@example.com", "127.0.6.1", b"") == b"550 5.7.1 null sender not allowed\r\n"
    assert _ask(server, b"u@example.com", "127.0.9.1", b"") == b"250 RCPT TO accepted.\r\n"


def test_an_address_literal_of_ours_is_ours(server: Running) -> None:
    assert _ask(server, b"u@[127.0.0.1]") == b"250 RCPT TO accepted.\r\n"
    assert _ask(server, b"u@[127.0.0.1]", "127.0.7.1") == b"501 5.5.2 RCPT TO syntax error\r\n"


def test_require_ehlo(server: Running) -> None:
    client = server.client(source="127.0.8.1")
    client.reply()
    assert client.say(b"MAIL FROM:<a@example.net>") == b"550 5.5.1 RFC2821 HELO/EHLO needed\r\n"
    client.close()


def test_a_blackholed_domain_is_refused_inline(server: Running, tmp_path: Path) -> None:
    conf = CONF.replace('"example.com" ', '"example.com" "hole.example.com" ')
    with running(tmp_path, conf) as other:
        assert _ask(other, b"u@hole.example.com") == b"551 5.7.1 recipient blackholed\r\n"


def test_blackhole_internal_takes_mail_and_keeps_nothing(tmp_path: Path) -> None:
    conf = 'blackhole = "internal"\nESMTP_Listener { Listen "127.0.0.1:0" { } }'
    with running(tmp_path, conf) as other:
        client = other.client().greet()
        assert client.transaction().startswith(b"250 ")
        assert other.queued() == []
        client.close()


def test_the_context_option_sets_connection_variables_and_can_bypass_a_check(tmp_path: Path) -> None:
    conf = """ESMTP_Listener {
      Listen "127.0.0.1:0" {
        context = [ origin = "all" ]
        Peer "127.0.1.0/24" { context = [ __bypass_relay = "true" ] }
      }
    }"""
    with running(tmp_path, conf) as other:
        assert _ask(other, b"u@other.example", "127.0.1.1") == b"250 RCPT TO accepted.\r\n"
        assert _ask(other, b"u@other.example", "127.0.2.1") == DENIED
        client = other.client(source="127.0.1.1").greet()
        (connection,) = [one for one in other.supervisor._service.connections if one.facts.client_ip == "127.0.1.1"]
        assert connection.reception.context.conn["origin"] == "all"
        assert connection.reception.context.conn["pathway"] == "default"
        client.close()
