"""The documented logrotate snippet, run by logrotate against a server process that takes mail meanwhile."""

from __future__ import annotations

import json
import re
import smtplib
import subprocess
import threading
from pathlib import Path

import pytest

from gsmtp.observe.formats import unescape
from tests.support.peers import open_folder, program
from tests.support.server import Server, serving
from tests.support.source import ROOT
from tests.support.waiting import wait_until

CONF = """
hostname = "mx.example.com"
spoolbase = "{folder}/spool"
pidfile = "{folder}/pid"
relay_domains = ( "example.com" )
suspend_delivery = true
ESMTP_Listener { Listen "127.0.0.1:{port}" { } }
ec_logger "ec_logger" {
  mainlog = "{folder}/mainlog.ec"  rejectlog = "{folder}/rejectlog.ec"  paniclog = ""  heartbeat = 0
}
"""


def _snippet(folder: Path) -> str:
    """The one of docs/logs.md with this test's paths, rotating each time it is asked to."""
    text = (ROOT / "docs" / "logs.md").read_text(encoding="utf-8")
    found = re.search(r"^    (/var/log/gsmtp/\*\.ec \{\n.*?^    \})$", text, re.MULTILINE | re.DOTALL)
    assert found
    snippet = found[1].replace("/var/log/gsmtp/", f"{folder}/").replace("/run/gsmtp.pid", f"{folder}/pid")
    return snippet.replace("rotate 7", "rotate 50\nsu root root") + "\n"


def _send(server: Server, sent: list[str], until: threading.Event) -> None:
    with smtplib.SMTP("127.0.0.1", server.port, timeout=20) as client:
        while not until.is_set():
            user = f"u{len(sent)}"
            client.sendmail("a@example.net", [f"{user}@example.com"], "Subject: x\r\n\r\nhello\r\n")
            sent.append(user)


def _lines(folder: Path) -> list[str]:
    files = sorted(folder.glob("mainlog.ec.*"), key=lambda path: -int(path.suffix[1:]))
    return [line for path in [*files, folder / "mainlog.ec"] for line in path.read_text().splitlines()]


@pytest.mark.interop
def test_the_documented_rotation_loses_no_line() -> None:
    logrotate = program("logrotate", "logrotate")
    with open_folder("rotate") as folder, serving(folder, CONF) as server:
        configuration = folder / "logrotate.conf"
        configuration.write_text(_snippet(folder))
        sent: list[str] = []
        until = threading.Event()
        sender = threading.Thread(target=_send, args=(server, sent, until))
        sender.start()
        try:
            for number in range(1, 9):
                before = len(sent)
                wait_until(lambda before=before: len(sent) > before + 3, "mail goes on")  # type: ignore[misc]
                command = [logrotate, "--force", "--state", str(folder / "state"), str(configuration)]
                run = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
                assert (run.returncode, run.stderr) == (0, "")
                wait_until(
                    lambda number=number: server.log().count(" config   reloaded ") == number,  # type: ignore[misc]
                    "the reload",
                )
                wait_until((folder / "mainlog.ec").exists, "the new file")
        finally:
            until.set()
            sender.join()
        assert server.stop() == 0
        assert len(list(folder.glob("mainlog.ec.*"))) == 8
        assert [unescape(line)[5] for line in _lines(folder)] == sent


def test_json_lines_are_json_from_the_first_to_the_last(tmp_path: Path) -> None:
    server = Server(tmp_path, CONF + "snmp { }\n")
    try:
        server.launch(words=("--log-format", "json"))
        wait_until(lambda: '"event": "ready"' in server.log(), "the ready line")
        with server.client() as client:
            client.sendmail("a@example.net", ["b@example.com"], "Subject: x\r\n\r\nhello\r\n")
        assert server.stop() == 0
    finally:
        server.kill()
    warning, *records = [json.loads(line) for line in server.log().splitlines()]
    assert (warning["level"], warning["area"]) == ("warning", "config")
    assert [record["event"] for record in records] == ["ready", "received", "disconnected", "draining", "stopped"]
    received, ended = records[1], records[2]
    assert received["session"] == ended["session"]
    assert received["recipients"] == "<b@example.com>"
    assert ended["messages"] == 1
