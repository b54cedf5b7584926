"""Options of TLS, each with its effect. Blocking clients run in a native thread beside the server's hub."""

from __future__ import annotations

import functools
import ssl
from collections.abc import Callable
from pathlib import Path

import gevent

from tests.effects.kit import Effect, Probe, offers
from tests.support.certificates import Authority
from tests.support.folders import folder_of_the_run
from tests.support.inprocess import Running
from tests.support.tlsclient import TlsClient, context


@functools.cache
def _folder() -> Path:
    """Certificates for the whole run."""
    folder = folder_of_the_run("effects")
    authority = Authority("ca")
    authority.write(folder / "ca.pem")
    authority.issue("mx.example.com").write(folder / "mx.pem")
    authority.issue("two.example.com").write(folder / "two.pem")
    authority.issue("client.example").write(folder / "client.pem")
    return folder


CERTIFICATE = f'tls_certificate = "{_folder()}/mx.pem"'
CLIENT_CA = f'tls_client_ca = "{_folder()}/ca.pem"'
STARTTLS = "smtp_extensions = ( STARTTLS XDUMPCONTEXT )"


def _talk(what: Callable[[TlsClient], object]) -> Probe:
    """What a function sees with a client that is connected and has said nothing."""

    def probe(server: Running) -> object:
        address = server.address()

        def run() -> object:
            with TlsClient(int(address[1])) as client:
                return what(client)

        return gevent.get_hub().threadpool.apply(run)

    return probe


def _from_the_first_byte(client: TlsClient) -> str | None:
    client.socket.settimeout(1)
    try:
        return client.wrap().tls.version()
    except (ssl.SSLError, OSError):
        return None


def _name(client: TlsClient) -> bool:
    client.starttls(name="two.example.com")
    return b"two.example.com" in (client.tls.getpeercert(binary_form=True) or b"")


def _variable(name: str) -> Callable[[TlsClient], bool]:
    def look(client: TlsClient) -> bool:
        client.starttls(context(cert=_folder() / "client.pem"))
        return f"[connection] {name} ".encode() in client.say(b"XDUMPCONTEXT")

    return look


def _relayed(client: TlsClient) -> int:
    client.starttls(context(cert=_folder() / "client.pem"))
    client.say(b"MAIL FROM:<a@example.net>")
    return int(client.say(b"RCPT TO:<x@elsewhere.example>")[:3])


def _is_chacha(client: TlsClient) -> bool:
    cipher = client.starttls(context(most=ssl.TLSVersion.TLSv1_2)).tls.cipher()
    return cipher is not None and "CHACHA20" in cipher[0]


def _injected(client: TlsClient) -> bytes:
    client.reply()
    client.say(b"EHLO client.example")
    client.socket.sendall(b"STARTTLS\r\nNOOP\r\n")
    return client.reply()[:3]


TLS = (
    Effect("Use_SSL", "true", _talk(_from_the_first_byte), None, "TLSv1.3", around=CERTIFICATE),
    Effect("TLS_Certificate", f'"{_folder()}/mx.pem"', offers("STARTTLS"), False, True, beside=STARTTLS),
    Effect(
        "TLS_Certificates",
        f'[ "two.example.com" = "{_folder()}/two.pem" ]',
        _talk(_name),
        False,
        True,
        around=CERTIFICATE,
        beside=STARTTLS,
    ),
    Effect(
        "TLS_Client_CA",
        f'"{_folder()}/ca.pem"',
        _talk(_variable("tls_client_verified")),
        False,
        True,
        around=CERTIFICATE,
        beside=STARTTLS,
    ),
    Effect(
        "TLS_Verify_Mode",
        "none",
        _talk(_variable("tls_client_verified")),
        True,
        False,
        around=f"{CERTIFICATE} {CLIENT_CA}",
        beside=STARTTLS,
    ),
    Effect(
        "TLS_Verified_Peer_Can_Relay",
        "true",
        _talk(_relayed),
        550,
        250,
        around=f"{CERTIFICATE} {CLIENT_CA}",
        beside=STARTTLS,
    ),
    Effect(
        "TLS_Protocols",
        '"+TLSv1.2"',
        _talk(lambda client: client.starttls().tls.version()),
        "TLSv1.3",
        "TLSv1.2",
        around=CERTIFICATE,
        beside=STARTTLS,
    ),
    Effect(
        "TLS_Ciphers",
        '"ECDHE+CHACHA20"',
        _talk(_is_chacha),
        False,
        True,
        around=CERTIFICATE,
        beside=STARTTLS,
    ),
    Effect(
        "STARTTLS_Injection_Policy", "ignore", _talk(_injected), b"503", b"220", around=CERTIFICATE, beside=STARTTLS
    ),
)

SHOWN_BY_TLS = {
    "TLS_Key": "tests/tls/test_files.py::test_a_key_may_have_a_file_of_its_own",
    "TLS_Allow_Renegotiation": "tests/tls/test_tls.py::test_renegotiation",
    "TLS_Handshake_Timeout": "tests/tls/test_tls.py::test_a_silent_handshake_is_closed_at_its_deadline",
}
