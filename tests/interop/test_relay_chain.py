"""A thousand mixed messages: Postfix relays them to gsmtp, which hands them on to Dovecot by LMTP and into Maildirs."""

from __future__ import annotations

import smtplib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.support.dovecot import Dovecot, dovecot
from tests.support.messages import Mail, compose, dots, eight_bit, large, number_of, plain, without_trace
from tests.support.peers import open_folder
from tests.support.postfix import Postfix, postfix
from tests.support.server import Server, serving
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.interop, pytest.mark.timeout(240)]

CONF = """
hostname = "mx.example.com"
spoolbase = "{folder}/spool"
relay_domains = ( "lmtp.example.com" "maildir.example.com" )
ESMTP_Listener {
  smtp_extensions = ( "ENHANCEDSTATUSCODES" "SMTPUTF8" "CHUNKING" "DSN" )
  Listen "127.0.0.1:{port}" { }
}
maildir "m" { basedir = "{folder}/maildir"  domains = ( "maildir.example.com" ) }
Domain "lmtp.example.com" {
  gateway = "127.0.0.1"  delivery_method = "LMTP"  lmtp_port = LMTP_PORT
  retry_interval = 1  max_retry_interval = 2  max_outbound_connections = 5
}
"""

MESSAGES = 1000
LARGE = (123, 456, 655, 890)


def _mails() -> Iterator[Mail]:
    """Half of each kind goes to either destination; UTF-8 addresses to the Maildir, since Dovecot takes none."""
    for number in range(MESSAGES):
        domain = ("lmtp.example.com", "maildir.example.com")[number % 2]
        sender, recipient, options = "sender@example.net", f"user{number % 7}@{domain}", ["BODY=8BITMIME"]
        if number in LARGE:
            body = large(number, 5_000_000)
        elif number % 10 == 9:
            body, options = eight_bit(number), ["BODY=8BITMIME", "SMTPUTF8"]
            sender, recipient = "jürgen@example.net", f"получатель{number % 3}@maildir.example.com"
        else:
            body = (plain, eight_bit, dots)[number % 3](number)
        yield Mail(number, sender, recipient, compose(number, body), tuple(options))


def _inject(port: int, mails: list[Mail]) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=60) as client:
        client.ehlo("client.example.net")
        for mail in mails:
            assert client.sendmail(mail.sender, [mail.recipient], mail.content, mail_options=mail.options) == {}


def _stored(gsmtp: Server) -> list[bytes]:
    return [file.read_bytes() for file in gsmtp.delivered()]


def _arrived(gsmtp: Server, store: Dovecot) -> int:
    return store.count() + len(gsmtp.delivered())


def _explain(peer: Postfix, gsmtp: Server, store: Dovecot) -> str:
    return f"{peer.queued()} in Postfix\n{gsmtp.log()[-3000:]}\n{peer.log()[-2000:]}\n{store.log()[-2000:]}"


def test_a_thousand_mixed_messages_arrive_as_they_were_sent() -> None:
    mails = {mail.number: mail for mail in _mails()}
    with ExitStack() as stack:
        folders = [stack.enter_context(open_folder(name)) for name in ("dovecot", "gsmtp", "postfix")]
        store = stack.enter_context(dovecot(folders[0]))
        gsmtp = stack.enter_context(serving(folders[1], CONF.replace("LMTP_PORT", str(store.port))))
        peer = stack.enter_context(postfix(folders[2], relayhost_port=gsmtp.port))
        with ThreadPoolExecutor(8) as senders:
            list(senders.map(_inject, [peer.port] * 8, [list(mails.values())[start::8] for start in range(8)]))
        try:
            wait_until(lambda: _arrived(gsmtp, store) >= MESSAGES, "all messages delivered", 120, every_s=0.5)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{_explain(peer, gsmtp, store)}") from None
        in_maildir = {number_of(data): data for data in _stored(gsmtp)}
        in_dovecot = {number_of(data): data for data in store.messages()}
        assert _arrived(gsmtp, store) == MESSAGES, "nothing is delivered twice"
        assert gsmtp.stop() == 0

    to_maildir = {number for number, mail in mails.items() if mail.recipient.endswith("maildir.example.com")}
    assert set(in_maildir) == to_maildir
    assert set(in_dovecot) == set(mails) - to_maildir
    for number, data in in_maildir.items():
        assert without_trace(data) == mails[number].content, f"message {number}"
    for number, data in in_dovecot.items():  # Dovecot keeps messages with the line ends of its system
        assert without_trace(data) == mails[number].content.replace(b"\r\n", b"\n"), f"message {number}"
