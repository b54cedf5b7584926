"""A whole server with ec_loggers: what stands in the files after sessions, deliveries, reloads and trouble."""

from __future__ import annotations

import os
import re
from pathlib import Path

import gevent
import pytest

from gsmtp.core.errors import ConfigError
from gsmtp.core.records import AuthAttempt, Authorization, Peering
from gsmtp.observe.formats import context_pairs, unescape
from tests.support.disks import small_disk
from tests.support.inprocess import BASE, Running, running

DELIVERING = BASE.replace("suspend_delivery = true", "suspend_delivery = false\nretry_interval = 60")
LISTENER = 'ESMTP_Listener { Listen "127.0.0.1:0" { } }\n'
UNLIT = 'paniclog = ""  rejectlog = ""  mainlog = ""'


def ec_logger(folder: Path, more: str = "", name: str = "ec_logger") -> str:
    files = " ".join(f'{log} = "{folder}/{log}.ec"' for log in ("mainlog", "rejectlog", "paniclog", "acctlog"))
    return f'ec_logger "{name}" {{ {files} heartbeat = 0 {more} }}\n'


def read(server: Running, path: Path, lines: int) -> list[str]:
    """The lines of a log file, once there are so many."""
    server.wait_for(lambda: path.read_bytes().count(b"\n") >= lines, f"{lines} lines in {path.name}")
    text = path.read_text()
    assert text.endswith("\n") or not text
    return text.splitlines()


def mainlog(server: Running, folder: Path, lines: int) -> list[list[str]]:
    """The fields of mainlog's lines, the time checked and taken off."""
    found = [unescape(line) for line in read(server, folder / "mainlog.ec", lines)]
    assert all(re.fullmatch(r"1[0-9]{9}", fields[0]) for fields in found)
    return [fields[1:] for fields in found]


def test_one_id_of_session_and_message_runs_through_reply_trace_log_and_spool(tmp_path: Path) -> None:
    maildir = f'maildir "m" {{ basedir = "{tmp_path}/mail"  domains = ( "example.com" ) }}\n'
    with running(tmp_path, LISTENER + maildir + ec_logger(tmp_path), base=DELIVERING) as server:
        client = server.client().greet()
        reply = client.transaction()
        message = re.findall(rb"[0-9A-F]{2}/[0-9A-F]{2}-\d{5}-[0-9A-F]{8}", reply)[0].decode()
        assert client.code(b"QUIT") == 221
        client.close()
        server.wait_for(lambda: " disconnected " in str(server.log), "the end of the session is told")
        [received, delivered] = mainlog(server, tmp_path, 2)
        session = received[2]
        assert received == [message, message, session, "R", "b", "example.com", "a", "example.net", "127.0.0.1",
                            received[9], "esmtp", "default", "default"]  # fmt: skip
        assert delivered[:9] == [message, message, session, "D", "example.com", received[9], "default", "default", "0"]
        assert re.fullmatch(r"\d+\.\d{3}", delivered[9])
        assert delivered[10:] == ["127.0.0.1"]
        [file] = (tmp_path / "mail" / "example.com" / "b" / "new").iterdir()
        data = file.read_text()
        assert f" id {message}" in data or message in data
        assert message.replace("/", "-") in file.name
        lines = [line for line in str(server.log).splitlines() if " smtp " in line or " delivery " in line]
        told = {line.split()[3]: line for line in lines}
        assert sorted(told) == ["delivered", "disconnected", "received"]
        assert all(f"session={session}" in line for line in lines)
        assert [word for word, line in told.items() if f"id={message}" not in line] == ["disconnected"]


def test_each_refusal_has_its_line(tmp_path: Path) -> None:
    with running(tmp_path, LISTENER + ec_logger(tmp_path)) as server:
        client = server.client().greet()
        assert client.code(b"MAIL FROM:<a@example.net>") == 250
        assert client.code(b"RCPT TO:<x@elsewhere.example>") == 550
        client.close()
        [line] = read(server, tmp_path / "rejectlog.ec", 1)
        match = re.fullmatch(
            r'1\d{9}: R="127\.0\.0\.1:\d+" L="127\.0\.0\.1:\d+" C="([^"]+)" PATH="default" PATH_GRP="default" '
            r'P="awaiting rcptto" E=550 M=relay CTXCONN=\[(.*)\] CTXMESS=\[(.*)\] relaying denied',
            line,
        )
        assert match, line
        conn, mess = dict(context_pairs(match[2])), dict(context_pairs(match[3]))
        assert conn["ehlo_string"] == "EHLO client.example"
        assert mess["rcptto_string"] == "RCPT TO:<x@elsewhere.example>"
        assert f"rejected session={match[1]} " in str(server.log)
        assert (tmp_path / "mainlog.ec").read_bytes() == b""


def test_a_failed_attempt_tells_stage_and_answer(tmp_path: Path) -> None:
    route = 'Domain "example.com" { gateway = "127.0.0.1"  remote_smtp_port = 1 }\n'
    with running(tmp_path, LISTENER + route + ec_logger(tmp_path), base=DELIVERING) as server:
        server.client().greet().transaction()
        fields = mainlog(server, tmp_path, 2)[1]
        assert fields[3:9] == ["T", "127.0.0.1", "0", "default", "default", "0"]
        assert fields[9] == "0"
        assert fields[11] == ""
        assert fields[12].startswith("451 4.4.1 [internal] No valid hosts")
        assert len(fields) == 13


def test_switches_and_several_loggers(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    conf = LISTENER + ec_logger(tmp_path, "log_receptions = false  log_rejections = false") + ec_logger(
        other, name="second"
    )  # fmt: skip
    with running(tmp_path, conf) as server:
        client = server.client().greet()
        client.transaction()
        client.transaction(recipient=b"x@elsewhere.example")
        read(server, other / "rejectlog.ec", 1)
        read(server, other / "mainlog.ec", 1)
    assert (tmp_path / "mainlog.ec").read_bytes() == (tmp_path / "rejectlog.ec").read_bytes() == b""


def test_errors_of_the_server_go_into_the_paniclog_and_are_remembered(tmp_path: Path) -> None:
    with running(tmp_path, LISTENER + ec_logger(tmp_path)) as server:
        events = server.supervisor._events
        for number in range(12):
            events.event("error", "spool", f"trouble {number}", path="/a b")
        events.event("warning", "spool", "not so bad")
        events.event("critical", "net", "very\nbad")
        lines = read(server, tmp_path / "paniclog.ec", 13)
        assert [line.partition(":")[2] for line in lines[:2]] == [
            'spool:trouble 0 path="/a b"', 'spool:trouble 1 path="/a b"'
        ]  # fmt: skip
        assert re.fullmatch(r"1\d{9}:net:very\\nbad", lines[-1])
        assert events.recent["error"][0].text == 'trouble 2 path="/a b"'
        assert len(events.recent["error"]) == 10
        assert [one.text for one in events.recent["warning"]] == ["not so bad"]


def test_mail_that_fails_is_no_error_of_the_server(tmp_path: Path) -> None:
    route = 'Domain "example.com" { gateway = "127.0.0.1"  remote_smtp_port = 1  max_retries = 1 }\n'
    with running(tmp_path, LISTENER + route + ec_logger(tmp_path), base=DELIVERING) as server:
        server.client().greet().transaction()
        mainlog(server, tmp_path, 2)
        assert (tmp_path / "paniclog.ec").read_bytes() == b""


def test_logins_and_commands_are_accounted(tmp_path: Path) -> None:
    with running(tmp_path, LISTENER + ec_logger(tmp_path)) as server:
        journal = server.supervisor.service.journal
        peering = Peering("00/00-1-1", "192.0.2.7:40111", "198.51.100.1:587", "*:587")
        journal.record(AuthAttempt(peering, "alice", "PLAIN", "pass", True))
        journal.record(AuthAttempt(peering, "mallory", "PLAIN", "fail", False, "wrong password"))
        journal.record(Authorization(Peering("", "", "", "/tmp/2025"), "root", "shutdown", 0))
        lines = [line.partition("@")[2] for line in read(server, tmp_path / "acctlog.ec", 2)]
        assert lines == ["N@*:587@192.0.2.7:40111@alice@1", "Z@/tmp/2025@@root@0@shutdown"]
        log = [line[25:] for line in str(server.log).splitlines() if " auth " in line or " control " in line]
        assert log == [
            "info     auth     logged in session=00/00-1-1 client=192.0.2.7:40111 mechanism=PLAIN user=alice",
            "warning  auth     login failed session=00/00-1-1 client=192.0.2.7:40111 mechanism=PLAIN user=mallory "
            'reason="wrong password"',
            "warning  control  command denied session= client=unix user=root command=shutdown",
        ]


def test_the_heart_beats(tmp_path: Path) -> None:
    conf = LISTENER + ec_logger(tmp_path).replace("heartbeat = 0", "heartbeat = 1")
    with running(tmp_path, conf) as server:
        assert re.fullmatch(r"1\d{9}@@@@M", read(server, tmp_path / "mainlog.ec", 1)[0])
        assert re.fullmatch(r"1\d{9}: Marker 1", read(server, tmp_path / "rejectlog.ec", 1)[0])
        (tmp_path / "mainlog.ec").unlink()
        server.wait_for((tmp_path / "mainlog.ec").exists, "the heartbeat finds that the file is gone")
    assert (tmp_path / "acctlog.ec").read_bytes() == b""


def test_rotation_by_hup_and_by_the_console_while_mail_comes_in(tmp_path: Path) -> None:
    with running(tmp_path, LISTENER + ec_logger(tmp_path)) as server:
        client = server.client().greet()
        path = tmp_path / "mainlog.ec"
        for number in range(20):
            assert client.transaction(recipient=b"u%d@example.com" % number).startswith(b"250 ")
            server.wait_for(path.exists, "opened anew")
            path.rename(tmp_path / f"mainlog.{number:02}")
            if number == 7:
                server.path.write_text("not a configuration {")
            (server.supervisor.reload if number % 2 else server.supervisor.reopen_logs)()
        client.close()
    data = b"".join(one.read_bytes() for one in sorted(tmp_path.glob("mainlog.*")))
    assert [line.split(b"@")[5] for line in data.splitlines()] == [b"u%d" % number for number in range(20)]


def test_a_reload_changes_the_files_or_changes_nothing(tmp_path: Path) -> None:
    base = BASE.format(spool=tmp_path / "spool") + LISTENER
    with running(tmp_path, LISTENER + ec_logger(tmp_path)) as server:
        client = server.client().greet()
        client.transaction(recipient=b"one@example.com")
        server.reconfigure(base + f'ec_logger "l" {{ {UNLIT} acctlog = "{tmp_path}/missing/acctlog" }}')
        assert f"{tmp_path}/missing/acctlog can't be opened: its folder {tmp_path}/missing doesn't exist" in str(
            server.log
        )
        client.transaction(recipient=b"two@example.com")
        assert [fields[4] for fields in mainlog(server, tmp_path, 2)] == ["one", "two"]
        other = tmp_path / "other"
        other.mkdir()
        server.reconfigure(base + ec_logger(other))
        client = server.client().greet()
        client.transaction(recipient=b"three@example.com")
        assert [fields[4] for fields in mainlog(server, other, 1)] == ["three"]
        server.reconfigure(base)
        server.client().greet().transaction(recipient=b"four@example.com")
    assert (other / "mainlog.ec").read_text().count("\n") == 1
    assert (tmp_path / "mainlog.ec").read_text().count("\n") == 2


def test_a_start_with_a_file_that_cannot_be_written_fails_and_leaves_nothing_open(tmp_path: Path) -> None:
    conf = LISTENER + f'ec_logger "l" {{\n  mainlog = "{tmp_path}/missing/mainlog.ec"\n}}'
    before = len(os.listdir("/proc/self/fd"))
    wanted = r"ecelerity\.conf:10:3: error: Mainlog .*missing doesn't exist"
    with pytest.raises(ConfigError, match=wanted), running(tmp_path, conf):
        pass
    assert len(os.listdir("/proc/self/fd")) <= before + 1


def test_default_files_are_left_out_where_their_folder_is_missing(tmp_path: Path) -> None:
    if os.path.isdir("/var/log/ecelerity"):
        pytest.skip("this machine has /var/log/ecelerity")
    conf = LISTENER + f'ec_logger "l" {{ acctlog = "{tmp_path}/acctlog.ec" }}'
    with running(tmp_path, conf) as server:
        said = [line for line in str(server.log).splitlines() if "is not written" in line]
        assert len(said) == 3
        assert 'Mainlog of ec_logger "l" is not written: /var/log/ecelerity doesn\'t exist' in said[0]
        assert (tmp_path / "acctlog.ec").exists()


def test_a_full_disk_under_the_log_costs_no_mail(tmp_path: Path) -> None:
    with small_disk(tmp_path, 64) as disk:
        (disk / "filler").write_bytes(b"x" * 65536)
        with running(tmp_path, LISTENER + ec_logger(disk)) as server:
            client = server.client().greet()
            for _ in range(20):
                assert client.transaction().startswith(b"250 ")
            server.wait_for(lambda: "its lines wait: No space left" in str(server.log), "the trouble is told")
            (disk / "filler").unlink()
            assert len(mainlog(server, disk, 20)) == 20


def test_sessions_at_once_never_mix_their_lines(tmp_path: Path) -> None:
    with running(tmp_path, LISTENER + ec_logger(tmp_path)) as server:

        def send(number: int) -> None:
            client = server.client().greet()
            for _ in range(10):
                body = b"Subject: x\r\n\r\n" + b"x" * number + b"\r\n"
                assert client.transaction(body, recipient=b"u%d@example.com" % number).startswith(b"250 ")
            client.code(b"QUIT")

        gevent.joinall([gevent.spawn(send, number) for number in range(20)], timeout=30, raise_error=True)
        found = mainlog(server, tmp_path, 200)
        assert len(found) == 200
        assert all(len(fields) == 13 for fields in found)
        by_session: dict[str, set[str]] = {}
        for fields in found:
            by_session.setdefault(fields[2], set()).add(fields[4])
        assert len(by_session) == 20
        assert all(len(users) == 1 for users in by_session.values())
        assert len({fields[0] for fields in found}) == 200


def test_a_message_that_is_refused_at_its_end_is_told_with_its_id_and_others_are_not(tmp_path: Path) -> None:
    conf = LISTENER.replace("{ L", "{ max_message_size = 1000  L") + ec_logger(tmp_path)
    with running(tmp_path, conf) as server:
        client = server.client().greet()
        assert client.transaction(b"x" * 2000 + b"\r\n").startswith(b"552 ")
        assert client.transaction(recipient=b"x@elsewhere.example").startswith(b"550 ")
        body, recipient = [line for line in str(server.log).splitlines() if " rejected " in line]
        assert re.search(r" rejected id=[0-9A-F/]{5}-\d{5}-[0-9A-F]{8} session=\S+ client=\S+ phase=body ", body)
        assert " rejected session=" in recipient
        client.close()
        assert 'P="reading body" E=552 ' in read(server, tmp_path / "rejectlog.ec", 2)[0]


def test_mistakes_and_clients_turned_away_are_in_the_rejectlog_with_their_states(tmp_path: Path) -> None:
    conf = LISTENER.replace("{ L", "{ listener_sessions = 1  L") + ec_logger(tmp_path)
    with running(tmp_path, conf) as server:
        client = server.client()
        assert client.reply().startswith(b"220 ")
        for line, code in (
            (b"FOO", 500),
            (b"EHLO", 501),
            (b"EHLO client.example", 250),
            (b"RCPT TO:<b@example.com>", 503),
            (b"MAIL FROM:<a", 501),
        ):
            assert client.code(line) == code
        second = server.client()
        assert second.reply().startswith(b"421 ")
        second.close()
        client.close()
        lines = read(server, tmp_path / "rejectlog.ec", 5)
        found = [re.search(r' C="([^"]+)" .* P="([^"]+)" E=(\d+) M=(\S+) .*\] (.*)$', line) for line in lines]
        assert [one.groups()[1:] for one in found if one] == [
            ("awaiting ehlo/helo", "500", "core", "unrecognized command"),
            ("awaiting ehlo/helo", "501", "core", "invalid EHLO"),
            ("awaiting mailfrom", "503", "core", "RCPT TO without MAIL FROM"),
            ("awaiting mailfrom", "501", "core", "MAIL FROM syntax error"),
            ("concurrency limit", "421", "core", "Service unavailable, concurrency limit reached"),
        ]


def test_odd_addresses_and_clients_can_be_read_back(tmp_path: Path) -> None:
    listener = f'ESMTP_Listener {{ Listen "[::1]:0" {{ }} Listen "{tmp_path}/smtp" {{ }} }}\n'
    with running(tmp_path, listener + ec_logger(tmp_path)) as server:
        client = server.client(0).greet()
        assert client.transaction(sender=b'"a@b\\\\c d"@example.net').startswith(b"250 ")
        client.transaction(recipient=b"x@elsewhere.example")
        client.close()
        client = server.client(1).greet()
        assert client.transaction().startswith(b"250 ")
        client.close()
        first, second = mainlog(server, tmp_path, 2)
        assert first[3:9] == ["R", "b", "example.com", '"a@b\\\\c d"', "example.net", "::1"]
        assert second[3:9] == ["R", "b", "example.com", "a", "example.net", ""]
        [line] = read(server, tmp_path / "rejectlog.ec", 1)
        assert re.match(r'1\d{9}: R="\[::1\]:\d+" L="\[::1\]:\d+" C=', line)
        assert " client=unix " in str(server.log)


def test_a_reload_that_fails_after_the_files_were_opened_leaves_the_old_ones_in_use(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    with running(tmp_path, LISTENER + ec_logger(tmp_path)) as server, gevent.socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        conf = f'ESMTP_Listener {{ Listen "127.0.0.1:{taken.getsockname()[1]}" {{ }} }}\n'
        server.reconfigure(BASE.format(spool=tmp_path / "spool") + conf + ec_logger(other))
        assert "Reconfigure failed" in str(server.log)
        server.client().greet().transaction()
        assert len(mainlog(server, tmp_path, 1)) == 1
        server.wait_for(lambda: not any(_is_open(path) for path in other.iterdir()), "the new files are closed again")
    assert (other / "mainlog.ec").read_bytes() == b""


def _is_open(path: Path) -> bool:
    """Whether this process holds a descriptor of a file."""
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            if os.path.samestat(os.fstat(int(descriptor)), path.stat()):
                return True
        except OSError:
            continue  # the one that listed the folder
    return False


def test_what_a_client_says_where_auth_is_not_offered_is_in_no_log(tmp_path: Path) -> None:
    """A client that sends its password all the same must not find it in our files."""
    with running(tmp_path, LISTENER + ec_logger(tmp_path)) as server:
        client = server.client().greet()
        secret = b"AGFsaWNlAHNlc2FtZQ=="
        for line in (b"AUTH PLAIN " + secret, secret, b"AUTH LOGIN", b"c2VzYW1l", b"PASS sesame"):
            assert client.say(line)[:1] == b"5"
        client.close()
        read(server, tmp_path / "rejectlog.ec", 5)
        told = str(server.log) + "".join(path.read_text() for path in tmp_path.glob("*.ec"))
        assert told.count(" rejected session=") == 5
        assert not re.search("AGFsaWNl|c2VzYW1l|sesame", told)
