"""What a session under TLS does beyond the handshake, with each engine: ends, pressure, many at once."""

from __future__ import annotations

import re
import signal
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.certificates import Authority
from tests.support.server import Server, serving
from tests.support.tlsclient import TlsClient, context
from tests.support.waiting import wait_until

CONF = """
spoolbase = "{folder}/spool"
spool_reserve = 0
suspend_delivery = true
relay_domains = ( "example.com" )
tls_certificate = "{folder}/mx.pem"
ESMTP_Listener {
  tls_handshake_timeout = 2
  max_junk_commands = 0
  Listen "127.0.0.1:{port}" { use_ssl = true  listener_sessions = 40
    Peer "127.0.0.2" { tls_client_ca = "{folder}/ca.pem"  tls_allow_renegotiation = true } }
}
"""
ENGINES = pytest.mark.parametrize("source", ["127.0.0.1", "127.0.0.2"], ids=["stdlib", "openssl"])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("sessions")
    authority = Authority("the CA")
    authority.write(folder / "ca.pem")
    authority.issue("mx.example.com").write(folder / "mx.pem")
    with serving(folder, CONF) as running:
        yield running


def _in_memory(raw: socket.socket) -> tuple[ssl.SSLObject, ssl.MemoryBIO, ssl.MemoryBIO]:
    """A client whose records are sent by hand."""
    came, goes = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context().wrap_bio(came, goes)
    while True:
        try:
            client.do_handshake()
        except ssl.SSLWantReadError:
            raw.sendall(goes.read())
            came.write(raw.recv(65536))
        else:
            raw.sendall(goes.read())
            return client, came, goes


def _all_clear(raw: socket.socket, client: ssl.SSLObject, came: ssl.MemoryBIO) -> bytes:
    """What comes until close_notify. An end without one raises."""
    clear = b""
    while True:
        try:
            piece = client.read(65536)
        except ssl.SSLWantReadError:
            data = raw.recv(65536)
            came.write(data) if data else came.write_eof()
        except ssl.SSLZeroReturnError:
            return clear
        else:
            if not piece:
                return clear
            clear += piece


@ENGINES
@pytest.mark.parametrize("is_half_closed", [False, True], ids=["close_notify", "close_notify and FIN"])
def test_who_ends_its_side_gets_all_replies_and_a_goodbye(server: Server, source: str, is_half_closed: bool) -> None:
    with socket.create_connection(("127.0.0.1", server.port), 10, (source, 0)) as raw:
        client, came, goes = _in_memory(raw)
        client.write(b"EHLO client.example\r\nNOOP\r\nQUIT\r\n")
        with pytest.raises(ssl.SSLWantReadError):
            client.unwrap()
        raw.sendall(goes.read())
        if is_half_closed:
            raw.shutdown(socket.SHUT_WR)
        said = _all_clear(raw, client, came)
        assert said.startswith(b"220 ")
        assert b"\r\n250 " in said
        assert b"\r\n221 " in said


@ENGINES
def test_who_only_says_goodbye_is_answered(server: Server, source: str) -> None:
    with socket.create_connection(("127.0.0.1", server.port), 10, (source, 0)) as raw:
        client, came, goes = _in_memory(raw)
        with pytest.raises(ssl.SSLWantReadError):
            client.unwrap()
        raw.sendall(goes.read())
        assert _all_clear(raw, client, came).startswith(b"220 ")


def _data_packets(raw: socket.socket) -> int:
    """How many packets with data came, by Linux (`tcpi_data_segs_in` of its struct tcp_info)."""
    (count,) = struct.unpack_from("I", raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192), 152)
    return int(count)


@ENGINES
def test_the_last_reply_and_the_end_of_tls_come_in_one_packet(server: Server, source: str) -> None:
    with socket.create_connection(("127.0.0.1", server.port), 10, (source, 0)) as raw:
        client, came, goes = _in_memory(raw)
        while True:
            try:
                assert client.read(65536).startswith(b"220 ")
                break
            except ssl.SSLWantReadError:
                came.write(raw.recv(65536))
        before = _data_packets(raw)
        client.write(b"QUIT\r\n")
        raw.sendall(goes.read())
        assert _all_clear(raw, client, came).startswith(b"221 ")
        assert raw.recv(1) == b""
        assert _data_packets(raw) == before + 1


@ENGINES
def test_a_client_that_does_not_read_is_read_from_no_more_and_gets_everything(server: Server, source: str) -> None:
    count = 60_000
    with socket.create_connection(("127.0.0.1", server.port), 10, (source, 0)) as raw:
        client, came, goes = _in_memory(raw)
        client.write(b"NOOP\r\n" * count + b"QUIT\r\n")
        sender = threading.Thread(target=raw.sendall, args=(goes.read(),))
        sender.start()
        said = _all_clear(raw, client, came).split(b"\r\n")
        sender.join(20)
        assert [line[:4] for line in said] == [b"220 ", *[b"250 "] * count, b"221 ", b""]


@ENGINES
def test_a_record_that_was_changed_on_the_way_ends_the_session(server: Server, source: str) -> None:
    with socket.create_connection(("127.0.0.1", server.port), 10, (source, 0)) as raw:
        client, _, goes = _in_memory(raw)
        client.write(b"NOOP\r\n")
        record = bytearray(goes.read())
        record[-1] ^= 1
        raw.sendall(record)
        while raw.recv(65536):
            pass
    wait_until(lambda: re.search("TLS broke .*bad record mac", server.log()) is not None, "it is logged")


def test_silent_handshakes_hold_their_slots_no_longer_than_the_deadline(server: Server) -> None:
    silent = [socket.create_connection(("127.0.0.1", server.port), 10) for _ in range(39)]
    with TlsClient(server.port) as other:
        other.wrap()
        other.reply()
        with TlsClient(server.port) as refused:
            assert refused.socket.recv(1) == b"", "all slots are taken"
        for one in silent:
            assert one.recv(1) == b"", "closed at the deadline"
            one.close()
        assert other.say(b"NOOP").startswith(b"250 "), "the others go on"
        wait_until(lambda: _is_served(server.port), "the slots are free again")


def _is_served(port: int) -> bool:
    with TlsClient(port) as client:
        try:
            return client.wrap().reply().startswith(b"220 ")
        except (ssl.SSLError, ConnectionError):
            return False


def test_a_reload_with_another_certificate_leaves_sessions_alone_and_one_without_does_not(tmp_path: Path) -> None:
    authority = Authority("ca")
    for name in ("old", "new"):
        authority.issue(f"{name}.example.com").write(tmp_path / f"{name}.pem")
    conf = """
    spoolbase = "{folder}/spool"  suspend_delivery = true  relay_domains = ( example.com )
    ESMTP_Listener { smtp_extensions = ( STARTTLS )
      Listen "127.0.0.1:{port}" { tls_certificate = "{folder}/CHOSEN" } }"""
    with (
        serving(tmp_path, conf.replace("CHOSEN", "old.pem")) as server,
        TlsClient(server.port) as secured,
        TlsClient(server.port) as clear,
    ):
        secured.starttls()
        clear.reply()
        clear.say(b"EHLO client.example")
        server.conf.write_text(server.conf.read_text().replace("old.pem", "new.pem"))
        server.signal(signal.SIGHUP)
        wait_until(lambda: server.log().count(" reloaded ") == 1, "the reload")
        assert secured.message(b"Subject: x\r\n\r\n").startswith(b"250 ")
        assert clear.say(b"STARTTLS").startswith(b"220 ")
        assert b"new.example.com" in (clear.wrap().tls.getpeercert(binary_form=True) or b"")
        server.conf.write_text(server.conf.read_text().replace(f'"{tmp_path}/new.pem"', "none"))
        server.signal(signal.SIGHUP)
        wait_until(lambda: server.log().count(" reloaded ") == 2, "the reload")
        assert secured.message(b"Subject: x\r\n\r\n").startswith(b"421 ")
