"""Logins against a whole server: replies, context, what is told, what failures cost."""

from __future__ import annotations

import base64
import hashlib
import hmac
from pathlib import Path

import pytest

from gsmtp.core.records import AuthAttempt, Record
from gsmtp.observe.journal import Journal
from gsmtp.observe.logs import Trouble
from gsmtp.server.reception import Reception
from tests.support.inprocess import Client, Running, running

USERS = "tim:tanstaaftanstaaf\n# a comment\nalice:wonder:land\nhash:{SSHA}c21mEZgiGBv6eO9Wdlbu0bMfEF1hYmNk\n"
CONF = """
ESMTP_Listener {{
  Auth_Failure_Delay = 0
  SMTP_Extensions = ( "AUTH PLAIN LOGIN CRAM-MD5 DIGEST-MD5" )
  AuthPlainParameters = [ uri = "file://{users}" log_authentication = "true" ]
  AuthLoginParameters = [ uri = "file://{users}" ]
  AuthCramMD5Parameters = [ uri = "file://{users}" ]
  AuthDigestMD5Parameters = [ uri = "file://{users}" stored_cleartext = "true" ]
  {more}
  Listen "127.0.0.1:0" {{ }}
}}
"""
GOOD = b"235 Authentication successful\r\n"
BAD = b"535 5.7.8 Authentication credentials invalid\r\n"
TROUBLE = b"454 4.7.0 Temporary authentication failure\r\n"
CUT_OFF = b"421 4.7.0 too many failed logins, closing connection\r\n"


def conf(folder: Path, more: str = "") -> str:
    users = folder / "users"
    users.write_text(USERS)
    return CONF.format(users=users, more=more)


def plain(user: bytes, password: bytes) -> bytes:
    return b"AUTH PLAIN " + base64.b64encode(b"\0" + user + b"\0" + password)


def cram(client: Client, user: bytes, password: bytes) -> bytes:
    challenge = client.say(b"AUTH CRAM-MD5")
    assert challenge.startswith(b"334 ")
    text = base64.b64decode(challenge[4:])
    digest = hmac.new(password, text, hashlib.md5).hexdigest().encode()
    return client.say(base64.b64encode(user + b" " + digest))


def only(server: Running) -> Reception:
    (connection,) = server.supervisor.service.connections
    return connection.reception


class Listening:
    """A log that keeps the attempts."""

    def __init__(self) -> None:
        self.attempts: list[AuthAttempt] = []

    def record(self, record: Record) -> None:
        if isinstance(record, AuthAttempt):
            self.attempts.append(record)

    def trouble(self, trouble: Trouble) -> None:
        """None is asked for."""


def attempts(server: Running) -> list[AuthAttempt]:
    """From now on: the attempts that are told."""
    listening = Listening()
    journal = server.supervisor.service.journal
    assert isinstance(journal, Journal)
    journal.use([listening])
    return listening.attempts


def test_a_login_opens_the_way_to_every_domain(tmp_path: Path) -> None:
    with running(tmp_path, conf(tmp_path)) as server:
        client = server.client().greet()
        assert client.code(b"MAIL FROM:<a@example.net>") == 250
        assert client.code(b"RCPT TO:<b@elsewhere.example>") == 550
        client.say(b"RSET")
        assert client.say(plain(b"tim", b"tanstaaftanstaaf")) == GOOD
        conn = only(server).context.conn
        assert {name: conn[name] for name in ("auth_name", "auth_status", "auth_user", "can_relay")} == {
            "auth_name": "PLAIN",
            "auth_status": "pass",
            "auth_user": "tim",
            "can_relay": "true",
        }
        assert client.transaction(recipient=b"b@elsewhere.example").startswith(b"250 ")
        client.close()


def test_passwords_are_taken_byte_by_byte_behind_the_first_colon(tmp_path: Path) -> None:
    with running(tmp_path, conf(tmp_path, "Auth_Failures_Per_Session = 0")) as server:
        client = server.client().greet()
        for user, password, reply in (
            (b"alice", b"wonder", BAD),
            (b"alice", b"wonder:land ", BAD),
            (b"Alice", b"wonder:land", BAD),
            (b"# a comment", b"", BAD),
            (b"hash", b"{SSHA}c21mEZgiGBv6eO9Wdlbu0bMfEF1hYmNk", BAD),
        ):
            assert client.say(plain(user, password)) == reply
        assert client.say(plain(b"alice", b"wonder:land")) == GOOD


def test_a_changed_file_counts_at_once_and_a_missing_one_is_trouble(tmp_path: Path) -> None:
    with running(tmp_path, conf(tmp_path)) as server:
        client = server.client().greet()
        assert client.say(plain(b"new", b"secret")) == BAD
        with (tmp_path / "users").open("a") as file:
            file.write("new:secret\n")
        (tmp_path / "users").rename(tmp_path / "away")
        assert client.say(plain(b"new", b"secret")) == TROUBLE
        conn = only(server).context.conn
        assert (conn["auth_status"], conn.get("can_relay")) == ("error", None)
        (tmp_path / "away").rename(tmp_path / "users")
        assert client.say(plain(b"new", b"secret")) == GOOD


def test_cram_md5_needs_clear_text_and_tells_nobody_who_exists(tmp_path: Path) -> None:
    with running(tmp_path, conf(tmp_path, "Auth_Failures_Per_Session = 0")) as server:
        client = server.client().greet()
        assert cram(client, b"tim", b"wrong") == BAD
        assert cram(client, b"nobody", b"wrong") == BAD
        assert cram(client, b"hash", b"secret") == BAD
        assert cram(client, b"tim", b"tanstaaftanstaaf") == GOOD


def test_the_third_failure_ends_the_session(tmp_path: Path) -> None:
    with running(tmp_path, conf(tmp_path)) as server:
        client = server.client().greet()
        assert [client.say(plain(b"tim", b"wrong")) for _ in range(3)] == [BAD, BAD, CUT_OFF]
        assert client.is_closed()


def test_an_address_that_fails_too_often_is_cut_off_and_no_other(tmp_path: Path) -> None:
    more = 'Auth_Failures_Per_Address = 4 Peer "127.0.0.9" { Auth_Failures_Per_Address = 0 }'
    with running(tmp_path, conf(tmp_path, more)) as server:
        for _ in range(2):
            client = server.client(source="127.0.0.2").greet()
            assert [client.say(plain(b"tim", b"wrong")) for _ in range(2)] == [BAD, BAD]
            client.close()
        client = server.client(source="127.0.0.2").greet()
        # right or wrong: the store isn't asked any more
        assert client.say(plain(b"tim", b"tanstaaftanstaaf")) == CUT_OFF
        assert client.is_closed()
        assert server.client(source="127.0.0.3").greet().say(plain(b"tim", b"tanstaaftanstaaf")) == GOOD
        for _ in range(3):
            client = server.client(source="127.0.0.9").greet()
            assert [client.say(plain(b"tim", b"wrong")) for _ in range(2)] == [BAD, BAD]
        assert client.say(plain(b"tim", b"tanstaaftanstaaf")) == GOOD


def test_the_answer_to_a_failure_waits_and_others_do_not(tmp_path: Path) -> None:
    text = conf(tmp_path, 'Peer "127.0.0.3" { Auth_Failure_Delay = 1 }')
    with running(tmp_path, text.replace("Auth_Failure_Delay = 0", "Auth_Failure_Delay = 60")) as server:
        slow = server.client().greet()
        other = server.client(source="127.0.0.2").greet()
        slow.send(plain(b"tim", b"wrong") + b"\r\n")
        server.wait_for(lambda: "login failed" in str(server.log))
        assert other.transaction().startswith(b"250 ")
        slow.socket.settimeout(0)
        with pytest.raises(BlockingIOError):
            slow.socket.recv(1)
        assert server.client(source="127.0.0.3").greet().say(plain(b"tim", b"wrong")) == BAD


def test_attempts_are_told_and_accounted_where_asked(tmp_path: Path) -> None:
    with running(tmp_path, conf(tmp_path, "Idle_Time = 1")) as server:
        told = attempts(server)
        client = server.client().greet()
        client.say(plain(b"nobody", b"wrong"))
        cram(client, b"tim", b"tanstaaftanstaaf")
        waiting = server.client().greet()
        waiting.say(b"AUTH PLAIN")
        assert waiting.reply() == b"421 4.4.2 idle timeout, closing connection\r\n"
        assert [(one.user, one.mechanism, one.status, one.is_accounted) for one in told] == [
            ("nobody", "PLAIN", "fail", True),
            ("tim", "CRAM-MD5", "pass", False),
            ("", "PLAIN", "timeout", True),
        ]


def test_always_deny_fails_after_the_credentials(tmp_path: Path) -> None:
    with running(tmp_path, conf(tmp_path, "Always_Deny = true Always_Allow = true")) as server:
        client = server.client().greet()
        assert client.say(plain(b"tim", b"tanstaaftanstaaf")) == BAD
        assert cram(client, b"tim", b"tanstaaftanstaaf") == BAD
        assert client.code(b"MAIL FROM:<a@example.net>") == 250
        assert client.code(b"RCPT TO:<b@elsewhere.example>") == 550
        client.close()


def test_always_allow_makes_everybody_anonymous(tmp_path: Path) -> None:
    more = 'Always_Allow = true Enable_Authentication = true Peer "127.0.0.5" { Always_Allow = false }'
    with running(tmp_path, conf(tmp_path, more)) as server:
        client = server.client().greet()
        conn = only(server).context.conn
        assert (conn["auth_user"], conn["auth_status"], conn["can_relay"]) == ("anonymous", "pass", "true")
        assert client.transaction(recipient=b"b@elsewhere.example").startswith(b"250 ")
        assert client.say(plain(b"whoever", b"whatever")) == GOOD
        other = server.client(source="127.0.0.5").greet()
        assert other.say(b"MAIL FROM:<a@example.net>") == b"530 5.7.0 Authentication required\r\n"


def test_who_must_log_in_may_after_the_login(tmp_path: Path) -> None:
    with running(tmp_path, conf(tmp_path, "Enable_Authentication = true")) as server:
        client = server.client().greet()
        assert client.say(b"MAIL FROM:<a@example.net>") == b"530 5.7.0 Authentication required\r\n"
        assert client.say(plain(b"tim", b"tanstaaftanstaaf")) == GOOD
        assert client.transaction(recipient=b"b@elsewhere.example").startswith(b"250 ")


def body_of(server: Running, number: int = 0) -> bytes:
    (message_id, _) = server.queued()[number]
    return b"".join(server.supervisor._spool.body(message_id).pieces())


def header_of(server: Running, number: int = 0) -> list[bytes]:
    return body_of(server, number).partition(b"\r\n\r\n")[0].split(b"\r\n")


def test_messages_say_how_the_sender_logged_in(tmp_path: Path) -> None:
    with running(tmp_path, conf(tmp_path)) as server:
        client = server.client().greet()
        client.transaction()
        client.say(plain(b"t im", b"wrong"))
        client.transaction()
        client.say(plain(b"tim", b"tanstaaftanstaaf"))
        client.transaction()
        assert not any(line.startswith(b"Authentication") for line in header_of(server, 0))
        assert header_of(server, 1)[1] == b'Authentication-Results: mx.example.com; auth=fail smtp.auth="t im"'
        assert header_of(server, 2)[1] == b"Authentication-Results: mx.example.com; auth=pass smtp.auth=tim"
        assert header_of(server, 2)[2].startswith(b"Received: ")


@pytest.mark.parametrize("listed", ["NO-SUCH", "PLIAN", "SCRAM-SHA-512"])
def test_unknown_mechanisms_are_errors(listed: str) -> None:
    from tests.config_meaning.loading import found_in

    (found,) = found_in(f'ESMTP_Listener {{ SMTP_Extensions = ( "AUTH {listed}" ) Listen ":25" {{ }} }}')
    assert (found.code, found.message) == ("unknown-mechanism", f"unknown SASL mechanism '{listed}'")
    if listed == "PLIAN":
        assert found.hint == "did you mean 'PLAIN'?"


def test_no_password_is_in_any_log_line(tmp_path: Path) -> None:
    secrets = ["tanstaaftanstaaf", "wonder:land", "wrong-word"]
    shown = [*secrets, *(base64.b64encode(secret.encode()).decode() for secret in secrets)]
    with running(tmp_path, conf(tmp_path, "Auth_Failures_Per_Session = 0")) as server:
        client = server.client().greet()
        lines = [plain(b"tim", b"wrong-word"), plain(b"nobody", b"wrong-word"), plain(b"tim", b"tanstaaftanstaaf")]
        shown += [line.decode().split()[2] for line in lines]
        for line in (lines[0].replace(b"PLAIN", b"GSSAPI"), lines[0] + b"!", lines[0].replace(b"AUTH", b"AUHT")):
            assert client.say(line)[:1] == b"5"
        client.say(b"AUTH LOGIN")
        client.say(base64.b64encode(b"tim"))
        client.say(base64.b64encode(b"wrong-word") + b"!")
        client.say(b"AUTH LOGIN dGlt")
        client.say(base64.b64encode(b"wrong-word"))
        for line in lines:
            client.say(line)
        client.say(lines[0])
        client.transaction()
        client.say(b"QUIT")
        client.close()
        server.wait_for(lambda: "logged in" in str(server.log) and server.sessions == 0)
        assert not [word for word in shown if word in str(server.log)]


def test_the_acctlog_has_what_log_authentication_asks_for(tmp_path: Path) -> None:
    log = tmp_path / "acctlog.ec"
    others = " ".join(f'{name} = "{tmp_path}/{name}"' for name in ("mainlog", "rejectlog", "paniclog"))
    with running(
        tmp_path, conf(tmp_path, "Idle_Time = 1") + f'ec_logger "l" {{ {others} acctlog = "{log}" }}'
    ) as server:
        client = server.client().greet()
        client.say(plain(b"mallory", b"wrong"))
        client.say(plain(b"tim", b"tanstaaftanstaaf"))
        waiting = server.client().greet()
        cram(waiting, b"tim", b"wrong")  # its parameters don't ask for a record
        waiting.say(b"AUTH PLAIN")
        waiting.reply()
        server.wait_for(lambda: log.read_bytes().count(b"\n") == 3)
        records = [line.split("@") for line in log.read_text().splitlines()]
        assert [(fields[1], fields[-2], fields[-1]) for fields in records] == [
            ("N", "mallory", "0"),
            ("N", "tim", "1"),
            ("T", "", "0"),
        ]
        assert {fields[2] for fields in records} == {"127.0.0.1:0"}
        client.close()
        waiting.close()
