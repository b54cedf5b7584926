"""``gsmtp console`` as a process beside a server: batch, pipes, logins, and the interactive one on a terminal."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.ports import free_port
from tests.support.server import Server, serving
from tests.support.source import ROOT
from tests.support.waiting import wait_until

CONF = """
spoolbase = "{folder}/spool"
spool_reserve = 0
suspend_delivery = true
hostname = "mx.example.com"
relay_domains = ( "example.com" )
ESMTP_Listener { Listen "127.0.0.1:{port}" { } }
Control_Listener {
  timeout = 60
  Listen "{folder}/control" { }
  Listen "127.0.0.1:{tcp}" {
    Enable_Authentication = true
    AuthScramSHA256Parameters = [ uri = "file://{folder}/users" ]
  }
  Listen "{folder}/hasty" { Peer "127.0.0.1" { timeout = 1 } }
}
"""
WAIT_S = 20.0


@pytest.fixture(scope="module")
def tcp() -> int:
    return free_port()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, tcp: int) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("cli")
    (folder / "users").write_text("alice:s3cret\n")
    (folder / "password").write_text("s3cret\n")
    with serving(folder, CONF.replace("{tcp}", str(tcp))) as started:
        yield started


def _run(*words: str, stdin: str | None = None) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "gsmtp", "console", *words],
        cwd=ROOT,
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


# --- batch


def test_a_command_is_done_and_its_text_printed(server: Server) -> None:
    assert _run(str(server.folder / "control"), "pid") == (0, f"{server.pid}\n", "")
    assert _run("--config", str(server.conf), "config", "get", "hostname") == (0, "Hostname = mx.example.com\n", "")
    assert _run("--socket", str(server.folder / "control"), "config get hostname")[1] == "Hostname = mx.example.com\n"


def test_a_refused_command_has_exit_status_1_and_tells_why_on_standard_error(server: Server) -> None:
    socket = str(server.folder / "control")
    assert _run(socket, "sumary") == (1, "", "unknown command: sumary; did you mean 'summary'?\n")
    status, out, err = _run(socket, "config", "set", "hostname", "( a b )")
    assert (status, out) == (1, "")
    assert err.startswith("Reconfigure failed\n")


def test_nobody_to_talk_to_has_exit_status_2(server: Server, tmp_path: Path) -> None:
    status, out, err = _run(str(tmp_path / "none"), "pid")
    assert (status, out) == (2, "")
    assert err == (
        f"gsmtp: can't connect to {tmp_path}/none: there is no such socket; is the server running, and has it a "
        "Control_Listener?\n"
    )
    assert _run(f"127.0.0.1:{server.port}", "pid") == (
        2,
        "",
        f"gsmtp: no console answers at 127.0.0.1:{server.port}: the answer is none of a console\n",
    )
    (tmp_path / "x.conf").write_text('ESMTP_Listener { Listen ":25" { } }')
    status, _, err = _run("--config", str(tmp_path / "x.conf"), "pid")
    assert status == 2
    assert "opens no console: add Control_Listener" in err


def test_data_comes_as_json(server: Server) -> None:
    status, out, _ = _run("--json", str(server.folder / "control"), "summary")
    assert status == 0
    assert json.loads(out)["inbound_concurrency"] == 0


@pytest.mark.parametrize(
    "words", [("--json", "SOCKET", "summary"), ("SOCKET", "--json", "summary"), ("SOCKET", "summary", "--json")]
)
def test_json_may_be_asked_for_anywhere(server: Server, words: tuple[str, ...]) -> None:
    status, out, _ = _run(*(str(server.folder / "control") if word == "SOCKET" else word for word in words))
    assert status == 0
    assert "inbound_concurrency" in json.loads(out)


def test_words_that_the_shell_kept_together_stay_together(server: Server) -> None:
    socket = str(server.folder / "control")
    words = ("config", "set", "esmtp_listener", "static_banner", '220 a "b" \\ c')
    assert _run(socket, *words)[:2] == (0, '        Static_Banner = "220 a \\"b\\" \\\\ c"\n')
    assert _run(socket, "config", "set", "relay_hosts", "(", "10.0.0.1", "10.0.0.2", ")")[1] == (
        "Relay_Hosts = (\n  10.0.0.1\n  10.0.0.2\n  )\n"
    )
    assert _run(socket, "config", "unset", "esmtp_listener", "static_banner")[0] == 0


def test_commands_come_from_a_pipe(server: Server) -> None:
    commands = "# a comment\nversion\n\nnonsense\npid\nquit\nshutdown\n"
    status, out, err = _run(str(server.folder / "control"), stdin=commands)
    assert (status, out.splitlines()[1:]) == (1, [str(server.pid)])
    assert err.startswith("unknown command: nonsense")
    assert server.is_running


def test_one_logs_in_by_tcp(server: Server, tcp: int) -> None:
    place = f"alice@127.0.0.1:{tcp}"
    good = ("--password-file", str(server.folder / "password"), place, "authz", "id")
    assert _run(*good) == (0, '<AuthzInformation username="alice"><Roles></Roles></AuthzInformation>\n', "")
    assert _run("--password-file", str(server.conf), place, "pid") == (2, "", "gsmtp: login failed\n")
    assert _run(place, "pid") == (
        2,
        "",
        "gsmtp: a login is wanted, and nobody is there to ask: use --password-file\n",
    )


def test_the_page_of_commands_is_fresh() -> None:
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    assert _run("--commands", "--markdown") == (0, page, "")


# --- interactive


class Terminal:
    """`gsmtp console` on a pseudo-terminal."""

    def __init__(self, home: Path, *words: str) -> None:
        master, slave = pty.openpty()
        env = {**os.environ, "XDG_STATE_HOME": str(home), "TERM": "dumb", "PAGER": "sed s/^/paged:/"}
        env.pop("INPUTRC", None)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gsmtp", "console", *words],
            cwd=ROOT,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=env,
            start_new_session=True,
            preexec_fn=_take_terminal,
        )
        os.close(slave)
        self._master = master
        self.shown = ""

    def type(self, text: str) -> None:
        """Type, as it comes from the keyboard."""
        os.write(self._master, text.encode())

    def interrupt(self) -> None:
        """Ctrl-C, once it waits for a key: Python sees one that comes at another moment with the next key only."""
        status = Path(f"/proc/{self.process.pid}/status")

        def sleeps() -> bool:
            before = status.read_text()
            time.sleep(0.1)
            return "\nState:\tS" in before and _switches(status.read_text()) == _switches(before)

        wait_until(sleeps, "the wait for a key", WAIT_S)
        self.type("\x03")

    def until(self, pattern: str) -> str:
        """What was shown up to and with what a pattern finds; it is forgotten then."""
        deadline = time.monotonic() + WAIT_S
        while (found := re.search(pattern, self.shown)) is None:
            left = deadline - time.monotonic()
            assert left > 0, f"no {pattern!r} in {self.shown!r}"
            if select.select([self._master], [], [], left)[0]:
                try:
                    self.shown += os.read(self._master, 65536).decode().replace("\r\n", "\n")
                except OSError:
                    raise AssertionError(f"ended without {pattern!r}: {self.shown!r}") from None
        text, self.shown = self.shown[: found.end()], self.shown[found.end() :]
        return text

    def close(self) -> int:
        """Wait for its end; the exit status."""
        status = self.process.wait(WAIT_S)
        os.close(self._master)
        return status


def _switches(status: str) -> list[str]:
    """How often a process went to sleep and was woken, of its /proc/PID/status."""
    return [line for line in status.splitlines() if "ctxt_switches" in line]


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # tests that run in the background have it ignored


PROMPT = r"\d\d:\d\d:\d\d gsmtp\(\S+\)> "


def test_a_session_on_a_terminal(server: Server, tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, str(server.folder / "control"))
    frame, *lines, end = terminal.until(PROMPT).splitlines()[:5]
    assert frame == end
    assert set(frame) == {"#"}
    assert lines[0].startswith("# gsmtp ")
    assert re.match(r"# mx\.example\.com, as \w+", lines[1])
    terminal.type("pid\n")
    assert f"\n{server.pid}\n" in terminal.until(PROMPT)
    terminal.type("sumary\n")
    assert "ERROR: unknown command: sumary; did you mean 'summary'?" in terminal.until(PROMPT)
    terminal.type("garbage")
    terminal.until("garbage")
    terminal.interrupt()  # forgets the line
    terminal.until(PROMPT)
    terminal.type("\\pager\n")
    assert "pager on" in terminal.until(PROMPT)
    terminal.type("pid\n")
    assert f"paged:{server.pid}" in terminal.until(PROMPT)
    terminal.type("quit\n")
    assert terminal.close() == 0
    history = tmp_path / "gsmtp" / "console_history"
    assert history.read_text().splitlines()[-5:] == ["pid", "sumary", "\\pager", "pid", "quit"]
    assert history.stat().st_mode & 0o777 == 0o600


def test_history_is_there_again_and_ctrl_d_ends(server: Server, tmp_path: Path) -> None:
    for expected in ("version\n", ""):
        terminal = Terminal(tmp_path, str(server.folder / "control"))
        terminal.until(PROMPT)
        terminal.type(expected or "\x1b[A\n")  # the arrow up
        assert "gsmtp 0." in terminal.until(PROMPT)
        terminal.type("\x04")
        assert terminal.close() == 0


def test_tab_completes_commands_scopes_and_options(server: Server, tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, str(server.folder / "control"))
    terminal.until(PROMPT)
    terminal.type("sysi\t\n")
    terminal.until("sysinfo")
    terminal.until(PROMPT)
    terminal.type("config get hostn\t\n")
    assert "Hostname = mx.example.com" in terminal.until(PROMPT)
    terminal.type("config eval esmtp_l\tlisten 127\tidle_t\t\n")
    assert "Idle_Time = 300" in terminal.until(PROMPT)
    terminal.type("threads \t\t")
    terminal.until(r"cpu +io +stats")
    terminal.type("\x15quit\n")  # Ctrl-U empties the line
    assert terminal.close() == 0


def test_a_password_is_asked_for_and_not_shown(server: Server, tcp: int, tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, f"alice@127.0.0.1:{tcp}")
    assert "Authorization required for console session" in terminal.until("Password:")
    terminal.type("s3cret\n")
    shown = terminal.until(PROMPT)
    assert "s3cret" not in shown
    assert "mx.example.com, as alice" in shown
    terminal.type("quit\n")
    assert terminal.close() == 0
    assert "s3cret" not in (tmp_path / "gsmtp" / "console_history").read_text()


def test_a_session_that_the_server_closed_is_opened_anew(server: Server, tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, str(server.folder / "hasty"))
    terminal.until(PROMPT)
    _idle_out(server, 1)
    terminal.type("pid\n")
    assert f"\n{server.pid}\n" in terminal.until(PROMPT)
    terminal.type("config begin\n")
    terminal.until("Transaction begun")
    terminal.until(PROMPT)
    _idle_out(server, 2)
    terminal.type("config set hostname lost.example\n")
    assert "its transaction is lost, and the command was not done" in terminal.until(PROMPT)
    terminal.type("quit\n")
    assert terminal.close() == 0
    assert _run(str(server.folder / "control"), "config", "get", "hostname")[1] == "Hostname = mx.example.com\n"


def _idle_out(server: Server, times: int) -> None:
    """Wait until the server has let idle sessions go so many times."""
    wait_until(lambda: server.log().count("control  idle timeout") >= times, "the end of the idle session", WAIT_S)


def test_shutdown_ends_the_process_cleanly(tmp_path: Path) -> None:
    with serving(tmp_path, CONF.replace("{tcp}", str(free_port()))) as server:
        (tmp_path / "users").write_text("alice:s3cret\n")
        assert _run(str(tmp_path / "control"), "shutdown") == (0, "Shutting down.\n", "")
        assert server.wait() == 0
        assert not (tmp_path / "control").exists()
