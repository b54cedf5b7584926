"""Programs that log in: swaks, msmtp, curl, GNU SASL, nodemailer and Python's smtplib, with and without TLS."""

from __future__ import annotations

import os
import select
import smtplib
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from gsmtp.auth.passwords import make
from tests.support.certificates import Authority
from tests.support.peers import program
from tests.support.server import Server, serving
from tests.support.waiting import wait_until

pytestmark = pytest.mark.interop

PASSWORD = "pass:word 1"
CONF = """
hostname = "localhost"
spoolbase = "{folder}/spool"
ESMTP_Listener {
  SMTP_Extensions = ( STARTTLS "AUTH PLAIN LOGIN CRAM-MD5 DIGEST-MD5 SCRAM-SHA-256 SCRAM-SHA-256-PLUS EXTERNAL" )
  Enable_Authentication = true
  Auth_Failure_Delay = 0
  Auth_Failures_Per_Address = 0
  TLS_Certificate = "{folder}/cert.pem"
  TLS_Client_CA = "{folder}/ca.pem"
  AuthPlainParameters = [ uri = "file://{folder}/hashed" ]
  AuthLoginParameters = [ uri = "file://{folder}/hashed" ]
  AuthCramMD5Parameters = [ uri = "file://{folder}/clear" ]
  AuthDigestMD5Parameters = [ uri = "file://{folder}/clear" stored_cleartext = "true" realm = "the realm" ]
  AuthScramSHA256Parameters = [ uri = "file://{folder}/hashed" ]
  Listen "127.0.0.1:{port}" { }
}
maildir "m" { basedir = "{folder}/maildir"  domains = ( "*" ) }
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("auth")
    authority = Authority("tests")
    authority.write(folder / "ca.pem")
    authority.issue("localhost").write(folder / "cert.pem")
    authority.issue("alice").write(folder / "client.pem", folder / "client.key")
    (folder / "clear").write_text(f"alice:{PASSWORD}\n")
    (folder / "hashed").write_bytes(b"alice:" + make("SCRAM-SHA-256", PASSWORD.encode()) + b"\n")
    with serving(folder, CONF) as running:
        yield running


def run(*words: str, stdin: bytes = b"", environment: Mapping[str, str] = {}) -> tuple[int, str]:
    """Exit status and all that was said."""
    env = {**os.environ, **environment}
    done = subprocess.run(words, input=stdin, capture_output=True, timeout=60, check=False, env=env)
    return done.returncode, (done.stdout + done.stderr).decode("utf-8", "replace")


def logged(server: Server, mechanism: str) -> None:
    """Wait until a login by the mechanism is in the log; no password ever is."""
    wait_until(lambda: f"mechanism={mechanism} " in f"{server.log()} ".replace("\n", " "), f"a login by {mechanism}")
    assert PASSWORD not in server.log()


# --- swaks


@pytest.mark.parametrize("mode", [(), ("--tls",)], ids=["clear", "tls"])
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5", "DIGEST-MD5"])
def test_swaks(server: Server, mechanism: str, mode: tuple[str, ...]) -> None:
    swaks = program("swaks", "swaks")
    if mechanism in ("CRAM-MD5", "DIGEST-MD5") and f"AUTH {mechanism} supported" not in run(swaks, "--support")[1]:
        pytest.skip("swaks lacks Perl modules (Debian packages libauthen-sasl-perl libdigest-hmac-perl)")
    if mode and "TLS supported" not in run(swaks, "--support")[1]:
        pytest.skip("swaks lacks a Perl module (Debian package libnet-ssleay-perl)")
    words = ("--server", "127.0.0.1", "--port", str(server.port), "--from", "a@example.net", "--to", "b@example.com")
    login = ("--auth", mechanism, "--auth-user", "alice", "--auth-extra", "realm=the realm")
    code, said = run(swaks, *words, *mode, *login, "--auth-password", PASSWORD)
    assert code == 0, said
    assert "235 Authentication successful" in said
    logged(server, mechanism)
    code, said = run(swaks, *words, *mode, *login, "--auth-password", "wrong")
    assert code == 28, said
    assert "535 5.7.8 Authentication credentials invalid" in said


# --- msmtp (GNU SASL)


@pytest.mark.parametrize("tls", ["off", "on"])
@pytest.mark.parametrize("mechanism", ["plain", "login", "cram-md5", "digest-md5", "scram-sha-256"])
def test_msmtp(server: Server, tmp_path: Path, mechanism: str, tls: str) -> None:
    msmtp = program("msmtp", "msmtp")
    config = tmp_path / "rc"
    config.write_text(
        f"account default\nhost localhost\nport {server.port}\nfrom a@example.net\nauth {mechanism}\nuser alice\n"
        f'password "{PASSWORD}"\ntls {tls}\ntls_trust_file {server.folder}/ca.pem\n'
    )
    config.chmod(0o600)
    code, said = run(msmtp, "-C", str(config), "b@example.com", stdin=b"Subject: x\n\nx\n")
    assert code == 0, said
    logged(server, mechanism.upper())
    config.write_text(config.read_text().replace(PASSWORD, "wrong"))
    code, said = run(msmtp, "-C", str(config), "b@example.com", stdin=b"Subject: x\n\nx\n")
    assert code == 77, said  # EX_NOPERM
    assert "authentication failed" in said


# --- curl


@pytest.mark.parametrize("mode", [(), ("--ssl-reqd",)], ids=["clear", "tls"])
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5", "DIGEST-MD5"])
def test_curl(server: Server, tmp_path: Path, mechanism: str, mode: tuple[str, ...]) -> None:
    mail = tmp_path / "mail"
    mail.write_bytes(b"Subject: x\r\n\r\nx\r\n")
    words = (
        "-sS",
        "-v",
        f"smtp://localhost:{server.port}/client.example",
        "--cacert",
        f"{server.folder}/ca.pem",
        *mode,
    )
    mails = ("--mail-from", "a@example.net", "--mail-rcpt", "b@example.com", "-T", str(mail))
    login = ("--login-options", f"AUTH={mechanism}", "-u")
    code, said = run(program("curl", "curl"), *words, *mails, *login, f"alice:{PASSWORD}")
    assert code == 0, said
    logged(server, mechanism)
    code, said = run(program("curl", "curl"), *words, *mails, *login, "alice:wrong")
    assert code == 67, said  # the login was denied


# --- GNU SASL's own client: SCRAM with channel binding


@contextmanager
def greeted(port: int) -> Iterator[int]:
    """A port behind which EHLO has been said already: gsasl sends STARTTLS before it. All else is passed through."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client, socket.create_connection(("127.0.0.1", port), 20) as upstream:
                banner = upstream.recv(1000)
                upstream.sendall(b"EHLO gsasl.example\r\n")
                reply = b""
                while b"\r\n250 " not in reply or not reply.endswith(b"\r\n"):
                    reply += upstream.recv(1000)
                client.sendall(banner)
                pairs = {client: upstream, upstream: client}
                while True:
                    for one in select.select(list(pairs), [], [], 20)[0]:
                        data = one.recv(10_000)
                        if not data:
                            return
                        pairs[one].sendall(data)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.close()
            thread.join(30)


@pytest.mark.parametrize(
    ("mechanism", "more"),
    [
        ("SCRAM-SHA-256", "--no-cb"),
        ("SCRAM-SHA-256-PLUS", "--verbose"),
        ("DIGEST-MD5", "--quality-of-protection=qop-auth"),
        ("CRAM-MD5", "--verbose"),
    ],
)
def test_gsasl(server: Server, mechanism: str, more: str) -> None:
    gsasl = program("gsasl", "gsasl")
    trust = f"--x509-ca-file={server.folder}/ca.pem"
    words = ("--smtp", "--starttls", trust, "-m", mechanism, "-a", "alice", "-r", "the realm", more)
    with greeted(server.port) as port:
        _, said = run(gsasl, *words, f"--connect=localhost:{port}", "-p", PASSWORD, stdin=b"QUIT\r\n")
    assert "235 Authentication successful" in said, said
    logged(server, mechanism)
    with greeted(server.port) as port:
        _, said = run(gsasl, *words, f"--connect=localhost:{port}", "-p", "wrong", stdin=b"QUIT\r\n")
    assert "535 5.7.8 Authentication credentials invalid" in said, said


# --- nodemailer

_NODE = """
const nodemailer = require('nodemailer');
const [port, method, secure, pass] = process.argv.slice(1);
const transport = nodemailer.createTransport({
  host: 'localhost', port: +port, authMethod: method, ignoreTLS: secure === 'no', requireTLS: secure === 'yes',
  tls: { ca: require('fs').readFileSync(process.env.CA) }, auth: { user: 'alice', pass },
});
transport.sendMail({ from: 'a@example.net', to: 'b@example.com', subject: 'x', text: 'x' })
  .then(info => console.log(info.response), error => { console.log(error.response || error); process.exit(1); });
"""


@pytest.mark.parametrize("secure", ["no", "yes"])
@pytest.mark.parametrize("method", ["PLAIN", "LOGIN", "CRAM-MD5"])
def test_nodemailer(server: Server, method: str, secure: str) -> None:
    node = program("node", "nodejs")
    paths = "/usr/share/nodejs:/usr/lib/node_modules:/usr/local/lib/node_modules"
    environment = {"NODE_PATH": paths, "CA": f"{server.folder}/ca.pem"}
    if run(node, "-e", "require('nodemailer')", environment=environment)[0]:
        pytest.skip("nodemailer is not installed (Debian package node-nodemailer)")
    words = (node, "-e", _NODE, "--", str(server.port), method, secure)
    code, said = run(*words, PASSWORD, environment=environment)
    assert code == 0, said
    assert said.startswith("250 ")
    logged(server, method)
    code, said = run(*words, "wrong", environment=environment)
    assert (code, said.strip()) == (1, "535 5.7.8 Authentication credentials invalid")


# --- smtplib


@pytest.mark.parametrize("tls", [False, True])
def test_smtplib(server: Server, tls: bool) -> None:
    """It takes CRAM-MD5 when that is offered; the others by name."""
    trust = ssl.create_default_context(cafile=str(server.folder / "ca.pem"))
    for method in ("auto", "auth_plain", "auth_login", "auth_cram_md5"):
        with smtplib.SMTP("localhost", server.port, timeout=20) as client:
            client.ehlo()
            if tls:
                client.starttls(context=trust)
                client.ehlo()
            if method == "auto":
                client.login("alice", PASSWORD)
            else:
                client.user, client.password = "alice", PASSWORD
                name = method.removeprefix("auth_").replace("_", "-").upper()
                assert client.auth(name, getattr(client, method))[0] == 235
            assert client.sendmail("a@example.net", ["b@example.com"], b"Subject: x\r\n\r\nx\r\n") == {}
        with (
            smtplib.SMTP("localhost", server.port, timeout=20) as client,
            pytest.raises(smtplib.SMTPAuthenticationError),
        ):
            client.login("alice", "wrong")


def test_external_by_a_client_certificate(server: Server) -> None:
    trust = ssl.create_default_context(cafile=str(server.folder / "ca.pem"))
    with smtplib.SMTP("localhost", server.port, timeout=20) as client:
        client.starttls(context=trust)
        client.ehlo()
        assert "EXTERNAL" not in client.esmtp_features["auth"]
    trust.load_cert_chain(server.folder / "client.pem", server.folder / "client.key")
    with smtplib.SMTP("localhost", server.port, timeout=20) as client:
        client.starttls(context=trust)
        client.ehlo()
        assert "EXTERNAL" in client.esmtp_features["auth"]
        assert client.docmd("AUTH", "EXTERNAL Ym9i")[0] == 535
        assert client.docmd("AUTH", "EXTERNAL =")[0] == 235
        assert client.sendmail("a@example.net", ["b@example.com"], b"Subject: x\r\n\r\nx\r\n") == {}
    logged(server, "EXTERNAL")
