"""Postfix as the sender's server: its DSN parameters go through us, and our notices come back to it."""

from __future__ import annotations

import email
import smtplib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from email.message import Message

import pytest

from tests.support.peers import open_folder
from tests.support.ports import free_port
from tests.support.postfix import Postfix, postfix
from tests.support.server import Server, serving
from tests.support.sink import EXTENSIONS, Answer, Received, Sink
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.interop, pytest.mark.timeout(120)]

CONF = """
hostname = "mx.example.com"
spoolbase = "{folder}/spool"
relay_domains = ( "dsn.example" "plain.example" )
ESMTP_Listener {
  smtp_extensions = ( "ENHANCEDSTATUSCODES" "8BITMIME" "DSN" )
  Listen "127.0.0.1:{port}" { }
}
Domain "dsn.example" { gateway = "DSN_HOP" }
Domain "plain.example" { gateway = "PLAIN_HOP" }
Domain "sender.example" { gateway = "127.0.0.1:SENDERS_SERVER" }
"""
TEXT = b"From: ann@sender.example\r\nSubject: lunch\r\n\r\nat noon\r\n"


@contextmanager
def _chain(dsn: Sink, plain: Sink, home: Sink) -> Iterator[tuple[Server, Postfix]]:
    """Postfix that sends to gsmtp, which sends to both next hops; mail for sender.example ends in `home`."""
    with ExitStack() as stack:
        folders = [stack.enter_context(open_folder(name)) for name in ("gsmtp", "postfix")]
        port = free_port()
        routes = f"transport_maps = inline:{{ sender.example=smtp:[127.0.0.1]:{home.port} }}"
        peer = stack.enter_context(postfix(folders[1], relayhost_port=port, extra=routes))
        conf = CONF.replace("DSN_HOP", dsn.gateway).replace("PLAIN_HOP", plain.gateway)
        conf = conf.replace("SENDERS_SERVER", str(peer.port))
        yield stack.enter_context(serving(folders[0], conf, port)), peer


def _send(peer: Postfix, recipients: dict[str, str]) -> None:
    with smtplib.SMTP("127.0.0.1", peer.port, timeout=60) as client:
        client.ehlo("client.sender.example")
        assert client.mail("ann@sender.example", ["RET=HDRS", "ENVID=Q+2B1"])[0] == 250
        for address, notify in recipients.items():
            assert client.rcpt(address, [f"NOTIFY={notify}", f"ORCPT=rfc822;x+2B{address}"])[0] == 250
        assert client.data(TEXT)[0] == 250


def _fields(notice: Received) -> list[dict[str, str]]:
    message = email.message_from_bytes(notice.body)
    assert (message.get_content_type(), message.get_param("report-type")) == ("multipart/report", "delivery-status")
    status = message.get_payload(1)
    assert isinstance(status, Message)
    groups = status.get_payload()
    assert isinstance(groups, list)
    return [dict(group.items()) for group in groups if isinstance(group, Message)]


def test_postfix_gets_its_notices_and_next_hops_its_parameters() -> None:
    without_dsn = tuple(word for word in EXTENSIONS if word != "DSN")
    refused: dict[bytes, Answer] = {b"no@plain.example": b"550 5.1.1 no such user\r\n"}
    with (
        Sink() as dsn,
        Sink(extensions=without_dsn, rcpt=refused) as plain,
        Sink() as home,
        _chain(dsn, plain, home) as (gsmtp, peer),
    ):
        wanted = {
            "ok@dsn.example": "SUCCESS,FAILURE",
            "ok@plain.example": "SUCCESS,FAILURE",
            "no@plain.example": "FAILURE",
            "quiet@plain.example": "NEVER",
        }
        _send(peer, wanted)
        try:
            wait_until(lambda: len(home.messages) >= 2 and dsn.messages, "both notices", 60, every_s=0.1)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{gsmtp.log()[-3000:]}\n{peer.log()[-3000:]}") from None
        assert gsmtp.stop() == 0
    [handed_on] = dsn.messages
    assert b" RET=HDRS ENVID=Q+2B1" in handed_on.mail
    assert handed_on.rcpts == [
        b"RCPT TO:<ok@dsn.example> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;x+2Bok@dsn.example",
    ]
    told = {fields["Final-Recipient"]: (head, fields) for head, *rest in map(_fields, home.messages) for fields in rest}
    assert sorted(told) == ["rfc822; no@plain.example", "rfc822; ok@plain.example"]
    for address, action, status in (("no", "failed", "5.1.1"), ("ok", "relayed", "2.0.0")):
        head, fields = told[f"rfc822; {address}@plain.example"]
        assert head["Original-Envelope-Id"] == "Q+1"
        assert fields["Original-Recipient"] == f"rfc822; x+{address}@plain.example"
        assert (fields["Action"], fields["Status"]) == (action, status)
    for notice in home.messages:
        assert notice.mail.startswith(b"MAIL FROM:<>")
        assert notice.rcpts[0].startswith(b"RCPT TO:<ann@sender.example>")
        assert b"\r\nSubject: lunch\r\n" in notice.body
        assert b"at noon" not in notice.body
