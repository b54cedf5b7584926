"""What the checker says of logins, and what starting with odd stores does."""

from __future__ import annotations

from pathlib import Path

import pytest

from gsmtp.app.loading import load
from gsmtp.core.errors import ConfigError
from tests.config_meaning.loading import found_in
from tests.support.inprocess import running

STORE = '[ uri = "file:///etc/gsmtp/users" ]'


def told(text: str) -> list[tuple[str, str]]:
    """Code and message of every finding about a listener with these lines."""
    found = found_in(f"ESMTP_Listener {{ {text} }}")
    return [(one.code, one.message) for one in found]


def test_passwords_in_the_clear_are_told_once_and_not_where_tls_is_needed() -> None:
    stores = f"AuthPlainParameters = {STORE} AuthCramMD5Parameters = {STORE} "
    listed = f'SMTP_Extensions = ( "AUTH PLAIN CRAM-MD5" ) {stores}'
    warned = ("cleartext-auth", "passwords of AUTH PLAIN may come without TLS: whoever listens on the way reads them")
    assert told(listed + 'Listen ":25" { } Listen ":587" { }') == [warned]
    assert told(listed + 'Listen "127.0.0.1:25" { } Listen "/tmp/s" { }') == []
    assert told(listed + 'Enable_Authentication = false Listen ":25" { }') == []
    starttls = listed.replace('"AUTH', '"STARTTLS" "AUTH') + 'TLS_Certificate = "/c" TLS_Key = "/k" '
    assert told(starttls + 'Auth_Requires_TLS = true Listen ":25" { }') == []
    never = "AUTH PLAIN is never offered: Auth_Requires_TLS is true, and there is neither STARTTLS nor Use_SSL"
    assert told(listed + 'Auth_Requires_TLS = true Listen ":25" { }') == [("auth-without-tls", never)]


def test_a_mechanism_without_a_store_is_told() -> None:
    listed = 'SMTP_Extensions = ( "AUTH CRAM-MD5 SCRAM-SHA-256" ) '
    warned = "AUTH {} is listed and not offered: {} is not set"
    assert told(listed + f'AuthScramSHA256Parameters = {STORE} Listen ":25" {{ }}') == [
        ("auth-without-store", warned.format("CRAM-MD5", "AuthCramMD5Parameters"))
    ]
    peer = f'Peer "10.0.0.0/8" {{ AuthCramMD5Parameters = {STORE} AuthScramSHA256Parameters = {STORE} }}'
    assert told(listed + f'Listen ":25" {{ {peer} }}') == []


@pytest.mark.parametrize(
    ("dictionary", "message"),
    [
        ('[ realm = "x" ]', "AuthPlainParameters has no uri"),
        ('[ uri = "/etc/users" ]', 'uri = "/etc/users" in AuthPlainParameters is not of the form scheme://…'),
        (
            '[ uri = "file:///u" log_authentication = "maybe" ]',
            'log_authentication = "maybe" in AuthPlainParameters is not true or false',
        ),
    ],
)
def test_parameters_are_looked_at(dictionary: str, message: str) -> None:
    assert [found[1] for found in told(f'AuthPlainParameters = {dictionary} Listen ":25" {{ }}')] == [message]


def test_always_allow_for_everybody_is_an_open_relay() -> None:
    assert [code for code, _ in told('Always_Allow = true Listen ":25" { }')] == ["open-relay"]
    assert told('Always_Allow = true Always_Deny = true Listen ":25" { }') == []
    assert told('Listen ":25" { Peer "10.0.0.0/8" { Always_Allow = true } }') == []
    for conf in (
        'Listen ":25" { Peer "0.0.0.0/0" { Always_Allow = true } }',
        'Listen ":25" { } Peer "::/0" { Always_Allow = true }',
    ):
        assert [code for code, _ in told(conf)] == ["open-relay"]


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        (
            "flie:///u",
            "AuthCramMD5Parameters: no credential store is called flie:// (there are digest://, file://, groups://); "
            "did you mean 'file'?",
        ),
        ("file://users", "AuthCramMD5Parameters: file://users is not of the form file:///path"),
        (
            "digest:///users",
            "AuthCramMD5Parameters: digest:// holds no passwords that CRAM-MD5 can use: use file://",
        ),
    ],
)
def test_a_store_that_can_not_be_stops_the_start_at_its_place(tmp_path: Path, uri: str, message: str) -> None:
    text = f'ESMTP_Listener {{\n  AuthCramMD5Parameters = [ uri = "{uri}" ]\n  Listen "127.0.0.1:0" {{ }} }}\n'
    with pytest.raises(ConfigError) as error, running(tmp_path, text, base='spoolbase = "{spool}"\n'):
        pass
    assert str(error.value) == f"{tmp_path}/ecelerity.conf:3:3: {message}"


def test_a_missing_file_is_a_warning_and_may_come_later(tmp_path: Path) -> None:
    users = tmp_path / "users"
    text = f'ESMTP_Listener {{ AuthPlainParameters = [ uri = "file://{users}" ] Listen "127.0.0.1:0" {{ }} }}'
    with running(tmp_path, text) as server:
        warning = f"{users}: No such file or directory; until it can be read every login gets 454"
        assert warning in str(server.log)


def test_a_reload_with_a_bad_store_changes_nothing(tmp_path: Path) -> None:
    text = 'ESMTP_Listener { Listen "127.0.0.1:0" { } }'
    with running(tmp_path, text) as server:
        before = server.supervisor.service.authenticator
        path = server.path.read_text()
        server.reconfigure(path.replace("Listen ", 'AuthPlainParameters = [ uri = "nothing:///x" ] Listen '))
        assert "no credential store is called nothing://" in str(server.log)
        assert server.supervisor.service.authenticator is before
        assert load(str(server.path), 2).configuration is not None
