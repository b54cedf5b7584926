"""Datasources in a server process, monkey-patched as in production: logins, aliases and programs over real sockets."""

from __future__ import annotations

import os
import signal
import smtplib
import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.support.postgres import Postgres
from tests.support.server import Server, serving

CONF = """
spoolbase = "{folder}/spool"
spool_reserve = 0
hostname = "mail.example.com"
suspend_delivery = true
relay_domains = ( "example.com" "pipe.example" )
Datasource "pg" { uri = ( "PG_URI" ) no_cache = true query_timeout = 2 }
Datasource "files" { uri = ( "sqlite:{folder}/users.sqlite" ) no_cache = true }
auth_ds {
  Scheme "pgusers" {
    Authenticate {
      query = "SELECT password, kind FROM users WHERE login = :user"
      cache = "pg"
      map = [ user = "%{username}" ]
      returns_password = true
      type_column = "kind"
      type_map = [ C = "clear" H = "sha1_hex" ]
    }
  }
  Scheme "fileusers" {
    Authenticate {
      query = "SELECT count(*) FROM users WHERE login = :user AND password = :password"
      cache = "files"
      map = [ user = "%{username}" password = "%{password}" ]
    }
  }
}
alias { Scheme "pg" {
  query = "SELECT login || '@example.com' FROM users WHERE :to = 'all@example.com' ORDER BY login"
  cache = "pg"
  map = [ to = "%{rcptto}" ]
} }
Domain "example.com" { alias_schemes = ( "pg" ) }
pipe_transport { program_name = "/bin/cat" domain = ( "pipe.example" ) output_file = "{folder}/piped" }
ESMTP_Listener {
  Listen "127.0.0.1:{port}" {
    SMTP_Extensions = ( "AUTH PLAIN" "AUTH LOGIN" "AUTH CRAM-MD5" )
    Auth_Failure_Delay = 0
    Auth_Failures_Per_Address = 0
    AuthPlainParameters = [ uri = "pgusers://" ]
    AuthLoginParameters = [ uri = "fileusers://" ]
    AuthCramMD5Parameters = [ uri = "pgusers://" ]
  }
}
"""


@pytest.fixture(scope="module")
def server(database: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    with closing(sqlite3.connect(folder / "users.sqlite")) as made:
        made.execute("CREATE TABLE users (login, password)")
        made.execute("INSERT INTO users VALUES ('carl', 'pw')")
        made.commit()
    with serving(folder, CONF.replace("PG_URI", database.uri.replace("\\", "\\\\"))) as one:
        yield one


def _login(server: Server, mechanism: str, user: str, password: str) -> tuple[int, bytes]:
    client = server.client()
    client.ehlo()
    client.user, client.password = user, password
    try:
        return client.auth(mechanism, getattr(client, "auth_" + mechanism.lower().replace("-", "_")))
    except smtplib.SMTPAuthenticationError as error:
        said = error.smtp_error
        return error.smtp_code, said if isinstance(said, bytes) else said.encode()
    finally:
        client.close()


def _queued(server: Server) -> list[str]:
    with closing(sqlite3.connect(server.spool / "spool.db")) as spool:
        return [str(row[0]) for row in spool.execute("SELECT address FROM recipient ORDER BY message, idx")]


def test_logins(server: Server) -> None:
    assert _login(server, "LOGIN", "carl", "pw")[0] == 235
    assert _login(server, "LOGIN", "carl", "PW")[0] == 535
    assert _login(server, "LOGIN", "nobody", "pw")[0] == 535


def test_logins_over_postgresql(server: Server, database: Postgres) -> None:
    database.run("INSERT INTO users VALUES ('eve', 'secret', 'C', true, 1), ('hal', 'spoilt', 'H', true, 1)")
    try:
        assert _login(server, "PLAIN", "eve", "secret")[0] == 235
        assert _login(server, "CRAM-MD5", "eve", "secret")[0] == 235
        wrong = _login(server, "PLAIN", "eve", "wrong")
        assert wrong == _login(server, "PLAIN", "nobody", "secret")
        assert wrong[0] == 535
        assert _login(server, "PLAIN", "hal", "x")[0] == 454
    finally:
        database.run("DELETE FROM users WHERE login IN ('eve', 'hal')")


def test_recipients_and_programs(server: Server) -> None:
    client = server.client()
    client.sendmail("a@example.net", ["all@example.com", "x@pipe.example"], b"Subject: x\r\n\r\nhello\r\n")
    client.quit()
    assert _queued(server) == ["ann@example.com", "bob@example.com"]
    assert (server.folder / "piped").read_bytes().endswith(b"\r\n\r\nhello\r\n")


def test_a_data_base_that_hangs_costs_its_callers_an_answer_and_nobody_else(server: Server, database: Postgres) -> None:
    others = "SELECT pid FROM pg_stat_activity WHERE datname = 'mail' AND pid <> pg_backend_pid()"
    pids = [database.pid, *(int(pid) for pid in database.run(others).split())]
    waiting = server.client()
    waiting.ehlo()
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        waiting.putcmd("AUTH", "PLAIN AGFubgB4")  # ann, x
        for number in range(10):
            assert _login(server, "LOGIN", "carl", "pw")[0] == 235, number
        assert waiting.getreply()[0] == 454
        assert waiting.mail("a@example.net")[0] == 250
        assert waiting.rcpt("all@example.com") == (451, b"4.3.0 recipient can't be looked up now")
    finally:
        for pid in reversed(pids):
            os.kill(pid, signal.SIGCONT)
        waiting.close()
    assert _login(server, "PLAIN", "ann", "x")[0] == 535
