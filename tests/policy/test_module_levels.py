"""Debug_Level of a module: what of its messages is logged."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tests.support.inprocess import Running, running

CONF = """
alias {{ debug_level = "{level}" Scheme "s" {{
  query = "SELECT 'not an address' WHERE :to = 'x@example.com' UNION SELECT 'c@example.com' WHERE :to = 'x@example.com'"
  cache = "d"
  map = [ to = "%{{rcptto}}" ]
}} }}
Datasource "d" {{ uri = ( "sqlite:/dev/null" ) }}
alias_schemes = ( "s" )
ESMTP_Listener {{ Listen "127.0.0.1:0" {{ }} }}
"""


def _send(server: Running) -> None:
    client = server.client().greet()
    assert client.transaction(recipient=b"x@example.com").startswith(b"250 ")
    client.close()


@pytest.mark.parametrize(("level", "levels"), [("ERROR", []), ("WARNING", ["WARNING"]), ("INFO", ["WARNING", "INFO"])])
def test_messages_from_its_level_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, level: str, levels: list[str]
) -> None:
    try:
        with running(tmp_path, CONF.format(level=level)) as server:
            _send(server)
            assert [one.levelname for one in caplog.records if one.name == "gsmtp.alias"] == levels
    finally:
        logging.getLogger("gsmtp.alias").setLevel(logging.NOTSET)
