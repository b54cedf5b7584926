"""Both engines of TLS by themselves, without sockets: what goes in and out, whatever the pieces."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import ssl
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from cryptography.hazmat.primitives import serialization
from OpenSSL import SSL, crypto

from gsmtp.runtime.tls import TlsContext, TlsFacts, TlsFault, TlsLayer, tls_variables
from gsmtp.runtime.tls_openssl import OpensslContext
from gsmtp.runtime.tls_settings import TlsFileError, TlsSettings
from gsmtp.runtime.tls_stdlib import StdlibContext
from gsmtp.smtp.tls_options import Protocols
from tests.support.certificates import Authority, Certificate
from tests.support.tlsclient import context

Engine = Callable[[TlsSettings], TlsContext]
TLS12, TLS13 = Protocols(("TLSv1.2",)), Protocols(("TLSv1.3",))


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority("the CA")


@pytest.fixture(scope="module")
def folder(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("layers")
    authority.write(path / "ca.pem")
    authority.issue("mx.example.com").write(path / "mx.pem")
    return path


@pytest.fixture(params=[StdlibContext, OpensslContext], ids=["stdlib", "openssl"])
def engine(request: pytest.FixtureRequest) -> Engine:
    made: Engine = request.param
    return made


@pytest.fixture
def settings(folder: Path) -> TlsSettings:
    return TlsSettings(str(folder / "mx.pem"))


class Pair:
    """A server's layer and a client by the standard library, which exchange ciphertext in memory.

    Args:
        layer: the server's.
        made: the client's context.
        piece: octets that are handed on at once; 0 for all.
    """

    def __init__(self, layer: TlsLayer, made: ssl.SSLContext | None = None, piece: int = 0) -> None:
        self.layer = layer
        self.piece = piece
        self.came = b""
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = (made or context()).wrap_bio(self._in, self._out)

    def to_server(self) -> None:
        data = self._out.read()
        step = self.piece or len(data) or 1
        for at in range(0, len(data), step):
            self.came += self.layer.receive(data[at : at + step])
            self._in.write(self.layer.data_to_send())

    def shake(self) -> Pair:
        while True:
            try:
                self.client.do_handshake()
                self.to_server()
                return self
            except ssl.SSLWantReadError:
                self.to_server()

    def read(self) -> bytes:
        """All clear bytes that have come to the client."""
        self._in.write(self.layer.data_to_send())
        pieces = b""
        try:
            while piece := self.client.read(65536):
                pieces += piece
        except (ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            pass
        return pieces


@pytest.mark.parametrize("protocols", [TLS12, TLS13])
@pytest.mark.parametrize("piece", [1, 7, 4099, 0])
def test_bytes_arrive_whole_whatever_the_pieces(
    engine: Engine, settings: TlsSettings, protocols: Protocols, piece: int
) -> None:
    pair = Pair(engine(replace(settings, protocols=protocols)).begin(), piece=piece).shake()
    assert pair.layer.is_ready
    body = bytes(range(256)) * (40 if piece == 1 else 1200)
    pair.client.write(body[: len(body) // 3])
    pair.client.write(body[len(body) // 3 :])
    pair.to_server()
    assert pair.came == body
    pair.layer.send(body)
    pair.layer.send(b"!")
    assert pair.read() == body + b"!"
    facts = pair.layer.facts()
    assert facts.protocol == protocols.versions[0]
    assert (facts.cipher, facts.protocol, facts.use_bits) == pair.client.cipher()


def test_a_session_ticket_goes_out_with_the_first_reply(settings: TlsSettings) -> None:
    pair = Pair(StdlibContext(settings).begin()).shake()
    assert pair.layer.is_ready
    assert pair.layer.data_to_send() == b"", "nobody waits for a ticket"
    pair.client.write(b"EHLO client.example\r\n")
    pair.to_server()
    pair.layer.send(b"250 mx.example.com\r\n")
    assert pair.read() == b"250 mx.example.com\r\n"
    session = pair.client.session
    assert session is not None
    assert session.has_ticket


def test_what_comes_with_the_end_of_the_handshake_lets_no_ticket_wait(settings: TlsSettings) -> None:
    layer = StdlibContext(settings).begin()
    came, goes = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context().wrap_bio(came, goes)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    layer.receive(goes.read())
    came.write(layer.data_to_send())
    client.do_handshake()
    client.write(b"EHLO client.example\r\n")
    assert layer.receive(goes.read()) == b"EHLO client.example\r\n"
    layer.close()
    came.write(layer.data_to_send())
    assert client.read() == b"", "the end"
    assert client.session is not None
    assert client.session.has_ticket


def test_the_end_is_told_with_the_last_bytes(engine: Engine, settings: TlsSettings) -> None:
    pair = Pair(engine(settings).begin()).shake()
    pair.client.write(b"QUIT\r\n")
    with pytest.raises(ssl.SSLWantReadError):
        pair.client.unwrap()
    pair.to_server()
    assert pair.came == b"QUIT\r\n"
    assert pair.layer.is_ended
    pair.layer.send(b"221 bye\r\n")
    pair.layer.close()
    assert pair.read() == b"221 bye\r\n"
    pair.client.unwrap()


def test_a_cut_is_an_end_too(engine: Engine, settings: TlsSettings) -> None:
    pair = Pair(engine(settings).begin()).shake()
    assert pair.layer.receive(b"") == b""
    assert pair.layer.is_ended
    cut = engine(settings).begin()
    assert cut.receive(b"\x16\x03\x01\x01\x00") == b""
    assert cut.receive(b"") == b""
    assert not cut.is_ready


def test_junk_is_a_fault_with_an_alert(engine: Engine, settings: TlsSettings) -> None:
    layer = engine(settings).begin()
    with pytest.raises(TlsFault, match=" "):
        layer.receive(b"EHLO client.example\r\n" * 3)
    assert layer.data_to_send()[:1] in (b"", b"\x15"), "nothing, or an alert"


def test_a_forged_record_is_a_fault(engine: Engine, settings: TlsSettings) -> None:
    pair = Pair(engine(settings).begin()).shake()
    with pytest.raises(TlsFault):
        pair.layer.receive(b"\x17\x03\x03\x00\x40" + b"\x00" * 64)
    assert pair.layer.data_to_send()[:1] in (b"\x15", b"\x17")
    with pytest.raises(TlsFault):
        pair.layer.send(b"250 OK\r\n")


def test_what_is_sent_while_the_client_renegotiates_waits_for_its_end(engine: Engine, settings: TlsSettings) -> None:
    layer = engine(replace(settings, protocols=TLS12, renegotiation=True)).begin()
    client = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), None)
    client.set_connect_state()

    def pass_on() -> bytes:
        try:
            clear = layer.receive(client.bio_read(65536))
        except SSL.WantReadError:
            clear = b""
        if data := layer.data_to_send():
            client.bio_write(data)
        return clear

    def shake() -> bytes:
        while True:
            try:
                client.do_handshake()
            except SSL.WantReadError:
                pass_on()
            else:
                return pass_on()

    shake()
    client.send(b"NOOP\r\n")
    client.renegotiate()
    with pytest.raises(SSL.WantReadError):
        client.do_handshake()
    assert pass_on() == b"NOOP\r\n"
    layer.send(b"250 ")
    layer.send(b"OK\r\n")
    shake()
    assert client.total_renegotiations() == 1
    assert client.recv(100) == b"250 OK\r\n"


def test_layers_go_without_the_collector(engine: Engine, settings: TlsSettings) -> None:
    made = engine(settings)
    gc.collect()
    gc.disable()
    try:
        pair = Pair(made.begin()).shake()
        del pair
        assert gc.collect() == 0
    finally:
        gc.enable()


def _broken(random: Random, data: bytes) -> bytes:
    """Octets changed, left out or put in."""
    broken = bytearray(data)
    at = random.randrange(len(broken))
    what = random.choice(("change", "leave out", "put in"))
    if what == "change":
        broken[at] ^= random.randrange(1, 256)
    elif what == "leave out":
        del broken[at : at + random.randrange(1, 8)]
    else:
        broken[at:at] = random.randbytes(random.randrange(1, 8))
    return bytes(broken)


@pytest.mark.parametrize("protocols", [TLS12, TLS13], ids=["1.2", "1.3"])
def test_what_one_client_breaks_is_its_own_fault_alone(
    engine: Engine, settings: TlsSettings, protocols: Protocols
) -> None:
    """OpenSSL keeps one queue of errors a thread: what is left there would be taken for another connection's."""
    made = engine(replace(settings, protocols=protocols))
    good = Pair(made.begin(), piece=9).shake()
    random = Random(3)
    for number in range(150):
        layer = made.begin()
        came, goes = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = context().wrap_bio(came, goes)
        with contextlib.suppress(TlsFault):
            for flight in range(4):
                with contextlib.suppress(ssl.SSLError):
                    client.do_handshake()
                if data := goes.read():
                    layer.receive(_broken(random, data) if flight == number % 3 else data)
                came.write(layer.data_to_send())
        layer.close()
        good.came = b""
        good.client.write(b"NOOP\r\n")
        good.to_server()
        assert good.came == b"NOOP\r\n"
        good.layer.send(b"250 OK\r\n")
        assert good.read() == b"250 OK\r\n"


# --- files


def _encrypted(certificate: Certificate) -> bytes:
    key = serialization.load_pem_private_key(certificate.key, None)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"secret")
    )


def test_a_key_with_a_password_is_refused_and_nobody_is_asked(
    engine: Engine, authority: Authority, tmp_path: Path
) -> None:
    issued = authority.issue("locked.example")
    path = Certificate(issued.certificate, _encrypted(issued)).write(tmp_path / "locked.pem")
    with pytest.raises(TlsFileError, match="has a password"):
        engine(TlsSettings(str(path)))


def test_what_is_wrong_with_a_file_for_sni_is_told_of_that_option(engine: Engine, settings: TlsSettings) -> None:
    with pytest.raises(TlsFileError, match="can't read /nowhere") as caught:
        engine(replace(settings, others=(("a.example", "/nowhere"),)))
    assert caught.value.option.name == "TLS_Certificates"


def test_a_name_with_control_characters_is_written_out() -> None:
    told = tls_variables(TlsFacts("TLSv1.3", "x", server_name="a"))
    assert told == {"tls": "on", "tls_protocol": "TLSv1.3", "tls_cipher": "x", "tls_server_name": "a"}


# --- client certificates


def _presented(
    folder: Path, settings: TlsSettings, certificate: Certificate | None, *, needs: bool = False
) -> TlsFacts:
    made = context()
    if certificate is not None:
        made.load_cert_chain(certificate.write(folder / "client.pem"))
    asking = replace(settings, client_ca=str(folder / "ca.pem"), asks_client=True, needs_client=needs)
    return Pair(OpensslContext(asking).begin(), made).shake().layer.facts()


@pytest.fixture(params=[TLS12, TLS13], ids=["1.2", "1.3"])
def asked(request: pytest.FixtureRequest, settings: TlsSettings) -> TlsSettings:
    return replace(settings, protocols=request.param)


@pytest.mark.parametrize("needs", [False, True])
def test_certificates_are_judged_and_the_handshake_goes_on(
    folder: Path, asked: TlsSettings, authority: Authority, needs: bool
) -> None:
    good = _presented(folder, asked, authority.issue("good.example"), needs=needs)
    assert good.is_verified
    assert good.verify_error == ""
    assert good.client_subject_cn == "good.example"
    for certificate, why in (
        (authority.issue("old.example", is_expired=True), "certificate has expired"),
        (authority.issue("mx2.example", is_for_clients=False), "invalid purpose"),
        (Authority("stranger").issue("a.example"), "unable to get issuer certificate locally"),
        (Authority("self").own, "depth zero self signed certificate"),
    ):
        facts = _presented(folder, asked, certificate, needs=needs)
        assert not facts.is_verified
        assert facts.verify_error == why
        assert facts.client_subject


def test_no_certificate_is_a_fault_only_where_one_is_needed(folder: Path, asked: TlsSettings) -> None:
    facts = _presented(folder, asked, None)
    assert (facts.is_verified, facts.verify_error, facts.client_subject) == (False, "", "")
    with pytest.raises(TlsFault, match="peer did not return a certificate"):
        _presented(folder, asked, None, needs=True)


def test_names_of_clients_can_break_no_line(folder: Path, asked: TlsSettings, authority: Authority) -> None:
    facts = _presented(folder, asked, Authority("evil\r\nX-Spam: no").own)
    assert facts.client_subject == "/O=gsmtp tests/CN=evil\\x0D\\x0AX-Spam: no"
    assert facts.client_subject_cn == "evil\\x0D\\x0AX-Spam: no"


@pytest.mark.parametrize("junk", [b"\x0c\x04\x00\x00\x00\x00", b"\x14\x04\xff\xfe\xfd\xfc"])
def test_names_of_clients_that_are_no_text_end_nothing(
    folder: Path, asked: TlsSettings, authority: Authority, junk: bytes
) -> None:
    own = Authority("name").own
    der = ssl.PEM_cert_to_DER_cert(own.certificate.decode()).replace(b"\x0c\x04name", junk)
    facts = _presented(folder, asked, Certificate(ssl.DER_cert_to_PEM_cert(der).encode(), own.key))
    assert not facts.is_verified
    assert facts.client_subject.isprintable()


# --- channel bindings


def _bound(settings: TlsSettings) -> tuple[TlsFacts, SSL.Connection]:
    layer = OpensslContext(replace(settings, needs_bindings=True)).begin()
    client = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), None)
    client.set_connect_state()
    while not layer.is_ready:
        try:
            client.do_handshake()
        except SSL.WantReadError:
            pass
        layer.receive(client.bio_read(65536))
        if data := layer.data_to_send():
            client.bio_write(data)
    client.do_handshake()
    return layer.facts(), client


def test_both_ends_know_the_same_bindings(asked: TlsSettings) -> None:
    facts, client = _bound(asked)
    bindings = dict(facts.channel_bindings)
    assert bindings.pop("tls-exporter") == client.export_keying_material(b"EXPORTER-Channel-Binding", 32, b"")
    certificate = client.get_peer_certificate()
    assert certificate is not None
    der = crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate)
    assert bindings.pop("tls-server-end-point") == hashlib.sha256(der).digest()
    assert bindings == ({"tls-unique": client.get_finished()} if facts.protocol == "TLSv1.2" else {})


def test_bindings_are_not_worked_out_where_nobody_asks(engine: Engine, settings: TlsSettings) -> None:
    assert Pair(engine(settings).begin()).shake().layer.facts().channel_bindings == {}
