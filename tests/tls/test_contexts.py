"""Which TLS contexts a configuration makes, and what is said of options of TLS that can't be used or have no effect."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from gsmtp.app import wiring
from gsmtp.app.loading import load
from gsmtp.config.scopes import Configuration
from gsmtp.core.errors import ConfigError
from gsmtp.runtime.tls_contexts import prepare
from tests.support.certificates import Authority

wiring.load()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("contexts")
    authority = Authority("the CA")
    authority.write(path / "ca.pem")
    authority.issue("mx.example.com").write(path / "mx.pem")
    return path


def _configuration(folder: Path, text: str) -> Configuration:
    path = folder / "made.conf"
    path.write_text(text.replace("{folder}", str(folder)))
    loaded = load(str(path), 1)
    assert loaded.configuration is not None, loaded.problems
    return loaded.configuration


def test_views_that_say_the_same_share_a_context(folder: Path) -> None:
    configuration = _configuration(
        folder,
        """tls_certificate = "{folder}/mx.pem"
        ESMTP_Listener {
          Listen "127.0.0.1:2525" { Peer "192.0.2.0/24" { idle_time = 7 } Peer "10.0.0.0/8" { tls_ciphers = "ECDHE" } }
          Listen "127.0.0.1:2526" { Peer "192.0.2.0/24" { tls_certificate = none } }
        }""",
    )
    contexts = prepare(configuration)
    assert [made.settings.ciphers for made in contexts] == ["DEFAULT", "ECDHE"]
    one, other = configuration.listens
    plain = contexts.of(one.view)
    assert plain is contexts.of(configuration.view_for(other, "198.51.100.1")) is not None
    assert contexts.of(configuration.view_for(other, "192.0.2.9")) is None
    renewed = contexts.renewed()
    assert [made.settings for made in renewed] == [made.settings for made in contexts]
    assert renewed.of(one.view) is not plain


def test_each_combination_of_peers_is_prepared_at_load(folder: Path) -> None:
    """192.0.2.0 is in the /32 too: no client has the /24's certificate under its first address."""
    configuration = _configuration(
        folder,
        """ESMTP_Listener {
          Peer "192.0.2.0/24" { tls_certificate = "{folder}/nowhere.pem" }
          Listen "127.0.0.1:2525" { Peer "192.0.2.0/32" { tls_certificate = "{folder}/mx.pem" } }
        }""",
    )
    with pytest.raises(ConfigError, match=r"made\.conf:2:51: error: TLS_Certificate: can't read .*/nowhere\.pem"):
        prepare(configuration)


def test_use_ssl_needs_a_certificate_for_every_peer(folder: Path) -> None:
    configuration = _configuration(
        folder,
        """ESMTP_Listener { Listen "127.0.0.1:2525" { use_ssl = true  tls_certificate = "{folder}/mx.pem"
             Peer "192.0.2.1" { tls_certificate = none } } }""",
    )
    with pytest.raises(ConfigError, match="Use_SSL is true and there is no TLS_Certificate"):
        prepare(configuration)


@pytest.mark.parametrize(
    ("setting", "place", "said"),
    [
        ('tls_client_ca = "{folder}/ca.pem"', "TLS_Client_CA", "client certificates need pyOpenSSL"),
        ("tls_verify_mode = require", "TLS_Verify_Mode", "client certificates need pyOpenSSL"),
        ('smtp_extensions = ( "AUTH SCRAM-SHA-256-PLUS" )', "SMTP_Extensions", "SCRAM-SHA-256-PLUS needs pyOpenSSL"),
    ],
)
def test_what_needs_pyopenssl_says_how_to_install_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, setting: str, place: str, said: str
) -> None:
    configuration = _configuration(
        folder,
        f'ESMTP_Listener {{ Listen "127.0.0.1:2525" {{ tls_certificate = "{{folder}}/mx.pem"  {setting} }} }}',
    )
    monkeypatch.delitem(sys.modules, "gsmtp.runtime.tls_openssl", raising=False)
    monkeypatch.setitem(sys.modules, "OpenSSL", None)
    with pytest.raises(ConfigError, match=rf"error: {place}: {said}: pip install 'gsmtp\[tls\]'"):
        prepare(configuration)


# --- what the checker says


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("smtp_extensions = ( STARTTLS )", 'STARTTLS is not offered on Listen ":2525": there is no TLS_Certificate'),
        ("smtp_extensions = ( STARTTLS )  tls_certificate = none", "there is no TLS_Certificate"),
        ('smtp_extensions = ( STARTTLS )  Peer "10.0.0.1" { tls_certificate = "/x" }', ""),
        ('tls_certificates = [ "a.example" = "/x" ]', "TLS_Certificates is not used on"),
        ('tls_certificate = "/x"  tls_verify_mode = require', "TLS_Verify_Mode is require on"),
        ('tls_certificate = "/x"  tls_verify_mode = require  tls_client_ca = "/y"', ""),
    ],
)
def test_what_can_have_no_effect_is_warned_about(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "made.conf"
    path.write_text(f'relay_domains = ( example.com )\nESMTP_Listener {{ Listen ":2525" {{ {text} }} }}')
    told = [problem.message for problem in load(str(path), 1).problems if "TLS" in problem.message]
    assert len(told) == bool(said)
    assert said in "".join(told)


@pytest.mark.parametrize("name", ["", "*", "a.*.example", "mx example", "bücher.example", "mx..example"])
def test_names_that_no_client_asks_for_are_errors(tmp_path: Path, name: str) -> None:
    path = tmp_path / "made.conf"
    path.write_text(f'ESMTP_Listener {{ Listen ":2525" {{ tls_certificates = [ "{name}" = "/x" ] }} }}')
    told = [problem.message for problem in load(str(path), 1).problems if problem.severity == "error"]
    assert told == [f"tls_certificates: '{name}' is no host name that a client could ask for"]


def test_another_library_is_warned_about(tmp_path: Path) -> None:
    path = tmp_path / "made.conf"
    path.write_text("tls_engine = gnutls\n")
    told = [problem.message for problem in load(str(path), 1).problems if "tls_engine" in problem.message]
    assert told == ["tls_engine = gnutls is not served: OpenSSL is used"]
