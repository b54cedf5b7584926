"""Which value holds for a client of the console: its Peers, its Listen, the listener, the global scope; no pathway."""

from __future__ import annotations

from pathlib import Path

import pytest

from gsmtp.app import wiring
from gsmtp.app.loading import load
from gsmtp.cli.main import main
from gsmtp.config.scopes import Configuration
from gsmtp.control.options import TIMEOUT
from gsmtp.runtime.options import DISABLE_NAGLE_ALGORITHM, FILE_MODE

CONF = """
disable_nagle_algorithm = true
Pathway "default" { always_deny = true }
Control_Listener {
  timeout = 50
  file_mode = 0600
  Peer "10.0.0.0/8" { timeout = 40 }
  Listen "/run/a" { }
  Listen "127.0.0.1:2025" {
    always_deny = true
    Peer "10.1.0.0/16" { timeout = 20 }
    Peer "127.0.0.0/8" { timeout = 15 }
  }
  Listen "127.0.0.1:2026" { timeout = 30  enable = false }
}
"""


@pytest.fixture
def configuration(tmp_path: Path) -> Configuration:
    wiring.load()
    path = tmp_path / "x.conf"
    path.write_text(CONF)
    loaded = load(str(path), 1).configuration
    assert loaded is not None
    return loaded


@pytest.mark.parametrize(
    ("listen", "client", "timeout"),
    [(0, "", 50), (0, "10.9.9.9", 40), (1, "10.1.2.3", 20), (1, "10.2.2.3", 40), (1, "", 15), (2, "10.9.9.9", 30)],
)
def test_the_chain_is_that_of_mail_without_pathways(
    configuration: Configuration, listen: int, client: str, timeout: int
) -> None:
    view = configuration.view_for(configuration.control_listens[listen], client)
    assert view[TIMEOUT] == timeout
    assert view[FILE_MODE] == 0o600
    assert view[DISABLE_NAGLE_ALGORITHM]
    assert "pathway" not in [scope.kind for scope in view.chain]


def test_sockets_of_the_console_are_no_sockets_for_mail(configuration: Configuration) -> None:
    assert configuration.listens == ()
    assert [one.is_enabled for one in configuration.control_listens] == [True, True, False]


def test_explain_knows_the_console(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.conf"
    path.write_text(CONF)
    assert main(["explain", str(path), "control_listener listen 127.0.0.1:2025 peer 10.1.2.3", "timeout"]) == 0
    assert "Timeout = 20 seconds" in capsys.readouterr().out
    assert main(["explain", str(path), "control_listener listen /run/a"]) == 0
    shown = capsys.readouterr().out
    assert "Enable_Authorization" in shown
    assert "Max_Message_Size" not in shown
    assert main(["explain", str(path), "esmtp_listener"]) == 0
    assert "Enable_Authorization" not in capsys.readouterr().out
