"""The console's commands on logs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import cast

from gsmtp.control.command import COMMANDS
from gsmtp.control.commands import paniclog as _paniclog  # noqa: F401 - registers it
from gsmtp.control.commands import reopen_logs
from gsmtp.control.console import Console
from gsmtp.control.operations import Operations
from tests.support.inprocess import running

LISTENER = 'ESMTP_Listener { Listen "127.0.0.1:0" { } }\n'


def test_paniclog_shows_the_last_ten_of_each_level(tmp_path: Path) -> None:
    with running(tmp_path, LISTENER) as server:
        console = Console(cast(Operations, server.supervisor), "root")
        events = server.supervisor.service.events
        for kept in server.supervisor._events.recent.values():
            kept.clear()
        for number in range(12):
            events.event("error", "spool", f"trouble {number}")
        events.event("critical", "net", "lost a socket", address="127.0.0.1:25")
        found = COMMANDS.get("paniclog")
        assert found is not None
        output = found.run(console, ())
        lines = tuple(output.lines)
        assert len(lines) == 11
        stamp = r"\[[A-Z][a-z]{2} \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d\]"
        assert re.fullmatch(rf"{stamp} \[critical\] net:lost a socket address=127\.0\.0\.1:25", lines[0])
        assert re.fullmatch(rf"{stamp} \[error\] spool:trouble 2", lines[1])
        assert isinstance(output.data, list)
        assert output.data[0]["level"] == "critical"


def test_reopen_logs_takes_up_files_that_were_moved(tmp_path: Path) -> None:
    files = f'ec_logger "l" {{ mainlog = "{tmp_path}/m"  rejectlog = ""  paniclog = ""  heartbeat = 0 }}\n'
    with running(tmp_path, LISTENER + files) as server:
        (tmp_path / "m").rename(tmp_path / "m.0")
        output = reopen_logs.reopen_logs(Console(cast(Operations, server.supervisor), "root"), ())
        assert output.lines == ()
        server.wait_for((tmp_path / "m").exists, "the file is opened anew")
