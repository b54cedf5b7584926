"""What the console says while a worker is missing: what the others have and did, and who is not among them."""

from __future__ import annotations

import fcntl
import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gsmtp.cli._console_client import Closed
from gsmtp.cli.main import main
from tests.support.crew import CrewServer, crew
from tests.support.operator import console_of, send_to_all, slot_of
from tests.support.waiting import wait_until
from tests.support.wire import Wire

pytestmark = pytest.mark.durability

CONF = """
hostname = "mx.example.com"
spoolbase = "{folder}/spool"
relay_domains = ( "example.com" "example.org" )
suspend_delivery = true
ESMTP_Listener { Listen "127.0.0.1:{port}" { } }
Control_Listener { Listen "{folder}/control" { } }
"""


@contextmanager
def _without(server: CrewServer, slot: int) -> Iterator[None]:
    """A worker is gone, and can't be replaced since somebody else has its spool."""
    with (server.folder_of(slot) / "lock").open() as lock:
        os.kill(server.pids()[slot], signal.SIGKILL)
        wait_until(lambda: _locks(lock.fileno()), "the lock", every_s=0.001)
        server.wait_for(f"worker {slot} was killed")
        yield


def _locks(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def test_who_could_not_be_reached_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with crew(tmp_path, CONF) as server:
        ids = send_to_all(server, 2)
        with console_of(server) as console:
            assert console.data("summary")["received"] == 2 * len(ids)
        mine = [one for one in ids if slot_of(server, one) == 1]
        conf, console_path = str(server.conf), str(tmp_path / "control")
        with _without(server, 2):
            missing = "worker 2 did not answer: it is being replaced"
            with console_of(server) as console:
                status, *lines = console.say("queue list domain example.com")
                assert status == f"OK {missing}"
                assert [line.split()[0] for line in lines] == mine
                held = (
                    f"{len(mine)} recipient{'s' * (len(mine) != 1)} of {len(mine)} message{'s' * (len(mine) != 1)} held"
                )
                assert console.say("queue hold domain example.com") == [f"ERR not done everywhere: {missing}", held]
                status, line = console.say("json queue release all")
                assert status == f"ERR not done everywhere: {missing}"
                assert json.loads(line)["changed"] == len(mine)
                workers = console.say("json show workers")
                assert workers[0] == f"OK {missing}"
                assert [row["active"] for row in json.loads(workers[1])] == [2 * len(mine), None]
                summary = json.loads(console.say("json summary")[1])
                assert (summary["received"], summary["active_queue"]) == (2 * len(ids), 2 * len(mine)), (
                    "it did receive it"
                )
            assert main(["console", console_path, "mailq"]) == 0
            assert capsys.readouterr().err == f"{missing}\n"
            assert main(["console", console_path, "--json", "queue", "hold", "domain", "example.org"]) == 1
            out, err = capsys.readouterr()
            assert json.loads(out)["changed"] == len(mine)
            assert err == f"not done everywhere: {missing}\n"
            assert main(["queue", "release", conf, "--domain", "example.org", "--yes"]) == 1
            out, err = capsys.readouterr()
            assert out.startswith(f"{len(mine)} recipient")
            assert err == f"gsmtp: not done everywhere: {missing}\n"


def _sockets(server: CrewServer, slot: int) -> int:
    folder = Path(f"/proc/{server.pids()[slot]}/fd")
    return sum(os.readlink(file).startswith("socket:") for file in folder.iterdir())


def test_a_worker_that_dies_in_the_middle_of_its_answer(tmp_path: Path) -> None:
    with crew(tmp_path, CONF) as server, console_of(server) as console, console_of(server) as other:
        before = _sockets(server, 1)
        assert _sockets(server, 2) == before
        with Wire(server.port) as wire:  # to one of them, more than sockets take that nobody reads from
            wire.greet()
            for _ in range(3):
                wire.envelope(b"first@example.com", b"s" * 60 + b"@" + b"d" * 60 + b"." + b"e" * 60 + b".example.net")
                wire.send(b"".join(b"RCPT TO:<%s%d@example.com>\r\n" % (b"r" * 50, number) for number in range(900)))
                assert all(wire.reply().startswith(b"250 ") for _ in range(900))
                assert wire.say(b"DATA").startswith(b"354 ")
                wire.send(b"Subject: x\r\n\r\nx\r\n.\r\n")
                id_ = wire.line().decode().split()[-1]
        slot = slot_of(server, id_)
        with console_of(server) as gone:
            assert gone.client.send("queue list").is_good
        wait_until(lambda: _sockets(server, slot) == before, "the end of a listing that nobody reads")

        assert console.client.send("queue list").is_good
        assert other.client.send("json queue list").is_good
        text, data = console.client.lines(), other.client.lines()
        assert next(text).startswith("00/")
        assert next(data) == "["
        os.kill(server.pids()[slot], signal.SIGKILL)
        assert list(text)[-1] == f"(worker {slot} did not answer: its process is gone)"
        with pytest.raises(Closed):  # it has no end
            list(data)
        server.wait_for(f"control  worker {slot} did not answer: its process is gone")
