"""alias: which schemes are asked, what becomes of recipients, and what a data base in trouble does."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.config_meaning.loading import messages
from tests.support.inprocess import Running, running

ROWS = [
    ("team@example.com", "ann@example.com"),
    ("team@example.com", "bob@other.example"),
    ("ann@example.com", "ann@example.com"),
    ("ann@example.com", "archive@example.com"),
    ("chief@example.com", "team@example.com"),
    ("round@example.com", "and@example.com"),
    ("and@example.com", "round@example.com"),
    ("spoilt@example.com", "no address"),
    ("half@example.com", "no address"),
    ("half@example.com", "good@example.com"),
    ("utf@example.com", None),
]

CONF = """
Datasource "db" {{ uri = ( "sqlite:{path}" ) no_cache = true }}
alias {{
  Scheme "first" {{
    query = "SELECT 'x' AS ignored, target FROM aliases WHERE address = :address"
    cache = "db"
    map = [ address = "%{{rcptto}}" ]
    column = "target"
  }}
  Scheme "second" {{
    query = "SELECT :local || '@second.example' WHERE :domain = 'split.example'"
    cache = "db"
    map = [ local = "%{{localpart}}" domain = "%{{domain}}" ]
  }}
}}
relay_domains = ( "example.com" "split.example" "plain.example" )
alias_schemes = ( "first" "second" )
Pathway "raw" {{ alias_schemes = ( ) relay_domains = ( "example.com" "split.example" ) }}
Domain "plain.example" {{ alias_schemes = ( ) }}
Domain "split.example" {{ alias_schemes = ( "second" ) }}
ESMTP_Listener {{
  Listen "127.0.0.1:0" {{
    Peer "127.0.5.0/24" {{ pathway = "raw" }}
    Peer "127.0.6.0/24" {{ context = [ __bypass_alias = "true" ] }}
  }}
}}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "aliases.sqlite"
    with closing(sqlite3.connect(path)) as made:
        made.execute("CREATE TABLE aliases (address, target)")
        made.executemany("INSERT INTO aliases VALUES (?, ?)", ROWS)
        made.commit()
    return path


def _sent(server: Running, *recipients: str, source: str = "") -> list[str]:
    """The recipients that a message for these has in the spool."""
    before = len(server.queued())
    client = server.client(source=source).greet()
    assert client.code(b"MAIL FROM:<a@example.net>") == 250
    for recipient in recipients:
        assert client.code(f"RCPT TO:<{recipient}>".encode()) == 250
    assert client.code(b"DATA") == 354
    client.send(b"Subject: x\r\n\r\nhello\r\n.\r\n")
    assert client.reply().startswith(b"250 ")
    client.close()
    return [address for _, address in server.queued()[before:]]


def test_recipients_are_replaced_by_what_they_stand_for(
    path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gsmtp")
    with running(tmp_path, CONF.format(path=path)) as server:
        assert _sent(server, "team@example.com") == ["ann@example.com", "bob@other.example", "archive@example.com"]
        assert _sent(server, "chief@example.com") == ["ann@example.com", "bob@other.example", "archive@example.com"]
        assert _sent(server, "nobody@example.com") == ["nobody@example.com"]
        assert (
            "team@example.com is expanded to ann@example.com, bob@other.example, archive@example.com" in caplog.messages
        )


def test_no_recipient_comes_twice(path: Path, tmp_path: Path) -> None:
    with running(tmp_path, CONF.format(path=path)) as server:
        sent = _sent(server, "ann@example.com", "chief@example.com", "x@example.com", "team@example.com")
        assert sorted(sent) == ["ann@example.com", "archive@example.com", "bob@other.example", "x@example.com"]


def test_schemes_are_those_of_domain_pathway_or_everybody(path: Path, tmp_path: Path) -> None:
    with running(tmp_path, CONF.format(path=path)) as server:
        assert _sent(server, "u@split.example") == ["u@second.example"]
        assert _sent(server, "team@plain.example") == ["team@plain.example"]
        assert _sent(server, "team@example.com", source="127.0.5.1") == ["team@example.com"]
        assert _sent(server, "u@split.example", source="127.0.5.1") == ["u@second.example"]
        assert _sent(server, "team@example.com", source="127.0.6.1") == ["team@example.com"]


def test_a_circle_is_refused_and_values_that_are_no_addresses_left_out(path: Path, tmp_path: Path) -> None:
    with running(tmp_path, CONF.format(path=path)) as server:
        client = server.client().greet()
        client.say(b"MAIL FROM:<a@example.net>")
        assert client.say(b"RCPT TO:<round@example.com>") == b"554 5.4.6 alias loop\r\n"
        assert client.say(b"RCPT TO:<spoilt@example.com>") == b"451 4.3.0 recipient can't be looked up now\r\n"
        client.close()
        assert _sent(server, "half@example.com") == ["good@example.com"]
        assert _sent(server, "utf@example.com") == ["utf@example.com"]


def test_a_data_base_in_trouble_is_told_to_the_client(
    path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with running(tmp_path, CONF.format(path=path)) as server:
        path.unlink()
        client = server.client().greet()
        client.say(b"MAIL FROM:<a@example.net>")
        assert client.say(b"RCPT TO:<team@example.com>") == b"451 4.3.0 recipient can't be looked up now\r\n"
        assert client.code(b"RCPT TO:<u@plain.example>") == 250
        assert caplog.messages[-1].startswith("team@example.com is not expanded: datasource db: ")
        client.close()


def test_a_reload_changes_the_aliases_of_new_sessions(path: Path, tmp_path: Path) -> None:
    conf = CONF.format(path=path)
    with running(tmp_path, conf) as server:
        assert len(_sent(server, "team@example.com")) == 3
        base = server.path.read_text().removesuffix(conf)
        server.reconfigure(base + conf.replace('alias_schemes = ( "first" "second" )', "alias_schemes = ( )"))
        assert _sent(server, "team@example.com") == ["team@example.com"]


def test_what_is_said_at_load() -> None:
    assert messages('alias { Scheme "a" { query = "SELECT :x" cache = "db" } }\nalias_schemes = ( "b" )') == [
        '1:30: error: the query names :x, which map doesn\'t set [write map = [ x = "%{rcptto}" ]]',
        '1:50: error: datasource \'db\' is not defined [add Datasource "db" { uri = ( "sqlite:/path/to/file" ) }]',
        "2:19: error: alias scheme 'b' is not defined [add alias { Scheme \"b\" { … } }]",
    ]
