"""What a running session sees of a reload: 421 at its next MAIL or RSET, or nothing at all.

Source: reference/esmtp-listener.md section 12.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.inprocess import BASE, Client, Running, running

TOLD = b"421 4.3.2 Reconfiguration in progress\r\n"


def conf(text: str = "", *, inside: str = "", listen: str = 'listen "127.0.0.1:0" { }') -> str:
    return f"esmtp_listener {{ {inside} {listen} }} {text}"


def reload(server: Running, text: str) -> None:
    spool = server.path.parent / "spool"
    server.reconfigure(BASE.format(spool=spool) + text)
    assert "Reconfigure failed" not in str(server.log)


def begin(client: Client) -> None:
    """Up to the 354."""
    for line in (b"MAIL FROM:<a@example.net>", b"RCPT TO:<b@example.com>", b"DATA"):
        assert client.say(line)[:1] in b"23"


@pytest.mark.parametrize("command", [b"MAIL FROM:<a@example.net>", b"RSET"])
def test_a_session_whose_options_changed_is_told_and_closed(tmp_path: Path, command: bytes) -> None:
    with running(tmp_path, conf()) as server:
        client = server.client().greet()
        reload(server, conf(inside="max_message_size = 1000"))
        assert client.say(b"NOOP").startswith(b"250 "), "only MAIL and RSET notice it"
        assert client.say(command) == TOLD
        assert client.is_closed()
        client.close()
        client = server.client()
        assert client.reply().startswith(b"220 ")
        assert b"250 SIZE 1000\r\n" in client.say(b"EHLO client.example")
        client.close()


def test_a_transaction_ends_under_the_old_configuration(tmp_path: Path) -> None:
    with running(tmp_path, conf()) as server:
        client = server.client().greet()
        begin(client)
        reload(server, conf(inside="max_message_size = 10"))
        client.send(b"Subject: x\r\n\r\n" + b"longer than ten octets\r\n" + b".\r\n")
        assert client.reply().startswith(b"250 ")
        assert client.say(b"MAIL FROM:<a@example.net>") == TOLD
        client.close()


def test_a_pipelined_mail_behind_the_data_is_told(tmp_path: Path) -> None:
    with running(tmp_path, conf()) as server:
        client = server.client().greet()
        begin(client)
        reload(server, conf(inside="require_ehlo = true"))
        client.send(b"Subject: x\r\n\r\nx\r\n.\r\nMAIL FROM:<a@example.net>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n")
        assert client.reply().startswith(b"250 ")
        assert client.reply() == TOLD
        assert client.is_closed(), "nothing behind it is answered"
        client.close()
        assert len(server.queued()) == 1


def test_a_session_that_never_sent_mail_is_told_at_its_first(tmp_path: Path) -> None:
    with running(tmp_path, conf()) as server:
        client = server.client()
        assert client.reply().startswith(b"220 ")
        reload(server, conf(inside="banner_hostname = other.example.com"))
        assert b"250-mx.example.com says EHLO" in client.say(b"EHLO client.example")
        assert client.say(b"MAIL FROM:<a@example.net>") == TOLD
        client.close()


def test_sessions_for_which_nothing_changed_go_on(tmp_path: Path) -> None:
    with running(tmp_path, conf()) as server:
        client = server.client().greet()
        other = server.client(source="127.0.0.9").greet()
        gateway = 'domain "else.example" { gateway = "127.0.0.1" }'
        reload(server, conf(gateway, inside='peer "127.0.0.9" { idle_time = 7 }'))
        assert client.transaction().startswith(b"250 ")
        assert other.say(b"MAIL FROM:<a@example.net>") == TOLD
        client.close()
        other.close()


def test_a_session_that_went_on_lives_under_the_new_configuration(tmp_path: Path) -> None:
    with running(tmp_path, conf()) as server:
        client = server.client().greet()
        reload(server, conf('domain "example.com" { blackhole = inline }'))
        assert client.transaction() == b"551 5.7.1 recipient blackholed\r\n", "a domain's options are the new ones"
        reload(server, conf(inside="idle_time = 9"))
        assert client.say(b"RSET") == TOLD, "what it is compared with is what it adopted"
        client.close()


def test_global_options_of_reception_count(tmp_path: Path) -> None:
    with running(tmp_path, conf()) as server:
        client = server.client().greet()
        reload(server, conf('rfc2822_missing_headers = "allow"'))
        assert client.say(b"MAIL FROM:<a@example.net>") == TOLD
        client.close()


def test_socket_options_don_t(tmp_path: Path) -> None:
    with running(tmp_path, conf()) as server:
        client = server.client().greet()
        reload(server, conf(inside="listen_backlog = 77 disable_nagle_algorithm = true"))
        assert client.transaction().startswith(b"250 ")
        client.close()


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("force_fsync = false", "Force_Fsync"),
        ("large_message_threshold = 5000", "Large_Message_Threshold"),
        ("server_max_file_descriptors = 500", "Server_Max_File_Descriptors"),
        ("spool_mode = 0600", "Spool_Mode"),
        ("security { supplemental_groups = ( users ) }", "Security Supplemental_Groups"),
        ('threadpool "io" { backlog = 5 }', 'Backlog of ThreadPool "io"'),
    ],
)
def test_what_needs_a_restart_is_named(tmp_path: Path, setting: str, named: str) -> None:
    with running(tmp_path, conf()) as server:
        reload(server, conf(setting))
        server.wait_for(lambda: f"{named} changed: needs a restart, the running value stays" in str(server.log))


def test_the_text_is_that_of_the_old_configuration(tmp_path: Path) -> None:
    with running(tmp_path, conf(inside='reconfig_message = "4.3.2 come back in a second"')) as server:
        client = server.client().greet()
        reload(server, conf(inside='reconfig_message = "4.3.2 later" idle_time = 5'))
        assert client.say(b"MAIL FROM:<a@example.net>") == b"421 4.3.2 come back in a second\r\n"
        client.close()


def test_reconfig_sessions_always_tells_everybody(tmp_path: Path) -> None:
    with running(tmp_path, conf(inside="reconfig_sessions = always")) as server:
        client = server.client().greet()
        reload(server, conf(inside="reconfig_sessions = always"))
        assert client.say(b"RSET") == TOLD
        client.close()


def test_a_listen_that_is_disabled_leaves_its_sessions_alone(tmp_path: Path) -> None:
    with running(tmp_path, conf()) as server:
        client = server.client().greet()
        reload(server, conf(listen='listen "127.0.0.1:0" { enable = false }'))
        assert not server.listeners
        assert client.transaction().startswith(b"250 ")
        assert client.transaction().startswith(b"250 ")
        client.close()


def test_sessions_of_a_listen_that_is_gone_end_their_transaction_and_are_told(tmp_path: Path) -> None:
    with running(tmp_path, conf()) as server:
        client = server.client().greet()
        begin(client)
        reload(server, conf(listen='listen "127.0.0.2:0" { }'))
        client.send(b"Subject: x\r\n\r\nx\r\n.\r\n")
        assert client.reply().startswith(b"250 ")
        assert client.say(b"MAIL FROM:<a@example.net>") == TOLD
        client.close()


def test_a_pathway_that_changes_counts_for_the_sessions_on_it(tmp_path: Path) -> None:
    before = 'pathway "p" { max_message_size = 1000 }'
    after = 'pathway "p" { max_message_size = 2000 }'
    peer = 'peer "127.0.0.5" { pathway = "p" }'
    with running(tmp_path, conf(before, inside=peer)) as server:
        on_it = server.client(source="127.0.0.5").greet()
        other = server.client().greet()
        reload(server, conf(after, inside=peer))
        assert on_it.say(b"MAIL FROM:<a@example.net>") == TOLD
        assert other.transaction().startswith(b"250 ")
        on_it.close()
        other.close()


def test_the_refusal_is_told(tmp_path: Path) -> None:
    with running(tmp_path, conf()) as server:
        client = server.client().greet()
        reload(server, conf(inside="idle_time = 9"))
        assert client.say(b"MAIL FROM:<a@example.net>") == TOLD
        client.close()
        assert "Reconfiguration in progress" in str(server.log)
