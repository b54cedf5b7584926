"""A real Postfix as the next hop: what its smtpd, its queue and its log make of our TLS, XCLIENT, BDAT, DSN, SMTPUTF8.

Postfix hands everything on to a sink, whose lines show what came through.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gsmtp.delivery.transport import NoHopReachable
from gsmtp.spool.base import StoredBody
from tests.delivery.kit import envelope
from tests.delivery.test_smtp import Sender, codes
from tests.support.certificates import Authority
from tests.support.peers import open_folder
from tests.support.postfix import Postfix, postfix
from tests.support.sink import Received, Sink
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.interop, pytest.mark.timeout(240)]

EXTRA = """\
smtpd_tls_security_level = may
smtpd_tls_cert_file = {folder}/server.pem
smtpd_tls_key_file = {folder}/server.pem
smtpd_tls_CAfile = {folder}/ca.pem
smtpd_tls_ask_ccert = yes
smtpd_tls_received_header = yes
smtpd_tls_loglevel = 1
smtpd_authorized_xclient_hosts = 127.0.0.1
smtpd_recipient_restrictions =
  check_recipient_access inline:{{ {{ no@example.org = 550 5.1.1 not here }} }}, permit_mynetworks, reject
mynetworks = 127.0.0.0/8 192.0.2.0/24
"""


@dataclass
class Chain:
    """Postfix before a sink."""

    hop: Postfix
    sink: Sink
    folder: Path

    def sender(self, **settings: object) -> Sender:
        return Sender({"Gateway": f"localhost:{self.hop.port}", "TLS_CA": str(self.folder / "ca.pem"), **settings})

    def arrived(self, count: int) -> list[Received]:
        before = len(self.sink.messages)
        return self.sink.wait_for(before + count)[before:]


@pytest.fixture(scope="module")
def chain() -> Iterator[Chain]:
    ours = Authority("ours")
    with open_folder("gsmtp-client-") as base, Sink() as sink:
        ours.write(base / "ca.pem")
        ours.issue("localhost").write(base / "server.pem")
        ours.issue("client.example").write(base / "client.pem")
        for name in ("ca.pem", "server.pem"):
            (base / name).chmod(0o644)
        home = base / "postfix"
        home.mkdir(mode=0o755)
        with postfix(home, relayhost_port=sink.port, extra=EXTRA.format(folder=base), processes=5) as hop:
            yield Chain(hop, sink, base)


def test_verified_tls_with_our_own_certificate(chain: Chain) -> None:
    before = len(chain.sink.messages)
    sender = chain.sender(TLS="required", TLS_Verify="host", TLS_Certificate=str(chain.folder / "client.pem"))
    (outcome,) = sender.send(envelope("a@example.org"), b"Subject: tls\r\n\r\nhi\r\n")
    assert (outcome.code, outcome.tls.rpartition(" ")[2]) == (250, "verified")
    wait_until(lambda: "Trusted TLS connection established from localhost[127.0.0.1]" in chain.hop.log(), "the log")
    text = chain.sink.wait_for(before + 1)[before].body
    assert b"(using TLSv1.3 with cipher " in text
    assert b'(Client CN "client.example"' in text


def test_a_name_that_is_not_in_the_certificate(chain: Chain) -> None:
    sender = Sender(
        {
            "Gateway": f"127.0.0.1:{chain.hop.port}",
            "TLS": "required",
            "TLS_Verify": "host",
            "TLS_CA": str(chain.folder / "ca.pem"),
        }
    )
    with pytest.raises(NoHopReachable, match=r"^450 4\.7\.5 \[internal\] TLS failed: .*IP address mismatch"):
        sender.send(envelope("a@example.org"))


@pytest.mark.parametrize("tls", ["no", "required"])
def test_bodies_by_bdat_arrive_as_they_are(chain: Chain, tls: str, tmp_path: Path) -> None:
    before = len(chain.sink.messages)
    sender = chain.sender(TLS=tls)
    large = b"Subject: large\r\n\r\n" + b".dot\r\n..\r\n" * 50_000
    file = tmp_path / "body"
    file.write_bytes(large)
    message = envelope("a@example.org", "no@example.org")
    assert codes(sender.send(message, b"Subject: small\r\n\r\n.\r\n.dot\r\n")) == [250, 550]
    assert codes(sender.send(message, StoredBody(len(large), None, str(file)))) == [250, 550]
    assert codes(sender.send(envelope("no@example.org"), b"Subject: none\r\n\r\n")) == [550]
    assert codes(sender.send(message, b"Subject: after\r\n\r\nx\r\n")) == [250, 550]
    bodies = {message.body.partition(b"Subject: ")[2] for message in chain.sink.wait_for(before + 3)[before:]}
    assert bodies == {b"small\r\n\r\n.\r\n.dot\r\n", large[9:], b"after\r\n\r\nx\r\n"}
    assert "BDAT" not in chain.hop.log().partition("improper command")[2]


def test_dsn_and_smtputf8_pass_through(chain: Chain) -> None:
    before = len(chain.sink.messages)
    message = envelope("grüße@example.org", smtputf8=True, body="8BITMIME", ret="HDRS", envid="QQ314159")
    message.recipients[0].notify = ("SUCCESS", "FAILURE")
    message.recipients[0].orcpt = "rfc822;gruesse@example.org"
    (outcome,) = chain.sender().send(message, "Subject: grüße\r\n\r\nhallo\r\n".encode())
    assert (outcome.code, outcome.passes_dsn) == (250, True)
    received = chain.sink.wait_for(before + 1)[before]
    mail = received.mail.decode()
    assert "RET=HDRS" in mail
    assert "ENVID=QQ314159" in mail
    assert "SMTPUTF8" in mail
    assert received.rcpts == [
        "RCPT TO:<grüße@example.org> ORCPT=rfc822;gruesse@example.org NOTIFY=SUCCESS,FAILURE".encode()
    ]


def test_postfix_believes_our_xclient(chain: Chain) -> None:
    before = len(chain.sink.messages)
    sender = chain.sender(XCLIENT="required", TLS="required")
    for number in (1, 2):
        client = {"client_address": f"192.0.2.{number}:1025", "helo": f"host{number}.example", "protocol": "ESMTP"}
        assert codes(sender.send(envelope("a@example.org", **client), b"Subject: x\r\n\r\nx\r\n")) == [250]
    texts = [message.body for message in chain.sink.wait_for(before + 2)[before:]]
    found = {
        number
        for number in (1, 2)
        for text in texts
        if b"from host%d.example (unknown [192.0.2.%d])" % (number, number) in text
    }
    assert found == {1, 2}, texts
