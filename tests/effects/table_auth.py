"""Options of logging in, each with its effect."""

from __future__ import annotations

import base64
import functools
from pathlib import Path

from gsmtp.sasl.digest import password_digest
from tests.effects.kit import Effect, last, offers
from tests.support.folders import folder_of_the_run
from tests.support.inprocess import Running


@functools.cache
def _users() -> Path:
    """A file of one user for the whole run."""
    folder = folder_of_the_run("effects")
    (folder / "digests").write_text(f"tim:r:{password_digest('tim', 'r', b'secret')}\n")
    (folder / "users").write_text("tim:secret\n")
    return folder


def _plain(password: bytes) -> bytes:
    return b"AUTH PLAIN " + base64.b64encode(b"\0tim\0" + password)


FILE = f'[ uri = "file://{_users()}/users" ]'
DIGESTS = f'[ uri = "digest://{_users()}/digests" realm = "r" ]'
GOOD = _plain(b"secret")
BAD = _plain(b"wrong")
PLAIN = f'smtp_extensions = ( "AUTH PLAIN" ) authplainparameters = {FILE}'
AT_ONCE = f"{PLAIN} auth_failure_delay = 0"
ELSEWHERE = (b"MAIL FROM:<a@example.net>", b"RCPT TO:<x@elsewhere.example>")
LOGIN = (b"AUTH LOGIN dGlt", base64.b64encode(b"secret"))


def _listed(mechanism: str) -> str:
    return f'smtp_extensions = ( "AUTH {mechanism}" )'


def _answer_by_now(server: Running) -> bytes:
    """The answer to a failed login that is there when the failure has been logged."""
    client = server.client().greet()
    client.send(BAD + b"\r\n")
    server.wait_for(lambda: "login failed" in str(server.log))
    client.socket.settimeout(0)
    try:
        return bytes(client.socket.recv(3))
    except BlockingIOError:
        return b""
    finally:
        client.close()


AUTH = (
    Effect("AuthPlainParameters", FILE, last(GOOD), 500, 235, beside=_listed("PLAIN")),
    Effect("AuthLoginParameters", FILE, last(*LOGIN), 500, 235, beside=_listed("LOGIN")),
    Effect("AuthCramMD5Parameters", FILE, last(b"AUTH CRAM-MD5"), 500, 334, beside=_listed("CRAM-MD5")),
    Effect("AuthDigestMD5Parameters", DIGESTS, last(b"AUTH DIGEST-MD5"), 500, 334, beside=_listed("DIGEST-MD5")),
    Effect("AuthScramSHA256Parameters", FILE, last(b"AUTH SCRAM-SHA-256"), 500, 334, beside=_listed("SCRAM-SHA-256")),
    Effect("Always_Allow", "true", last(*ELSEWHERE), 550, 250),
    Effect("Always_Deny", "true", last(GOOD), 235, 535, beside=AT_ONCE),
    Effect("Enable_Authentication", "false", offers("AUTH PLAIN"), True, False, beside=PLAIN),
    Effect("Auth_Requires_TLS", "true", last(GOOD), 235, 500, beside=PLAIN),
    Effect("Auth_Failure_Delay", "0", _answer_by_now, b"", b"535", beside=PLAIN),
    Effect("Auth_Failures_Per_Session", "1", last(BAD), 535, 421, beside=AT_ONCE),
    Effect("Auth_Failures_Per_Address", "1", last(BAD, GOOD), 235, 421, beside=AT_ONCE),
    Effect("Auth_Failure_Window", "0", last(BAD, GOOD), 421, 235, beside=f"{AT_ONCE} auth_failures_per_address = 1"),
)
