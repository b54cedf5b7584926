"""Who gets to the console and what each may do: sockets, logins, Peers, roles, and what the acctlog keeps of it."""

from __future__ import annotations

import getpass
import os
import pwd
import re
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from gevent import socket

from gsmtp.app import wiring
from gsmtp.config.check import check
from gsmtp.config.diagnostics import Problems
from gsmtp.config.source import read
from gsmtp.sasl.digest import password_digest
from tests.support.console import ConsoleClient, console_of
from tests.support.inprocess import Running, running
from tests.support.server import serving

ME = getpass.getuser()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Failed logins are answered sooner than in service."""
    monkeypatch.setattr("gsmtp.control.session._FAILURE_DELAY_S", 0.01)


TCP = """
Control_Listener {{
  timeout = 60
  Listen "{folder}/control" {{ }}
  Listen "127.0.0.1:0" {{
    Enable_Authentication = true
    AuthDigestMD5Parameters = [ uri = "digest://{folder}/digests" realm = "Momentum Console" log_authentication = true ]
    AuthScramSHA256Parameters = [ uri = "file://{folder}/users" log_authentication = "true" ]
    AuthCramMD5Parameters = [ uri = "file://{folder}/users" ]
    AuthPlainParameters = [ uri = "file://{folder}/users" ]
    AuthLoginParameters = [ uri = "file://{folder}/users" ]
  }}
}}
ec_logger "l" {{
  mainlog = "{folder}/mainlog"  rejectlog = "{folder}/rejectlog"  paniclog = "{folder}/paniclog"
  acctlog = "{folder}/acctlog"  heartbeat = 0
}}
"""


def _files(folder: Path) -> str:
    (folder / "users").write_text("alice:s3cret\n")
    (folder / "digests").write_text(
        f"alice:Momentum Console:{password_digest('alice', 'Momentum Console', b's3cret')}\n"
    )
    return TCP.format(folder=folder)


def _account(server: Running, count: int) -> list[str]:
    """The first lines of the acctlog without their times."""
    path = server.path.parent / "acctlog"
    server.wait_for(lambda: path.exists() and path.read_text().count("\n") >= count, "the acctlog lacks lines")
    return [line.partition("@")[2] for line in path.read_text().splitlines()]


# --- Unix sockets


def test_the_socket_file_has_its_mode_and_goes_with_the_server(tmp_path: Path) -> None:
    conf = f"""Control_Listener {{
      Listen "{tmp_path}/usual" {{ }}
      Listen "{tmp_path}/narrow" {{ File_Mode = 0600 }}
    }}"""
    with running(tmp_path, conf):
        modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("usual", "narrow")]
        assert modes == [0o660, 0o600]
    assert not (tmp_path / "usual").exists()


def test_a_client_of_a_unix_socket_is_its_user(tmp_path: Path) -> None:
    with running(tmp_path, _files(tmp_path)) as server:
        console = console_of(server)
        assert console.greeting[0] == "OK gsmtp-console 1"
        assert f"user {ME}" in console.greeting
        assert console.lines("authz id") == [f'<AuthzInformation username="{ME}"><Roles></Roles></AuthzInformation>']
        assert console.say("login PLAIN AAAA") == ["ERR no login is needed here"]
        assert _account(server, 2) == [f"N@{tmp_path}/control@@{ME}@1", f"Z@{tmp_path}/control@@{ME}@1@authz id"]


def test_unix_clients_match_peers_as_127_0_0_1(tmp_path: Path) -> None:
    conf = f"""Control_Listener {{
      always_deny = true
      Listen "{tmp_path}/refused" {{ }}
      Listen "{tmp_path}/welcome" {{ Peer "127.0.0.1" {{ always_deny = false }} }}
    }}"""
    with running(tmp_path, conf) as server:
        refused = console_of(server, 0)
        assert refused.greeting == ["ERR Not authorized"]
        assert refused.is_closed()
        assert console_of(server, 1).say("pid")[0] == "OK"


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that another user may get to; pytest closes its own to others."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_the_socket_and_its_folder_belong_to_the_user_of_security(open_folder: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    conf = f"""spoolbase = "{open_folder}/spool"
    spool_reserve = 0
    Security {{ user = nobody  group = nogroup }}
    Control_Listener {{ Listen "{open_folder}/run/control" {{ }} }}"""
    with serving(open_folder, conf):
        for name in ("run", "run/control"):
            found = (open_folder / name).stat()
            assert (found.st_uid, found.st_gid) == (nobody.pw_uid, nobody.pw_gid), name
        assert ConsoleClient(str(open_folder / "run/control")).lines("pid")
    assert not (open_folder / "run" / "control").exists()


# --- TCP and logins


@pytest.mark.parametrize("name", ["SCRAM-SHA-256", "DIGEST-MD5", "CRAM-MD5", "PLAIN", "LOGIN"])
def test_each_mechanism_logs_in(tmp_path: Path, name: str) -> None:
    with running(tmp_path, _files(tmp_path)) as server:
        console = console_of(server, 1)
        assert "mechanisms SCRAM-SHA-256 DIGEST-MD5 CRAM-MD5 PLAIN LOGIN" in console.greeting
        assert console.say("summary") == ["ERR Authorization required for console session"]
        assert console.log_in("alice", "s3cret", name) == "OK logged in as alice"
        assert console.lines("pid")
        assert console.say("login PLAIN AAAA") == ["ERR you are logged in already"]


def test_logins_and_commands_are_accounted(tmp_path: Path) -> None:
    with running(tmp_path, _files(tmp_path)) as server:
        console = console_of(server, 1)
        assert console.log_in("alice", "wrong", "DIGEST-MD5") == "ERR login failed"
        assert console.log_in("alice", "s3cret", "DIGEST-MD5") == "OK logged in as alice"
        console.lines("version")
        port = console.socket.getsockname()[1]
        assert _account(server, 3) == [
            f"N@127.0.0.1:0@127.0.0.1:{port}@alice@0",
            f"N@127.0.0.1:0@127.0.0.1:{port}@alice@1",
            f"Z@127.0.0.1:0@127.0.0.1:{port}@alice@1@version",
        ]
        assert "s3cret" not in str(server.log)


def test_a_login_without_log_authentication_is_not_accounted(tmp_path: Path) -> None:
    with running(tmp_path, _files(tmp_path)) as server:
        assert console_of(server, 1).log_in("alice", "s3cret", "CRAM-MD5") == "OK logged in as alice"
        console_of(server, 0).lines("pid")
        lines = _account(server, 2)
        assert not [line for line in lines if "alice" in line]


def test_an_unknown_user_and_a_wrong_password_look_alike_and_three_are_enough(tmp_path: Path) -> None:
    with running(tmp_path, _files(tmp_path)) as server:
        console = console_of(server, 1)
        assert console.log_in("nobody", "s3cret", "PLAIN") == "ERR login failed"
        assert console.log_in("alice", "wrong", "PLAIN") == "ERR login failed"
        assert console.say("login PLAIN !!!!") == ["ERR login failed"]
        assert console.is_closed()


def test_who_does_not_log_in_is_not_listened_to_for_long(tmp_path: Path) -> None:
    with running(tmp_path, _files(tmp_path)) as server:
        console = console_of(server, 1)
        for _ in range(10):
            assert console.say("shutdown") == ["ERR Authorization required for console session"]
        assert console.is_closed()


def test_a_login_that_times_out_is_accounted_as_such(tmp_path: Path) -> None:
    conf = _files(tmp_path).replace("timeout = 60", "timeout = 1")
    with running(tmp_path, conf) as server:
        console = console_of(server, 1)
        assert console.say("login DIGEST-MD5")[0].startswith("MORE ")
        assert console.is_closed()
        port = console.socket.getsockname()[1]
        assert _account(server, 1) == [f"T@127.0.0.1:0@127.0.0.1:{port}@@0"]


def test_always_deny_lets_in_only_the_peer_that_is_excepted(tmp_path: Path) -> None:
    conf = """Control_Listener { Listen "127.0.0.1:0" {
      Enable_Authentication = false
      Always_Deny = true
      Peer "127.0.0.2" { Always_Deny = false }
    } }"""
    with running(tmp_path, conf) as server:
        assert console_of(server, 0, "127.0.0.3").greeting == ["ERR Not authorized"]
        console = console_of(server, 0, "127.0.0.2")
        assert "user anonymous" in console.greeting
        assert console.lines("pid")


def test_a_silent_client_is_disconnected(tmp_path: Path) -> None:
    conf = f'Control_Listener {{ timeout = 1 Listen "{tmp_path}/control" {{ }} }}'
    with running(tmp_path, conf) as server:
        console = console_of(server)
        assert console.is_closed()
        server.wait_for(lambda: "idle timeout" in str(server.log))


# --- roles

ROLES = """
Control_Listener {{
  Enable_Authorization = true
  AuthorizationParameters = [ uri = "groups://{folder}/roles" ]
  Listen "{folder}/control" {{ }}
}}
Authorization {{
  Role "operator" {{ allow = ( "^config (get|eval|show)" "^summary$" "version" ) }}
  Role "other" {{ allow = ( ".*" ) }}
}}
ec_logger "l" {{
  mainlog = "{folder}/mainlog"  rejectlog = "{folder}/rejectlog"  paniclog = "{folder}/paniclog"
  acctlog = "{folder}/acctlog"  heartbeat = 0
}}
"""
DENIED = ["ERR Not Authorized for this command"]


def test_a_role_allows_what_its_patterns_find(tmp_path: Path) -> None:
    (tmp_path / "roles").write_text(f"operator:unused:somebody,{ME}\nother:root-of-elsewhere\n")
    with running(tmp_path, ROLES.format(folder=tmp_path)) as server:
        console = console_of(server)
        assert console.lines("summary")
        assert console.lines("json summary")  # the prefix is no part of the command
        assert console.lines("config get spoolbase")
        assert console.lines("version")
        for line in ("summary reset", "config set hostname x.example", "CONFIG set hostname x", "shutdown", "authz id"):
            assert console.say(line) == DENIED, line
        assert console.say("json shutdown") == [DENIED[0], '{"error": "Not Authorized for this command"}']
        assert [line.rpartition(f"@{ME}@")[2] for line in _account(server, 5)[1:5]] == [
            "1@summary@operator",
            "1@summary@operator",
            "1@config get spoolbase@operator",
            "1@version@operator",
        ]
        assert f"Z@{tmp_path}/control@@{ME}@0@shutdown" in _account(server, 10)


def test_a_role_of_the_users_own_name_needs_no_store(tmp_path: Path) -> None:
    conf = f"""Control_Listener {{ Enable_Authorization = true Listen "{tmp_path}/control" {{ }} }}
    Authorization {{ Role "{ME}" {{ allow = ( ".*" ) }} Role "x" {{ allow = ( ) }} }}"""
    with running(tmp_path, conf) as server:
        console = console_of(server)
        assert console.lines("authz id") == [
            f'<AuthzInformation username="{ME}"><Roles><Role name="{ME}"/></Roles></AuthzInformation>'
        ]
        assert console.lines("authz roles list") == [f'<Roles><Role name="{ME}"/><Role name="x"/></Roles>']


def test_without_a_role_nothing_is_allowed_and_a_broken_store_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "roles").write_text("operator:somebody\n")
    with running(tmp_path, ROLES.format(folder=tmp_path)) as server:
        console = console_of(server)
        assert console.say("summary") == DENIED
        (tmp_path / "roles").unlink()
        assert console.say("version") == DENIED
        assert f"Z@{tmp_path}/control@@{ME}@-1@version" in _account(server, 3)


def test_roles_change_with_the_configuration_in_a_running_session(tmp_path: Path) -> None:
    (tmp_path / "roles").write_text(f"operator:{ME}\n")
    conf = ROLES.format(folder=tmp_path)
    with running(tmp_path, conf) as server:
        console = console_of(server)
        assert console.say("pid") == DENIED
        text = server.path.read_text()
        server.reconfigure(text.replace('"version"', '"version" "^pid$"'))
        assert console.say("pid")[0] == "OK"
        server.reconfigure(text)
        assert console.say("pid") == DENIED


def test_doors_that_a_reload_shuts_are_shut_for_those_inside_too(tmp_path: Path) -> None:
    conf = _files(tmp_path).replace("Enable_Authentication = true", "Enable_Authentication = false")
    with running(tmp_path, conf) as server:
        operator, guest = console_of(server, 0), console_of(server, 1)
        assert guest.lines("authz id") == ['<AuthzInformation username="anonymous"><Roles></Roles></AuthzInformation>']
        operator.lines("config set control_listener listen 127.0.0.1:0 enable_authentication true")
        assert guest.say("pid") == ["ERR Authorization required for console session"]
        assert guest.log_in("alice", "s3cret", "PLAIN") == "OK logged in as alice"
        assert guest.lines("pid")
        operator.lines("config set control_listener listen 127.0.0.1:0 always_deny true")
        assert guest.say("pid") == ["ERR Not authorized"]
        assert guest.is_closed()
        assert operator.lines("pid")


def test_names_of_the_configuration_are_completed_for_those_who_may_see_them(tmp_path: Path) -> None:
    (tmp_path / "roles").write_text(f"operator:{ME}\n")
    with running(tmp_path, ROLES.format(folder=tmp_path)) as server:
        console = console_of(server)
        assert console.lines("complete config get control_listener listen ") == [f"{tmp_path}/control"]
        assert console.lines("complete config set control_listener listen ") == []
        assert "Listen" in console.lines("complete config set control_listener li")


def test_passwords_in_commands_do_not_get_into_logs(tmp_path: Path) -> None:
    with running(tmp_path, _files(tmp_path)) as server:
        console = console_of(server)
        console.say('config set x uri "pgsql: host=h password=hunter2 user=u"')
        console.say("config set x uri pgsql://u:hunter2@h/db")
        assert "hunter2" not in str(server.log)
        assert "hunter2" not in "".join(_account(server, 3))


# --- coming and going


def test_reload_adds_and_removes_sockets_of_the_console(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    with running(tmp_path, f'Control_Listener {{ Listen "{one}" {{ }} }}') as server:
        console = console_of(server)
        text = server.path.read_text()
        server.path.write_text(text.replace(str(one), str(other)))
        assert console.say("config reload") == ["OK", "Configuration reloaded."]
        assert not one.exists()
        assert console.lines("pid")  # the session goes on
        assert ConsoleClient(str(other)).lines("pid")
        server.path.write_text(text.replace("Control_Listener", 'ESMTP_Listener { Listen "127.0.0.1:0" { } } #'))
        assert console.say("config reload")[0] == "OK"
        assert not other.exists()


def test_a_socket_that_can_not_be_opened_leaves_all_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a socket")
    with running(tmp_path, f'Control_Listener {{ Listen "{tmp_path}/one" {{ }} }}') as server:
        console = console_of(server)
        server.path.write_text(server.path.read_text().replace("/one", "/file"))
        status, *lines = console.say("config reload")
        assert status == "ERR Reconfigure failed"
        assert "a file that is not a socket is in the way" in lines[0]
        assert console_of(server).lines("pid")


def test_a_listener_is_turned_off_and_on_from_the_console(tmp_path: Path) -> None:
    conf = f"""ESMTP_Listener {{ Listen "127.0.0.1:0" {{ }} Listen "{tmp_path}/smtp" {{ }} }}
    Control_Listener {{ Listen "{tmp_path}/control" {{ }} }}"""
    with running(tmp_path, conf) as server:
        console = console_of(server)
        path = f"{tmp_path}/smtp"
        staying = server.client(1).greet()
        assert console.lines(f"config set esmtp_listener listen {path} enable false") == ["        Enable = false"]
        with pytest.raises(OSError, match="No such file"):
            socket.socket(socket.AF_UNIX).connect(path)
        assert staying.transaction().startswith(b"250 ")  # its session was left alone
        assert server.client(0).greet().code(b"NOOP") == 250
        assert console.lines(f"config set esmtp_listener listen {path} enable true") == ["        Enable = true"]
        assert server.client(1).greet().transaction().startswith(b"250 ")


def test_shutdown_is_answered_and_stops_the_server(tmp_path: Path) -> None:
    with running(tmp_path, f'Control_Listener {{ Listen "{tmp_path}/control" {{ }} }}') as server:
        console = console_of(server)
        assert console.say("shutdown") == ["OK", "Shutting down."]
        assert server.supervisor._stop.is_set()


# --- what the checker says


def _warnings(tmp_path: Path, conf: str) -> list[tuple[str, str]]:
    wiring.load()
    (tmp_path / "x.conf").write_text(conf)
    problems = Problems()
    check(read(str(tmp_path / "x.conf"), problems), problems)
    return [(one.code, one.message) for one in problems]


@pytest.mark.parametrize(
    ("inner", "expected"),
    [
        ('Listen "127.0.0.1:2025" { }', ("open-console", "everybody on this machine may do everything")),
        ('Listen ":2025" { }', ("open-console", "everybody who can reach it may do everything")),
        ('Listen ":2025" { enable_authentication = true }', ("auth-without-store", "nobody can log in")),
        ('Listen "/s" { max_message_size = 5 }', ("no-effect", "max_message_size has no effect on the console")),
        (
            'Listen ":2025" { always_deny = true Peer 127.0.0.1 { always_deny = false } }',
            ("open-console", 'Peer "127.0.'),
        ),
    ],
)
def test_odd_consoles_are_warned_about(tmp_path: Path, inner: str, expected: tuple[str, str]) -> None:
    found = _warnings(tmp_path, f"Control_Listener {{ {inner} }}")
    assert [one for one in found if one[0] == expected[0] and expected[1] in one[1]], found


def test_a_good_console_is_not_warned_about(tmp_path: Path) -> None:
    assert _warnings(tmp_path, _files(tmp_path).partition("ec_logger")[0]) == []


def test_errors_of_the_console_are_errors(tmp_path: Path) -> None:
    twice = 'ESMTP_Listener { Listen "/s" { } } Control_Listener { Listen "/s" { } }'
    assert ("socket-twice", 'Listen "/s" is both the console\'s and a socket for mail') in _warnings(tmp_path, twice)
    bad = _warnings(tmp_path, 'Authorization { Role "x" { allow = ( "(" ) } }')
    assert [one for one in bad if re.search(r"'\(' is no regular expression", one[1])]
    assert [
        one for one in _warnings(tmp_path, "ESMTP_Listener { Listen :25 { timeout = 5 } }") if one[0] == "no-effect"
    ]
