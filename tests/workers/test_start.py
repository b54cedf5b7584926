"""Starting, reloading and ending a server of several processes, as its operator sees it."""

from __future__ import annotations

import os
import pwd
import signal
import socket
from pathlib import Path
from typing import BinaryIO

import pytest

from tests.support.crew import CrewServer, crew
from tests.support.ports import free_port
from tests.support.server import READY, Server, serving
from tests.support.waiting import wait_until
from tests.support.wire import Wire

pytestmark = pytest.mark.durability

CONF = """
hostname = "mx.example.com"
spoolbase = "{folder}/spool"
relay_domains = ( "example.com" )
suspend_delivery = true
ESMTP_Listener {
  smtp_extensions = ( "ENHANCEDSTATUSCODES" )
LISTENS
}
"""
ONE = '  Listen "127.0.0.1:{port}" { }'


def _conf(*listens: str, more: str = "") -> str:
    return CONF.replace("LISTENS", "\n".join(listens or (ONE,))) + more


def _send(server: Server, count: int = 1) -> list[str]:
    """Messages over one connection; their ids."""
    ids = []
    with server.client() as client:
        for _ in range(count):
            client.mail("a@example.net")
            client.rcpt("b@example.com")
            code, text = client.data(b"Subject: x\r\n\r\nx\r\n")
            assert code == 250
            ids.append(text.decode().split()[-1])
    return ids


def _is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def test_workers_share_the_sockets_and_have_a_spool_each(tmp_path: Path) -> None:
    with crew(tmp_path, _conf()) as server:
        assert sorted(server.pids().values()) == server.children()
        ids: list[str] = []
        while len({one.split("-")[1] for one in ids}) < 2:
            assert len(ids) < 200, "one worker takes all connections"
            ids += _send(server)
        assert server.ids() == sorted(ids)
        assert {int(one.split("-")[1]) for one in ids} == {pid % 100000 for pid in server.pids().values()}
    assert all(_is_gone(pid) for pid in server.pids().values())


def test_an_event_loop_makes_workers(tmp_path: Path) -> None:
    more = 'EventLoop "all" { Concurrency = 3 }\n'
    listen = '  Event_Loop = "ALL"\n' + ONE
    with crew(tmp_path, _conf(listen, more=more), workers=None) as server:
        assert sorted(server.pids()) == [1, 2, 3]
        assert len(server.children()) == 3


def test_one_worker_is_the_process_itself(tmp_path: Path) -> None:
    more = 'EventLoop "all" { Concurrency = 3 }\n'
    listen = '  Event_Loop = "all"\n' + ONE
    with crew(tmp_path, _conf(listen, more=more), workers=1) as server:
        assert server.children() == []
        _send(server)
        assert not (server.spool / "worker-2").exists()


def test_term_drains_all_workers(tmp_path: Path) -> None:
    with crew(tmp_path, _conf()) as server:
        with Wire(server.port) as one, Wire(server.port) as two, Wire(server.port) as idle:
            for wire in (one, two, idle):
                wire.greet()
            for wire in (one, two):
                wire.envelope(b"b@example.com")
                assert wire.say(b"DATA").startswith(b"354 ")
            server.signal(signal.SIGTERM)
            assert idle.line() == b"421 4.4.5 Service unavailable"
            for wire in (one, two):
                wire.send(b"Subject: x\r\n\r\nx\r\n.\r\n")
                assert wire.line().startswith(b"250 2.0.0 OK ")
                assert wire.line() == b"421 4.4.5 Service unavailable"
        assert server.wait() == 0
        assert len(server.ids()) == 2
        assert all(_is_gone(pid) for pid in server.pids().values())


def test_int_ends_all_at_once(tmp_path: Path) -> None:
    with crew(tmp_path, _conf()) as server, Wire(server.port) as wire:
        wire.greet()
        server.signal(signal.SIGINT)
        assert server.wait() == 130
        for pid in server.pids().values():
            wait_until(lambda pid=pid: _is_gone(pid), "the worker's end")  # type: ignore[misc]


def test_workers_drain_when_their_parent_is_killed(tmp_path: Path) -> None:
    with crew(tmp_path, _conf()) as server, Wire(server.port) as wire:
        wire.greet()
        wire.envelope(b"b@example.com")
        assert wire.say(b"DATA").startswith(b"354 ")
        pids = list(server.pids().values())
        server.kill()
        server.wait_for("the parent is gone: draining", 2)
        server.launch()
        wire.send(b"Subject: x\r\n\r\nx\r\n.\r\n")
        assert wire.line().startswith(b"250 2.0.0 OK ")
        server.wait_for(READY)
        for pid in pids:
            wait_until(lambda pid=pid: _is_gone(pid), "the worker's end")  # type: ignore[misc]
        assert len(server.ids()) == 1, "the next parent waited for them"


def test_hup_reaches_all_workers_and_a_bad_file_none(tmp_path: Path) -> None:
    with crew(tmp_path, _conf()) as server:
        other = free_port()
        server.write_conf(_conf('Static_Banner = "220 new"', ONE, f'Listen "127.0.0.1:{other}" {{ }}'))
        server.signal(signal.SIGHUP)
        server.wait_for("reloaded generation=2")
        for port in (server.port, other):
            for _ in range(4):
                with Wire(port) as wire, Wire(port) as beside:
                    assert wire.line() == b"220 new"
                    assert beside.line() == b"220 new"
        server.write_conf(_conf("frobnicate = 1"))
        server.signal(signal.SIGHUP)
        server.wait_for("Reconfigure failed")
        with Wire(server.port) as wire, Wire(other) as beside:
            assert wire.line() == b"220 new"
            assert beside.line() == b"220 new"
        server.write_conf(_conf())
        server.signal(signal.SIGHUP)
        server.wait_for("reloaded generation=")
        wait_until(lambda: _refuses(other), "the end of the second socket")
        with Wire(server.port) as wire:
            assert wire.line().startswith(b"220 mx.example.com")


def test_a_reload_from_one_address_to_all_of_them(tmp_path: Path) -> None:
    with crew(tmp_path, _conf()) as server:
        server.write_conf(_conf('Listen "*:{port}" { }'))
        server.signal(signal.SIGHUP)
        server.wait_for("reloaded generation=2")
        with Wire(server.port) as wire, Wire(server.port) as beside:
            assert wire.greet()
            assert beside.greet()


def test_a_spool_in_use_ends_the_start_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with serving(tmp_path, _conf()) as first:
        second = CrewServer(tmp_path / "other", _conf().replace("{folder}/spool", str(first.spool)))
        second.launch()
        assert second.wait() == 1
        assert "is in use by process" in second.log()
        assert second.children() == []
        _send(first)


def _refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


# --- whose rights


def _status(pid: int) -> dict[str, list[str]]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {line.partition(":")[0]: line.partition(":")[2].split() for line in lines}


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_workers_become_the_user_of_security_and_so_do_those_that_replace_them(tmp_path: Path) -> None:
    for one in (tmp_path, *tmp_path.parents[:3]):
        one.chmod(0o755)
    uid = str(pwd.getpwnam("nobody").pw_uid)
    more = 'Security { user = nobody }\nec_logger "l" { mainlog = "{folder}/logs/m"  paniclog = "{folder}/logs/p" }\n'
    (tmp_path / "logs").mkdir()
    os.chown(tmp_path / "logs", int(uid), -1)
    with crew(tmp_path, _conf(more=more)) as server:
        assert _status(server.pid)["Uid"] == ["0", uid, "0", uid], "it works as nobody, and can start another worker"
        assert [_status(pid)["Uid"] for pid in server.pids().values()] == [[uid] * 4] * 2
        os.kill(server.pids()[2], signal.SIGKILL)
        server.wait_for("replaced worker=2")
        assert _status(server.pids()[2])["Uid"] == [uid] * 4
        _send(server)
        files = [one for folder in (server.spool, tmp_path / "logs") for one in folder.rglob("*") if one.is_file()]
        assert {str(one.stat().st_uid) for one in files} == {uid}


@pytest.mark.skipif(os.getuid() != 0, reason="only root can change its root directory")
def test_a_root_directory_is_for_one_process(tmp_path: Path) -> None:
    server = CrewServer(tmp_path, _conf(more=f'Security {{ chroot = "{tmp_path}" }}\n'))
    server.launch()
    assert server.wait() == 1
    assert ":10:21: error: a root directory of its own is for a server of one process only" in server.log()


# --- by the console


def test_what_the_console_does_with_the_configuration_reaches_all_workers(tmp_path: Path) -> None:
    more = 'Control_Listener { Listen "{folder}/control" { } }\n'
    with crew(tmp_path, _conf(more=more)) as server:
        assert "control=" in server.log()
        with socket.socket(socket.AF_UNIX) as operator:
            operator.settimeout(20)
            operator.connect(str(tmp_path / "control"))
            answers = operator.makefile("rb")
            _answer(answers)
            operator.sendall(b'config set ESMTP_Listener Static_Banner "220 set"\n')
            assert _answer(answers)[0].startswith("OK"), "what is said of it is the console's to test"
            for _ in range(6):
                with Wire(server.port) as wire:
                    assert wire.line() == b"220 set"
            operator.sendall(b"config reload\n")
            assert _answer(answers)[0].startswith("OK")
            for _ in range(6):
                with Wire(server.port) as wire:
                    assert wire.line().startswith(b"220 mx.example.com")
            operator.sendall(b"shutdown\n")
        assert server.wait() == 0


def _answer(file: BinaryIO) -> list[str]:
    lines = []
    while (line := file.readline().decode().rstrip("\n")) != ".":
        assert line, "the console has closed"
        lines.append(line)
    return lines
