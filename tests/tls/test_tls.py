"""STARTTLS and Use_SSL over real sockets: versions, suites, names, certificates, injection, deadlines, reload."""

from __future__ import annotations

import socket
import sqlite3
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import closing

import pytest
from OpenSSL import SSL

from tests.support.certificates import Authority
from tests.support.ports import free_port
from tests.support.server import Server, serving
from tests.support.tlsclient import TlsClient, context
from tests.support.waiting import wait_until

CONF = """
hostname = "mx.example.com"
spoolbase = "{folder}/spool"
spool_reserve = 0
suspend_delivery = true
relay_domains = ( "example.com" )
tls_certificate = "{folder}/mx.pem"
ESMTP_Listener {
  smtp_extensions = ( STARTTLS XDUMPCONTEXT )
  Listen "127.0.0.1:{port}" {
    Peer "127.0.0.2" {
      tls_certificates = [ "Two.example.com" = "{folder}/two.pem" "*.wild.example" = "{folder}/wild.pem" ]
    }
    Peer "127.0.0.3" { starttls_injection_policy = ignore }
    Peer "127.0.0.4" { starttls_injection_policy = allow }
    Peer "127.0.0.5" { tls_handshake_timeout = 1 }
    Peer "127.0.0.6" { tls_certificate = none }
    Peer "127.0.0.7" { tls_client_ca = "{folder}/ca.pem"  tls_verified_peer_can_relay = true }
    Peer "127.0.0.8" { tls_client_ca = "{folder}/ca.pem"  tls_verify_mode = require }
    Peer "127.0.0.9" { tls_client_ca = "{folder}/ca.pem"  tls_verify_mode = none }
    Peer "127.0.1.1" { tls_protocols = "+TLSv1.2" }
    Peer "127.0.1.2" { tls_protocols = "+ALL:-TLSv1.2" }
    Peer "127.0.1.3" { tls_protocols = "+TLSv1.0:+TLSv1.1" }
    Peer "127.0.1.4" { tls_ciphers = "ECDHE+CHACHA20"  tls_protocols = "+TLSv1.2" }
    Peer "127.0.1.5" { tls_protocols = "+ALL:-SSLv2:-SSLv3" }
    Peer "127.0.1.6" { tls_certificate = "{folder}/rsa.pem"  tls_protocols = "+TLSv1.2" }
    Peer "127.0.1.7" { tls_allow_renegotiation = true  tls_protocols = "+TLSv1.2" }
    Peer "127.0.1.8" { tls_allow_renegotiation = false  tls_protocols = "+TLSv1.2" }
  }
  Listen "127.0.0.1:{ssl}" { use_ssl = true  listener_sessions = 3
    Peer "127.0.0.5" { tls_handshake_timeout = 1 }
    Peer "127.0.0.7" { tls_client_ca = "{folder}/ca.pem" } }
}
"""
TEXT = b"Subject: x\r\n\r\nhello\r\n"


class Tls:
    """A running server and its ports."""

    def __init__(self, server: Server, ssl_port: int, authority: Authority) -> None:
        self.server = server
        self.ssl_port = ssl_port
        self.authority = authority
        self.folder = server.folder

    def client(self, source: str = "127.0.0.1") -> TlsClient:
        return TlsClient(self.server.port, source)

    def s_client(self, *words: str, text: str = "QUIT\n", source: str = "127.0.0.1", ssl: bool = False) -> str:
        """``openssl s_client``, what it prints."""
        port = self.ssl_port if ssl else self.server.port
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-bind", f"{source}:0", *words]
        if not ssl:
            command += ["-starttls", "smtp"]
        run = subprocess.run(command, input=text, capture_output=True, text=True, timeout=20, check=False)
        return run.stdout + run.stderr


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tls]:
    folder = tmp_path_factory.mktemp("tls")
    authority = Authority("the CA")
    authority.write(folder / "ca.pem")
    authority.issue("mx.example.com").write(folder / "mx.pem")
    authority.issue("two.example.com").write(folder / "two.pem")
    authority.issue("wild.example").write(folder / "wild.pem")
    authority.issue("rsa.example.com", kind="rsa").write(folder / "rsa.pem")
    authority.issue("good.example").write(folder / "good.pem")
    authority.issue("old.example", is_expired=True).write(folder / "old.pem")
    Authority("another CA").issue("stranger.example").write(folder / "stranger.pem")
    port = free_port()
    with serving(folder, CONF.replace("{ssl}", str(port))) as server:
        yield Tls(server, port, authority)


def dumped(client: TlsClient) -> dict[str, str]:
    """The connection variables."""
    lines = client.say(b"XDUMPCONTEXT").decode().split("\r\n")
    found = [line[4:].removeprefix("[connection] ").partition(" ") for line in lines if "[connection]" in line]
    return {name: value for name, _, value in found}


def test_starttls_and_a_message(tls: Tls) -> None:
    with tls.client() as client:
        client.starttls()
        assert client.message(TEXT).startswith(b"250 ")
        with closing(sqlite3.connect(tls.folder / "spool" / "spool.db")) as database:
            body = database.execute("SELECT body FROM message ORDER BY id DESC").fetchone()[0]
        cipher = client.tls.cipher()
        assert cipher is not None
        assert f"(gsmtp) with ESMTPS (cipher={cipher[0]})".encode() in body


def test_what_was_said_in_clear_is_forgotten(tls: Tls) -> None:
    with tls.client() as client:
        assert client.reply().startswith(b"220")
        client.say(b"EHLO client.example")
        client.say(b"MAIL FROM:<a@example.net>")
        assert client.say(b"STARTTLS") == b"503 5.5.1 bad sequence of commands\r\n", "not within a transaction"
        client.say(b"RSET")
        assert client.say(b"STARTTLS now") == b"501 5.5.4 Syntax error (no parameters allowed)\r\n"
        assert client.say(b"STARTTLS").startswith(b"220 ")
        client.wrap()
        assert "ehlo_domain" not in dumped(client) if client.say(b"NOOP").startswith(b"250") else False
        assert client.say(b"RCPT TO:<b@example.com>").startswith(b"503 ")
        client.say(b"EHLO again.example")
        assert client.say(b"STARTTLS") == b"503 5.5.1 bad sequence of commands\r\n"


def test_before_ehlo_it_is_a_bad_sequence(tls: Tls) -> None:
    with tls.client() as client:
        client.reply()
        assert client.say(b"STARTTLS") == b"503 5.5.1 bad sequence of commands\r\n"
        client.say(b"HELO client.example")
        assert client.say(b"STARTTLS") == b"503 5.5.1 bad sequence of commands\r\n", "HELO has offered nothing"


def test_without_a_certificate_it_is_not_offered(tls: Tls) -> None:
    with tls.client("127.0.0.6") as client:
        client.reply()
        assert b"STARTTLS" not in client.say(b"EHLO client.example")
        assert client.say(b"STARTTLS") == b"500 5.5.2 unrecognized command\r\n"


def test_tls_from_the_first_byte(tls: Tls) -> None:
    with TlsClient(tls.ssl_port) as client:
        client.wrap()
        assert client.reply().startswith(b"220 mx.example.com ESMTP")
        assert b"STARTTLS" not in client.say(b"EHLO client.example")
        variables = dumped(client)
        assert variables["tls"] == "on"
        assert variables["tls_protocol"] == "TLSv1.3"
        assert variables["tls_cipher"] == client.tls.cipher()[0]  # type: ignore[index]
        assert variables["tls_cipher_usebits"] == "256"
        assert client.message(TEXT).startswith(b"250 ")


def test_use_ssl_leaves_starttls_out_and_says_so(tls: Tls) -> None:
    assert "STARTTLS is not offered on Listen" in tls.server.log()


# --- versions and suites, as testssl looks at them

VERSIONS = {"-tls1": "TLSv1", "-tls1_1": "TLSv1.1", "-tls1_2": "TLSv1.2", "-tls1_3": "TLSv1.3"}


@pytest.mark.parametrize(
    ("source", "spoken"),
    [
        ("127.0.0.1", {"-tls1_2", "-tls1_3"}),
        ("127.0.1.1", {"-tls1_2"}),
        ("127.0.1.2", {"-tls1_3"}),
        ("127.0.1.3", {"-tls1", "-tls1_1"}),
        ("127.0.1.5", {"-tls1_2", "-tls1_3"}),
    ],
)
def test_the_versions_that_are_spoken(tls: Tls, source: str, spoken: set[str]) -> None:
    for flag, name in VERSIONS.items():
        said = tls.s_client(flag, "-cipher", "ALL:@SECLEVEL=0", source=source)
        agreed = "Cipher is (NONE)" not in said and (f"Protocol  : {name}\n" in said or f"New, {name}, " in said)
        assert agreed == (flag in spoken), (flag, said)


def test_old_versions_are_warned_about(tls: Tls) -> None:
    assert "tls_protocols allows TLSv1.0 and TLSv1.1, which RFC 8996 forbids" in tls.server.log()


@pytest.mark.parametrize("cipher", ["NULL", "aNULL", "EXPORT", "RC4", "3DES", "MD5", "DES", "LOW"])
def test_weak_suites_are_refused(tls: Tls, cipher: str) -> None:
    said = tls.s_client("-tls1_2", "-cipher", f"{cipher}:@SECLEVEL=0")
    assert "Cipher is (NONE)" in said or "no cipher match" in said, "the server, or the client's own library, has none"


def test_the_cipher_list_decides(tls: Tls) -> None:
    with tls.client("127.0.1.4") as client:
        client.starttls()
        assert "CHACHA20" in client.tls.cipher()[0]  # type: ignore[index]
    with tls.client("127.0.1.4") as client, pytest.raises(ssl.SSLError):
        client.starttls(context(ciphers="AES128-GCM-SHA256:ECDHE-ECDSA-AES128-GCM-SHA256"))


def test_dhe_works_with_the_built_in_group(tls: Tls) -> None:
    with tls.client("127.0.1.6") as client:
        client.starttls(context(ciphers="DHE+AESGCM"))
        assert client.tls.cipher()[0].startswith("DHE-RSA-AES")  # type: ignore[index]


def test_there_is_no_compression(tls: Tls) -> None:
    assert "Compression: NONE" in tls.s_client("-tls1_2", "-comp")


@pytest.mark.parametrize(("source", "is_allowed"), [("127.0.1.7", True), ("127.0.1.8", False), ("127.0.1.1", False)])
def test_renegotiation(tls: Tls, source: str, is_allowed: bool) -> None:
    with tls.client(source) as client:
        client.reply()
        client.say(b"EHLO client.example")
        client.say(b"STARTTLS")
        made = SSL.Context(SSL.TLS_CLIENT_METHOD)
        made.set_max_proto_version(SSL.TLS1_2_VERSION)
        peer = SSL.Connection(made, None)
        peer.set_connect_state()
        _shake(client.socket, peer)
        peer.renegotiate()
        try:
            _shake(client.socket, peer)
        except (SSL.Error, EOFError):
            assert not is_allowed
        else:
            assert (peer.total_renegotiations() == 1) == is_allowed


def _shake(raw: socket.socket, peer: SSL.Connection) -> None:
    """A handshake of pyOpenSSL by hand, with an end: the standard library can't renegotiate."""
    raw.settimeout(2)
    while True:
        try:
            peer.do_handshake()
        except SSL.WantReadError:
            is_over = False
        else:
            is_over = True
        try:
            raw.sendall(peer.bio_read(65536))
        except SSL.WantReadError:
            pass
        if is_over:
            return
        try:
            data = raw.recv(65536)
        except TimeoutError as error:
            raise EOFError("the server stalls, as documented") from error
        if not data:
            raise EOFError("closed")
        peer.bio_write(data)


def test_sessions_are_resumed(tls: Tls) -> None:
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        made = context(most=version, least=version)
        with tls.client() as client:
            session = client.starttls(made).tls.session
            assert not client.tls.session_reused
        with tls.client() as client:
            assert client.starttls(made, session=session).tls.session_reused


# --- names


@pytest.mark.parametrize(
    ("name", "got"),
    [
        (None, "mx.example.com"),
        ("two.example.com", "two.example.com"),
        ("TWO.EXAMPLE.COM", "two.example.com"),
        ("a.wild.example", "wild.example"),
        ("a.b.wild.example", "mx.example.com"),
        ("else.example", "mx.example.com"),
    ],
)
def test_sni_chooses_the_certificate(tls: Tls, name: str | None, got: str) -> None:
    with tls.client("127.0.0.2") as client:
        client.starttls(name=name)
        der = client.tls.getpeercert(binary_form=True)
        assert der is not None
        assert got.encode() in der
        if name:
            assert dumped(client)["tls_server_name"].lower() == name.lower()


# --- client certificates


def test_a_good_client_certificate_is_verified_and_may_relay(tls: Tls) -> None:
    with tls.client("127.0.0.7") as client:
        client.starttls(context(cert=tls.folder / "good.pem"))
        variables = dumped(client)
        assert variables["tls_client_verified"] == "yes"
        assert variables["tls_client_cert_subject"] == "/O=gsmtp tests/CN=good.example"
        assert variables["tls_client_cert_subject_cn"] == "good.example"
        assert variables["tls_client_cert_issuer"] == "/O=gsmtp tests/CN=the CA"
        assert variables["tls_client_cert_issuer_cn"] == "the CA"
        assert client.message(TEXT, b"x@elsewhere.example").startswith(b"250 ")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize(
    ("source", "file", "why"),
    [
        ("127.0.0.7", "old.pem", "certificate has expired"),
        ("127.0.0.7", "stranger.pem", "unable to get issuer certificate locally"),
        ("127.0.0.7", "", None),
        ("127.0.0.8", "old.pem", "certificate has expired"),
        ("127.0.0.8", "stranger.pem", "unable to get issuer certificate locally"),
    ],
)
def test_a_bad_client_certificate_ends_nothing(
    tls: Tls, version: ssl.TLSVersion, source: str, file: str, why: str | None
) -> None:
    cert = tls.folder / file if file else None
    with tls.client(source) as client:
        client.starttls(context(cert=cert, most=version, least=version))
        variables = dumped(client)
        assert "tls_client_verified" not in variables
        assert variables.get("tls_client_verify_error") == why
        assert client.message(TEXT, b"x@elsewhere.example") == b"550 5.7.1 relaying denied\r\n"
        assert client.message(TEXT).startswith((b"250 ", b"501 "))


def test_require_without_any_certificate_fails_the_handshake(tls: Tls) -> None:
    with tls.client("127.0.0.8") as client, pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):
        client.starttls(context(most=ssl.TLSVersion.TLSv1_2))
    wait_until(lambda: "peer did not return a certificate" in tls.server.log(), "the log tells why")


def test_none_asks_for_no_certificate(tls: Tls) -> None:
    assert "No client certificate CA names sent" in tls.s_client(source="127.0.0.9")
    with tls.client("127.0.0.9") as client:
        client.starttls(context(cert=tls.folder / "good.pem"))
        assert "tls_client_cert_subject" not in dumped(client)


def test_clients_are_told_whose_certificates_are_wanted(tls: Tls) -> None:
    assert (
        "the CA" in tls.s_client("-tls1_2", source="127.0.0.7").partition("Acceptable client certificate CA names")[2]
    )


# --- what is injected


def _inject(tls: Tls, source: str) -> TlsClient:
    client = tls.client(source)
    client.reply()
    client.say(b"EHLO client.example")
    client.socket.sendall(b"STARTTLS\r\nEHLO injected.example\r\n")
    return client


def test_injected_commands_are_refused_and_end_the_session(tls: Tls) -> None:
    with _inject(tls, "127.0.0.1") as client:
        assert client.reply() == b"503 5.5.1 bad sequence of commands\r\n"
        assert client.reply() == b""
    wait_until(lambda: "check=starttls_injection_policy" in tls.server.log(), "it is logged as a rejection")


def test_injected_commands_are_ignored(tls: Tls) -> None:
    with _inject(tls, "127.0.0.3") as client:
        assert client.reply().startswith(b"220 ")
        client.wrap()
        assert client.say(b"NOOP").startswith(b"250 "), "the first reply under TLS is to the first command under TLS"


def test_injected_commands_are_allowed(tls: Tls) -> None:
    with _inject(tls, "127.0.0.4") as client:
        assert client.reply().startswith(b"220 ")
        client.wrap()
        assert b"says EHLO to" in client.reply()
    wait_until(lambda: "taken as if under TLS" in tls.server.log(), "it is warned about")


# --- slow, silent and broken peers


@pytest.mark.parametrize("piece", [b"", b"\x16\x03\x01"])
def test_a_silent_handshake_is_closed_at_its_deadline(tls: Tls, piece: bytes) -> None:
    with TlsClient(tls.ssl_port, "127.0.0.5") as slow, TlsClient(tls.ssl_port) as quick:
        slow.socket.sendall(piece)
        quick.wrap()
        assert quick.reply().startswith(b"220 ")
        assert slow.socket.recv(100) == b"", "closed without a word"
        assert quick.say(b"NOOP").startswith(b"250 ")
    wait_until(lambda: "the handshake took too long" in tls.server.log(), "it is logged")


def test_a_handshake_that_drips_is_closed_all_the_same(tls: Tls) -> None:
    with tls.client("127.0.0.5") as client:
        client.reply()
        client.say(b"EHLO client.example")
        assert client.say(b"STARTTLS").startswith(b"220 ")
        client.socket.sendall(b"\x16\x03\x01\x02\x00")
        client.socket.settimeout(0.3)
        ended = False
        for _ in range(30):
            try:
                ended = client.socket.recv(1) == b""
            except TimeoutError:
                client.socket.sendall(b"\x00")
            except ConnectionError:
                ended = True
            if ended:
                break
        assert ended


def test_the_session_limit_closes_before_the_handshake(tls: Tls) -> None:
    others = [TlsClient(tls.ssl_port).wrap() for _ in range(3)]
    for other in others:
        other.reply()
    with TlsClient(tls.ssl_port) as client:
        assert client.socket.recv(100) == b""
    for other in others:
        other.socket.close()
    wait_until(lambda: _is_served(tls.ssl_port), "slots are free again")


def _is_served(port: int) -> bool:
    with TlsClient(port) as client:
        try:
            return client.wrap().reply().startswith(b"220 ")
        except (ssl.SSLError, ConnectionError):
            return False


@pytest.mark.parametrize(
    "junk", [b"EHLO clear.example\r\n", b"GET / HTTP/1.1\r\n\r\n", b"\x80\x2e\x01\x03\x01", b"\x00" * 600]
)
def test_junk_instead_of_a_handshake_costs_only_itself(tls: Tls, junk: bytes) -> None:
    with TlsClient(tls.ssl_port, "127.0.0.5") as client:
        client.socket.sendall(junk)
        while client.socket.recv(1000):
            pass
    with tls.client() as client:
        assert client.starttls().message(TEXT).startswith(b"250 ")


def test_a_cut_in_the_handshake_costs_only_itself(tls: Tls) -> None:
    with tls.client() as client:
        client.reply()
        client.say(b"EHLO client.example")
        client.say(b"STARTTLS")
        client.socket.sendall(b"\x16\x03\x01\x00\xf0")
        client.socket.shutdown(socket.SHUT_WR)
        while client.socket.recv(1000):
            pass
    wait_until(lambda: "went away in the handshake" in tls.server.log(), "it is logged")


@pytest.mark.parametrize("source", ["127.0.0.1", "127.0.0.7"])
def test_large_bodies_in_odd_pieces(tls: Tls, source: str) -> None:
    body = b"Subject: large\r\n\r\n" + b"".join(b"line %07d\r\n" % number for number in range(80_000))
    with tls.client(source) as client:
        client.starttls()
        for line in (b"MAIL FROM:<a@example.net>", b"RCPT TO:<b@example.com>", b"DATA"):
            client.say(line)
        at, size = 0, 1
        while at < len(body):
            client.socket.sendall(body[at : at + size])
            at, size = at + size, size * 3 % 40_009 + 1
        client.socket.sendall(b".\r\n")
        assert client.reply().startswith(b"250 ")
    with closing(sqlite3.connect(tls.folder / "spool" / "spool.db")) as database:
        (size,) = database.execute("SELECT max(size) FROM message").fetchone()
    assert size > len(body)


def test_many_replies_at_once(tls: Tls) -> None:
    with tls.client() as client:
        client.starttls()
        client.socket.sendall(b"EHLO client.example\r\n" * 90)
        for _ in range(90):
            assert b"says EHLO to" in client.reply()


def test_both_sides_say_goodbye(tls: Tls) -> None:
    with tls.client() as client:
        client.starttls()
        assert client.say(b"QUIT").startswith(b"221 ")
        assert client.tls.recv(10) == b"", "close_notify came; without it this would raise"


def test_an_end_without_close_notify_within_data_keeps_nothing(tls: Tls) -> None:
    def count() -> int:
        with closing(sqlite3.connect(tls.folder / "spool" / "spool.db")) as database:
            return int(database.execute("SELECT count(*) FROM message").fetchone()[0])

    before = count()
    with tls.client() as client:
        client.starttls()
        for line in (b"MAIL FROM:<a@example.net>", b"RCPT TO:<b@example.com>", b"DATA"):
            client.say(line)
        client.socket.sendall(b"Subject: x\r\n\r\nhalf")
        client.tls.shutdown(socket.SHUT_RDWR)
    with tls.client() as client:
        assert client.starttls().message(TEXT).startswith(b"250 ")
    assert count() == before + 1
