"""Every example of the reference starts as it is written and does what its comments say.

Each runs in a network of its own whose loopback has the addresses, so that no address or port is replaced; paths are
moved into the test's folder.
"""

from __future__ import annotations

import base64
import hashlib
import re
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.certificates import Authority
from tests.support.netspace import NetSpace, net_space, serving_in
from tests.support.source import ROOT
from tests.support.waiting import wait_until

pytestmark = pytest.mark.interop

EXAMPLES = ROOT / "docs" / "reference" / "examples"
ADDRESSES = (
    *("10.0.0.1", "10.0.0.20", "10.0.0.21", "10.0.5.7", "10.1.2.3", "10.9.9.9", "192.0.2.7", "198.51.100.9"),
    *("203.0.113.9", "2001:db8::1", "2001:db8::9", "fd00:10::7"),
)
SPOOL = '\nspoolbase = "{folder}/spool"\nspool_reserve = 0\n'
MAIL = ("EHLO client.example", "MAIL FROM:<a@sender.example>", "RCPT TO:<b@example.com>", "DATA")
TEXT = "Subject: x\n\nhello"


@pytest.fixture(scope="module")
def space() -> Iterator[NetSpace]:
    with net_space(ADDRESSES) as space:
        yield space


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that the identity an example takes on may use."""
    for above in (tmp_path, *tmp_path.parents):
        if above == Path(tempfile.gettempdir()):
            break
        above.chmod(0o755)
    for name in ("etc", "etc/tls", "run", "log", "lib", "mail", "spool"):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(0o777)
    return tmp_path


def paths(folder: Path) -> dict[str, str]:
    return {
        "/etc/gsmtp": f"{folder}/etc",
        "/run/gsmtp.pid": f"{folder}/run/gsmtp.pid",
        "/run/gsmtp": f"{folder}/run",
        "/var/log/gsmtp": f"{folder}/log",
        "/var/lib/gsmtp": f"{folder}/lib",
        "/var/spool/gsmtp": f"{folder}/spool",
        "/var/mail": f"{folder}/mail",
    }


def text(name: str, folder: Path, more: str = "") -> str:
    return (EXAMPLES / name).read_text() + (SPOOL.replace("{folder}", str(folder)) + more)


def codes(replies: list[str]) -> list[str]:
    return [reply.rpartition("\n")[2][:3] for reply in replies]


def plain(user: str, password: str) -> str:
    return "AUTH PLAIN " + base64.b64encode(f"\0{user}\0{password}".encode()).decode()


def console(space: NetSpace, endpoint: str | Path, *words: str, password: Path | None = None) -> str:
    options = () if password is None else ("--password-file", str(password))
    return space.run(sys.executable, "-m", "gsmtp", "console", *options, str(endpoint), *words)


def test_01_gateway(space: NetSpace, folder: Path) -> None:
    conf = (EXAMPLES / "01-gateway.conf").read_text()
    sink = space.spawn(
        sys.executable,
        *("-m", "tests.support.sink", "10.0.0.20", "24", "lmtp", str(folder / "got")),
        log=folder / "sink.log",
        cwd=ROOT,
    )
    try:
        wait_until(lambda: (folder / "got").exists(), "the inner LMTP server")
        with serving_in(space, folder, conf, paths(folder)):
            got = space.talk(("192.0.2.7", 25), *MAIL, TEXT, "RCPT TO:<x@other.example>", "QUIT", source="192.0.2.7")
            assert codes(got) == ["220", "250", "250", "250", "354", "250", "503", "221"]
            assert "ENHANCEDSTATUSCODES" in got[1]
            message_id = got[5].rpartition(" ")[2]
            got = space.talk(("192.0.2.7", 25), "MAIL FROM:<a@b.example>", source="192.0.2.7")
            assert got[1] == "550 5.5.1 RFC2821 HELO/EHLO needed"
            got = space.talk(("192.0.2.7", 25), *MAIL[:2], "RCPT TO:<x@other.example>", source="192.0.2.7")
            assert got[3] == "550 5.7.1 relaying denied"
            got = space.talk(("::1", 25), *MAIL[:2], "RCPT TO:<x@other.example>")
            assert codes(got)[3] == "250", "[*]:25 serves IPv6, and ::1 may relay"
            wait_until(lambda: f"@{message_id}@" in (folder / "log/mainlog.ec").read_text(), "the reception's record")
            wait_until(lambda: "x@other.example" in (folder / "log/rejectlog.ec").read_text(), "the rejection's record")
            wait_until(lambda: b"hello" in (folder / "got").read_bytes(), "the message at the LMTP server")
            wait_until(lambda: "@D@" in (folder / "log/mainlog.ec").read_text(), "the delivery's record")
            loop = "".join(f"Received: from a by b{number}\n" for number in range(26))
            got = space.talk(("192.0.2.7", 25), *MAIL, loop + TEXT, source="192.0.2.7")
            assert codes(got)[5] == "554", "mail_loop refuses more than 25 Received fields"
            assert "Received Messages:" in console(space, folder / "run/control", "summary")
    finally:
        sink.kill()
        sink.wait(10)


@pytest.mark.parametrize("name", ["02-submission.conf", "02-submission.yaml"])
def test_02_submission(space: NetSpace, folder: Path, name: str) -> None:
    certificate = Authority("ca").issue("smtp.example.com")
    certificate.write(folder / "etc/tls/smtp.example.com.pem", folder / "etc/tls/smtp.example.com.key")
    (folder / "etc/plain_passwd").write_text("alice:secret\n")
    conf = (EXAMPLES / name).read_text()
    more = f"\nspoolbase: {folder}/spool\nspool_reserve: 0\n" if name.endswith("yaml") else text(name, folder)
    whole = conf + more if name.endswith("yaml") else more
    with serving_in(space, folder, whole, paths(folder), "conf" + name[-5:]):
        clear = space.talk(("192.0.2.7", 587), "EHLO c.example", "MAIL FROM:<a@b.example>")
        for line in ("ENHANCEDSTATUSCODES", "STARTTLS", "AUTH PLAIN LOGIN CRAM-MD5"):
            assert line in clear[1]
        assert clear[2] == "530 5.7.0 Authentication required"
        got = space.talk(
            ("192.0.2.7", 587),
            *("EHLO c.example", "STARTTLS", "EHLO c.example", plain("alice", "wrong"), plain("alice", "secret")),
            *("MAIL FROM:<alice>", "RCPT TO:<x@other.example>", "DATA", "Subject: no date\n\nhello", "QUIT"),
        )
        assert codes(got) == ["220", "250", "220", "250", "535", "235", "250", "250", "354", "250", "221"]
        assert "STARTTLS" not in got[3]
        wait_until(lambda: "@alice@1" in (folder / "log/acctlog.ec").read_text(), "the log-in's record")
        assert "@alice@0" in (folder / "log/acctlog.ec").read_text()
        with closing(sqlite3.connect(folder / "spool/spool.db")) as database:
            body = database.execute("SELECT body FROM message").fetchone()[0]
        assert b"\r\nDate: " in body
        assert b"\r\nMessage-ID: <" in body
        assert b"Return-Path: <alice@example.com>\r\n" in body


def test_03_smtps(space: NetSpace, folder: Path) -> None:
    authority = Authority("partners")
    own = Authority("ca").issue("smtp.example.com")
    own.write(folder / "etc/tls/smtp.example.com.pem")
    authority.write(folder / "etc/tls/partners-ca.pem")
    authority.issue("partner.example").write(folder / "partner.pem")
    Authority("strangers").issue("stranger.example").write(folder / "stranger.pem")
    subprocess.run(
        ["openssl", "dhparam", "-dsaparam", "-out", str(folder / "etc/tls/dh2048.pem"), "2048"],
        check=True,
        capture_output=True,
    )
    digest = hashlib.md5(b"bob:example.com:secret").hexdigest()
    (folder / "etc/smtp_passwd").write_text(f"bob:example.com:{digest}\n")
    with serving_in(space, folder, text("03-smtps.conf", folder), paths(folder)):
        relay = ("EHLO c.example", "MAIL FROM:<a@b.example>", "RCPT TO:<x@other.example>")
        got = space.talk(("192.0.2.7", 465), *relay, tls=True)
        assert got[3] == "550 5.7.1 relaying denied"
        assert "AUTH DIGEST-MD5" in got[1]
        assert "STARTTLS" not in got[1]
        got = space.talk(("192.0.2.7", 465), *relay, tls=True, cert=str(folder / "partner.pem"))
        assert codes(got) == ["220", "250", "250", "250"], "a verified certificate may relay"
        got = space.talk(("192.0.2.7", 465), *relay, tls=True, cert=str(folder / "stranger.pem"))
        assert got[3] == "550 5.7.1 relaying denied", "a bad certificate ends nothing and gives nothing"


def test_04_peer_acl(space: NetSpace, folder: Path) -> None:
    socket_path = str(folder / "run/inject.sock")
    with serving_in(space, folder, text("04-peer-acl.conf", folder), paths(folder)):
        target = ("192.0.2.7", 25)
        relay = ("EHLO c.example", "MAIL FROM:<a@b.example>", "RCPT TO:<x@other.example>")
        assert codes(space.talk(target, *relay, source="198.51.100.9"))[3] == "550"
        got = space.talk(target, *relay, source="10.9.9.9")
        assert codes(got)[3] == "250", "our own networks may relay"
        assert "SIZE 104857600" in got[1]
        got = space.talk(target, "EHLO c.example", "MAIL FROM:<a@customer.example>", relay[2], source="192.0.2.7")
        assert codes(got)[3] == "250", "one customer, identified by its sender domain"
        assert codes(space.talk(target, *relay, source="192.0.2.7"))[3] == "550"
        got = space.talk(target, "EHLO c.example", "XREMOTEIP 198.51.100.9", *relay[1:], source="10.1.2.3")
        assert "XCLIENT" in got[1]
        assert codes(got)[2:] == ["250", "250", "550"], "the filter's client may not relay"
        got = space.talk(target, "EHLO c.example", "XREMOTEIP 10.9.9.9", source="198.51.100.9")
        assert codes(got)[2] == "500"
        got = space.talk(target, *relay[:2], *("RCPT TO:<x@example.com>",) * 2, source="203.0.113.9")
        assert got[0] == "220 go.away.example.com ESMTP"
        assert codes(got)[3:] == ["250", "452"]
        assert Path(socket_path).stat().st_mode & 0o777 == 0o660
        assert codes(space.talk(socket_path, *relay))[3] == "250", "local injection"


def test_05_threadpools(space: NetSpace, folder: Path) -> None:
    control = f'Control_Listener {{ Listen "{folder}/run/control" {{ }} }}'
    with serving_in(space, folder, text("05-threadpools.conf", folder, control), paths(folder)):
        assert codes(space.talk(("192.0.2.7", 25), "QUIT")) == ["220", "221"]
        words = ("config", "set", "esmtp_listener", "listen", ":587", "enable")
        assert "Enable = true" in console(space, folder / "run/control", *words, "true")
        assert codes(space.talk(("192.0.2.7", 587), "QUIT")) == ["220", "221"]
        console(space, folder / "run/control", *words, "false")
        with pytest.raises(AssertionError, match="ConnectionRefusedError"):
            space.talk(("192.0.2.7", 587), "QUIT")
        assert "IO thread pool: concurrency 50" in console(space, folder / "run/control", "threads", "stats")


def test_06_pathways(space: NetSpace, folder: Path) -> None:
    with serving_in(space, folder, text("06-pathways.conf", folder), paths(folder)):
        strict, lenient = ("192.0.2.7", 25), ("192.0.2.7", 2525)
        got = space.talk(
            strict, "EHLO c.example", "MAIL FROM:<a@b.example>", "RCPT TO:<x@bank.example>", "DATA", "x" * 3000
        )
        assert got[0].startswith("220 strict.example.com ESMTP")
        assert got[5] == "550 5.6.0 Body line too long (see RFC2822 section 3.5)"
        assert codes(space.talk(strict, *MAIL[:3]))[3] == "550", "its own relay_domains replace the global ones"
        got = space.talk(lenient, "EHLO c.example", "MAIL FROM: < a..b@b.example > ", "RCPT TO:<unqualified>")
        assert got[0].startswith("220 lenient.example.com ESMTP")
        assert codes(got) == ["220", "250", "250", "250"]
        printers = space.talk(
            ("10.0.0.1", 25), "MAIL FROM:<p@printer.example>", "RCPT TO:<x@other.example>", source="10.0.5.7"
        )
        assert codes(printers) == ["220", "250", "250"]
        assert (
            codes(space.talk(("10.0.0.1", 25), *MAIL[:2], "RCPT TO:<x@other.example>", source="10.1.2.3"))[3] == "550"
        )


def test_07_includes(space: NetSpace, folder: Path) -> None:
    for file in sorted((EXAMPLES / "07-includes").glob("**/*.*")):
        if file.is_file():
            target = folder / file.relative_to(EXAMPLES / "07-includes")
            target.parent.mkdir(exist_ok=True)
            target.write_text(file.read_text())
    conf = (folder / "ecelerity.conf").read_text()
    with serving_in(space, folder, conf + SPOOL.replace("{folder}", str(folder))):
        got = space.talk(("192.0.2.7", 25), *MAIL[:3])
        assert codes(got) == ["220", "250", "250", "250"]
        assert "SIZE 10485760" in got[1]
        assert codes(space.talk(("192.0.2.7", 2525), *MAIL[:3])) == ["220", "250", "250", "250"]


def test_08_auth_datasource(space: NetSpace, folder: Path) -> None:
    Authority("ca").issue("mx.example.org").write(folder / "etc/tls/cert.pem", folder / "etc/tls/key.pem")
    with closing(sqlite3.connect(folder / "lib/users.sqlite")) as database:
        database.execute("CREATE TABLE users (login TEXT, password TEXT, kind TEXT)")
        hashed = hashlib.sha1(b"geheim").hexdigest()
        database.executemany("INSERT INTO users VALUES (?, ?, ?)", [("c", "clear", "C"), ("h", hashed, "H")])
        database.commit()
    (folder / "mail/example.org/eve").mkdir(parents=True)
    with serving_in(space, folder, text("08-auth-datasource.conf", folder), paths(folder)):
        target = ("192.0.2.7", 587)
        for user, password, code in (("c", "clear", "235"), ("h", "geheim", "235"), ("h", hashed, "535")):
            got = space.talk(target, "EHLO c.example", "STARTTLS", "EHLO c.example", plain(user, password))
            assert codes(got)[4] == code
        got = space.talk(("192.0.2.7", 25), *MAIL[:2], "RCPT TO:<eve@example.org>", "DATA", TEXT)
        assert codes(got)[5] == "250"
        wait_until(lambda: list((folder / "mail").glob("example.org/eve/**/new/*")), "the message in its Maildir")


def test_09_console(space: NetSpace, folder: Path) -> None:
    digest = hashlib.md5(b"op:Momentum Console:secret").hexdigest()
    (folder / "etc/console_passwd").write_text(f"op:Momentum Console:{digest}\n")
    (folder / "etc/console_roles").write_text("operator:op\n")
    with serving_in(space, folder, text("09-console.conf", folder), paths(folder)):
        assert "Uptime" in console(space, folder / "run/control", "summary"), "on the Unix socket root may do all"
        (folder / "good").write_text("secret\n")
        (folder / "bad").write_text("wrong\n")

        def by_tcp(password: str, command: str) -> str:
            return console(space, "op@127.0.0.1:2025", command, password=folder / password)

        assert "Uptime" in by_tcp("good", "summary")
        with pytest.raises(AssertionError, match="Not Authorized for this command"):
            by_tcp("good", "shutdown")
        with pytest.raises(AssertionError):
            by_tcp("bad", "summary")
        account = (folder / "log/acctlog.ec").read_text
        wait_until(lambda: re.search(r"@N@127\.0\.0\.1:2025@127\.0\.0\.1:\d+@op@1\n", account()), "the log-in's record")
        assert re.search(r"@N@127\.0\.0\.1:2025@127\.0\.0\.1:\d+@op@0\n", account())
        assert re.search(r"@Z@127\.0\.0\.1:2025@127\.0\.0\.1:\d+@op@1@summary@operator\n", account())
        assert re.search(r"@Z@127\.0\.0\.1:2025@127\.0\.0\.1:\d+@op@0@shutdown\n", account())


def test_10_syntax_torture(space: NetSpace, folder: Path) -> None:
    with serving_in(space, folder, text("10-syntax-torture.conf", folder), paths(folder)):
        got = space.talk(("192.0.2.7", 25), *MAIL[:3])
        assert codes(got) == ["220", "250", "250", "250"]
        got = space.talk(("2001:db8::1", 25), "NOOP")
        assert got[0] == "220-torture.example.com ESMTP\n220 ready"
        assert codes(space.talk(str(folder / "run/t.sock"), "NOOP")) == ["220", "250"]
