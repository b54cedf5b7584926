"""Certificates and keys: what a start and a reload make of their files."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.support.certificates import Authority, Certificate
from tests.support.server import Server, serving
from tests.support.tlsclient import TlsClient
from tests.support.waiting import wait_until

TEXT = b"Subject: x\r\n\r\nhello\r\n"


def test_a_reload_picks_up_new_certificates_and_leaves_sessions_alone(tmp_path: Path) -> None:
    authority = Authority("ca")
    file = authority.issue("old.example.com").write(tmp_path / "mx.pem")
    conf = """
    spoolbase = "{folder}/spool"  suspend_delivery = true  relay_domains = ( example.com )
    ESMTP_Listener { smtp_extensions = ( STARTTLS )
      Listen "127.0.0.1:{port}" { tls_certificate = "{folder}/mx.pem" } }"""
    with serving(tmp_path, conf) as server, TlsClient(server.port) as running:
        running.starttls()
        authority.issue("new.example.com").write(file)
        server.signal(signal.SIGHUP)
        wait_until(lambda: " reloaded " in server.log(), "the reload")
        with TlsClient(server.port) as client:
            der = client.starttls().tls.getpeercert(binary_form=True)
            assert der is not None
            assert b"new.example.com" in der
        assert running.message(TEXT).startswith(b"250 ")
        file.write_text("no certificate")
        server.signal(signal.SIGHUP)
        wait_until(lambda: "Reconfigure failed" in server.log(), "the refusal")
        assert f"TLS_Certificate: {file} holds no certificate in PEM form" in server.log()
        with TlsClient(server.port) as client:
            assert client.starttls().message(TEXT).startswith(b"250 ")


BAD = [
    ('tls_certificate = "/nowhere.pem"', "TLS_Certificate: can't read /nowhere.pem: No such file or directory"),
    (
        'tls_certificate = "{folder}/cert.pem"',
        "holds no key, and TLS_Key is not set in the same scope or a narrower one",
    ),
    ('tls_certificate = "{folder}/cert.pem" tls_key = "{folder}/other.key"', "is not the key of"),
    ('tls_certificate = "{folder}/mx.pem" tls_ciphers = "NO-SUCH"', "TLS_Ciphers: 'NO-SUCH'"),
    ('tls_certificate = "{folder}/mx.pem" tls_client_ca = "{folder}/other.key"', "TLS_Client_CA"),
    ("use_ssl = true", "Use_SSL is true and there is no TLS_Certificate"),
    ('tls_certificate = "{folder}/mx.pem" tls_certificates = [ a = "/nowhere" ]', "can't read /nowhere"),
]


@pytest.mark.parametrize(("setting", "said"), BAD)
def test_what_can_t_be_used_stops_the_start_with_its_place(tmp_path: Path, setting: str, said: str) -> None:
    one, other = Authority("ca").issue("mx"), Authority("ca").issue("other")
    one.write(tmp_path / "mx.pem")
    one.write(tmp_path / "cert.pem", tmp_path / "cert.key")
    Certificate(other.certificate, other.key).write(tmp_path / "other.pem", tmp_path / "other.key")
    listen = 'Listen "127.0.0.1:{port}" { smtp_extensions = ( STARTTLS )'
    server = Server(tmp_path, f'spoolbase = "{{folder}}/spool"\nESMTP_Listener {{ {listen}\n {setting} }} }}')
    server.launch()
    assert server.wait() == 1
    assert said in server.log()
    assert f"{server.conf}:" in server.log()


def test_a_key_may_have_a_file_of_its_own(tmp_path: Path) -> None:
    Authority("ca").issue("mx.example").write(tmp_path / "cert.pem", tmp_path / "key.pem")
    conf = """
    spoolbase = "{folder}/spool"  suspend_delivery = true  relay_domains = ( example.com )
    ESMTP_Listener { smtp_extensions = ( STARTTLS )
      Listen "127.0.0.1:{port}" { tls_certificate = "{folder}/cert.pem"  tls_key = "{folder}/key.pem" } }"""
    with serving(tmp_path, conf) as server, TlsClient(server.port) as client:
        assert client.starttls().message(TEXT).startswith(b"250 ")


def test_a_key_of_a_wider_scope_is_not_used_with_a_narrower_certificate(tmp_path: Path) -> None:
    one, other = Authority("ca").issue("one.example"), Authority("ca").issue("two.example")
    one.write(tmp_path / "one.pem", tmp_path / "one.key")
    other.write(tmp_path / "two.pem")
    conf = """
    spoolbase = "{folder}/spool"  suspend_delivery = true  relay_domains = ( example.com )
    tls_certificate = "{folder}/one.pem"  tls_key = "{folder}/one.key"
    ESMTP_Listener { smtp_extensions = ( STARTTLS )
      Listen "127.0.0.1:{port}" { Peer "127.0.0.2" { tls_certificate = "{folder}/two.pem" } } }"""
    with serving(tmp_path, conf) as server:
        for source, name in (("127.0.0.1", b"one.example"), ("127.0.0.2", b"two.example")):
            with TlsClient(server.port, source) as client:
                der = client.starttls().tls.getpeercert(binary_form=True)
                assert der is not None
                assert name in der
