"""What hooks see of a message and what their edits do to it: exactly what they say, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.inprocess import running
from tests.support.policy import BODY, LISTENER, hook_of, play, policed, script, spooled

EDIT = """
    class Edit(Hook):
        def init(self, config):
            self.how = config.text("how")
            return True
        @never_waits
        def data(self, conn, ctx, message):
            headers = message.headers
            ctx.mess["before"] = message.size
            if self.how == "add": headers.add("X-Spam", "no")
            if self.how == "prepend": headers.prepend("X-First", "yes")
            if self.how == "replace": headers.replace("Subject", "new")
            if self.how == "remove": headers.remove("X-Twice")
            if self.how == "read": headers.get("Subject"), message.raw(), message.body()
            ctx.mess["size"] = message.size
            ctx.mess["is_same"] = message.raw() == b"".join(message.pieces())
"""
HEAD = (
    b"Subject:  old \r\n  text\r\nX-Twice: 1\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\nX-Twice:\t2\r\n"
    b"Message-ID: <1@x>\r\n"
)
CHANGES = {
    "read": lambda text: text,
    "add": lambda text: text.replace(b"<1@x>\r\n", b"<1@x>\r\nX-Spam: no\r\n", 1),
    "prepend": lambda text: text.replace(b"\r\nReceived:", b"\r\nX-First: yes\r\nReceived:", 1),
    "replace": lambda text: text.replace(b"Subject:  old \r\n  text\r\n", b"Subject: new\r\n", 1),
    "remove": lambda text: text.replace(b"X-Twice: 1\r\n", b"", 1).replace(b"X-Twice:\t2\r\n", b"", 1),
}


@pytest.mark.parametrize("how", CHANGES)
@pytest.mark.parametrize("size", [0, 60_000], ids=["in memory", "in a file"])
def test_an_edit_changes_what_it_says_and_no_other_byte(tmp_path: Path, how: str, size: int) -> None:
    text = bytes(range(32, 127)) + b"\r\n" + b"..dots\r\n\r\nX-Twice: 3\r\n"
    sent = HEAD + b"\r\n" + text * (1 + size // len(text))
    conf = f"Large_Message_Threshold = 10000\nRFC2822_Trace_Headers = {'true' if how == 'prepend' else 'false'}\n"
    with policed(tmp_path, EDIT.replace("@never_waits", ""), f'how = "{how}"', conf) as server:
        reply = play(server.client(), body=sent.replace(b"\r\n.", b"\r\n.."))["data"]
        assert reply.startswith(b"250"), reply
        (kept,) = spooled(server)
        came = kept["body"] if how == "prepend" else sent
        if how == "prepend":
            assert b"\r\nX-First: yes\r\nReceived:" in came
            assert came.startswith(b"Return-Path: <a@example.net>\r\nX-First: yes\r\nReceived: from ")
            assert came.endswith(b"\r\n" + sent)
        else:
            assert kept["body"] == CHANGES[how](sent)
        assert kept["size"] == len(kept["body"]) == int(kept["mess"]["size"])
        assert kept["mess"]["is_same"] == "true"
        assert not list((tmp_path / "spool" / "bodies" / "new").iterdir())


def test_a_large_body_is_edited_and_delivered_from_its_file(tmp_path: Path) -> None:
    """Through BDAT, in pieces, with a body far above the threshold."""
    line = b"0123456789abcdef" * 4 + b"\r\n"
    sent = HEAD + b"\r\n" + line * 30_000
    conf = "Legacy_Message_Threshold = 0\nRFC2822_Trace_Headers = false\n"
    conf += 'ESMTP_Listener { SMTP_Extensions = ( "CHUNKING" ) }\n'
    with policed(tmp_path, EDIT.replace("@never_waits", ""), 'how = "add"', conf) as server:
        client = server.client().greet()
        assert client.code(b"MAIL FROM:<a@example.net>") == 250
        assert client.code(b"RCPT TO:<b@example.com>") == 250
        half = len(sent) // 2
        client.send(b"BDAT %d\r\n" % half + sent[:half])
        assert client.reply() == b"250 %d octets received\r\n" % half
        client.send(b"BDAT %d LAST\r\n" % (len(sent) - half) + sent[half:])
        assert client.reply().startswith(b"250")
        (kept,) = spooled(server)
        assert kept["body"] == CHANGES["add"](sent)


def test_a_message_that_is_refused_after_an_edit_leaves_nothing(tmp_path: Path) -> None:
    code = """
    class Edit(Hook):
        def data(self, conn, ctx, message):
            message.headers.add("X-A", "1")
            message.raw()
            return Reject(550, "5.7.1 no")
    """
    with policed(tmp_path, code, conf="Large_Message_Threshold = 1000\n") as server:
        assert play(server.client(), body=BODY + b"x\r\n" * 1000)["data"].startswith(b"550")
        server.wait_for(lambda: not list((tmp_path / "spool" / "bodies" / "new").iterdir()))
        assert spooled(server) == []


def test_headers_are_decoded_and_raw(tmp_path: Path) -> None:
    code = """
    class P(Hook):
        def data(self, conn, ctx, message):
            h = message.headers
            self.seen = (h.get("subject"), h.raw("Subject"), h.get_all("X-a"), "x-A" in h, h.get("none", "-"))
            assert h.count("X-A") == 2
            self.names = [name for name in h if name not in ("Return-Path", "Received")]
            h.replace("Subject", "Grüße an alle, die lange Betreffzeilen mögen und sie auch wirklich lesen wollen")
            h.add("X-Long", "word " * 40)
            for name, value in (("a b", "x"), ("X", "a\\r\\nBcc: y"), ("", "x"), ("X", "a\\nb"), ("X", b"a\\rb")):
                try:
                    h.add(name, value)
                    raise AssertionError((name, value))
                except ValueError:
                    pass
    """
    body = (
        b"Subject: =?utf-8?q?Caf=C3=A9?=\r\n =?utf-8?b?4oKs?= x\r\nX-A: 1\r\nx-a:2\r\n"
        b"Date: Mon, 1 Jan 2024 00:00:00 +0000\r\nMessage-ID: <1@x>\r\n\r\nhello\r\n"
    )
    with policed(tmp_path, code) as server:
        assert play(server.client(), body=body)["data"].startswith(b"250")
        hook = hook_of(server)
        raw = b"=?utf-8?q?Caf=C3=A9?=\r\n =?utf-8?b?4oKs?= x"
        assert hook.seen == ("Café€ x", raw, ["1", "2"], True, "-")
        assert hook.names == ["Subject", "X-A", "x-a", "Date", "Message-ID"]
        (kept,) = spooled(server)
        head = kept["body"].partition(b"\r\n\r\n")[0]
        assert max(map(len, head.split(b"\r\n"))) <= 78
        assert b"Subject: =?utf-8?" in head
        from email import message_from_bytes, policy

        parsed = message_from_bytes(kept["body"], policy=policy.default)
        assert parsed["Subject"] == "Grüße an alle, die lange Betreffzeilen mögen und sie auch wirklich lesen wollen"
        assert parsed["X-Long"].split() == ["word"] * 40


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        (b"no header here\r\n\r\nreally\r\n", b"X-A: 1\r\n\r\nno header here\r\n\r\nreally\r\n"),
        (b"\r\nbody\r\n", b"X-A: 1\r\n\r\nbody\r\n"),
        (b"Subject: only\r\n", b"Subject: only\r\nX-A: 1\r\n"),
        (b"", b"X-A: 1\r\n\r\n"),
        (b"Subject: a\r\n\r\n", b"Subject: a\r\nX-A: 1\r\n\r\n"),
    ],
)
def test_a_field_is_added_to_odd_messages(tmp_path: Path, body: bytes, kept: bytes) -> None:
    code = """
    class P(Hook):
        def data(self, conn, ctx, message):
            message.headers.add("X-A", 1 and "1")
    """
    conf = (
        "RFC2822_Trace_Headers = false\nRFC2822_Date_Header = ignore\nRFC2822_MessageID_Header = ignore\n"
        "RFC2822_Missing_Headers = allow\n"
    )
    with policed(tmp_path, code, conf=conf) as server:
        assert play(server.client(), body=body)["data"].startswith(b"250")
        assert [one["body"] for one in spooled(server)] == [kept]


def test_edits_come_too_late_behind_data_spool(tmp_path: Path) -> None:
    code = """
    class P(Hook):
        def each_rcpt(self, conn, ctx, message):
            for late in (lambda: message.headers.add("X", "1"), lambda: ctx.add_recipient("d@example.com"),
                         lambda: message.recipients.remove("b@example.com")):
                try:
                    late()
                except RuntimeError as error:
                    self.said = getattr(self, "said", 0) + 1
    """
    with policed(tmp_path, code) as server:
        assert play(server.client())["data"].startswith(b"250")
        assert hook_of(server).said == 6


def test_the_list_of_recipients_is_changed_until_it_is_complete(tmp_path: Path) -> None:
    code = """
    class P(Hook):
        def rcptto(self, conn, ctx, message, line):
            if message.rcptto.startswith("all"): message.readdress("team@example.com")
            if message.rcptto.startswith("b"): ctx.add_recipient("archive@example.org")
        def rcptto_list(self, conn, ctx, recipients):
            recipients.replace("team@example.com", "x@example.com", "y@example.com", "c@EXAMPLE.com")
            recipients.remove("b@example.com")
            recipients.add("x@example.com")
            self.seen = [one.address for one in recipients]
    """
    with policed(tmp_path, code) as server:
        asked = (b"all@example.com", b"b@example.com", b"c@example.com")
        assert play(server.client(), asked)["data"].startswith(b"250")
        expected = ["x@example.com", "y@example.com", "archive@example.org", "c@example.com"]
        assert hook_of(server).seen == expected
        assert [[row[0] for row in one["recipients"]] for one in spooled(server)] == [expected]


def test_a_message_without_recipients_is_refused(tmp_path: Path) -> None:
    code = """
    class P(Hook):
        def rcptto_list(self, conn, ctx, recipients):
            for one in recipients: recipients.remove(one.address)
    """
    with policed(tmp_path, code) as server:
        assert play(server.client())["data"] == b"554 5.5.1 no valid recipients\r\n"


def test_contexts_are_kept_with_the_message(tmp_path: Path) -> None:
    code = """
    class P(Hook):
        def data(self, conn, ctx, message):
            ctx.conn["count"] = 3
            ctx.conn["flag"] = True
            ctx.conn["#secret"] = "x"
            ctx.mess["bytes"] = b"caf\\xc3\\xa9"
            ctx.mess["drop_me"] = "x"
            ctx.mess["none"] = None
            ctx.mess["rate"] = 0.5
            del ctx.mess["mailfrom_string"]
    """
    conf = 'exclude_vctx_conn = ( "^ehlo_" "_count$" )\nDomain "example.com" { exclude_vctx_mess = ( "drop" ) }\n'
    with policed(tmp_path, code, conf=conf) as server:
        client = server.client()
        assert play(client, body=b"Subject: no date\r\n\r\n")["data"].startswith(b"250")
        (kept,) = spooled(server)
        assert kept["conn"] == {"pathway": "default", "count": "3", "flag": "true"}
        assert kept["mess"] == {
            "mailfrom_localpart": "a",
            "mailfrom_domain": "example.net",
            "pathway": "default",
            "rcptto_string": "RCPT TO:<c@example.com>",
            "rcptto_localpart": "c",
            "rcptto_domain": "example.com",
            "rfc2822_date_missing": "true",
            "bytes": "café",
            "none": "",
            "rate": "0.5",
        }
        assert server.supervisor._spool.envelope(kept["id"]).mess["bytes"] == "café"  # type: ignore[union-attr]


def test_the_documented_counts_are_current(tmp_path: Path) -> None:
    code = """
    class P(Hook):
        seen = []
        def rcptto(self, conn, ctx, message, line):
            names = ("connection_message_count", "connection_rcpt_count", "message_rcpt_count")
            self.seen.append([ctx.conn[name] for name in names])
        def each_rcpt(self, conn, ctx, message):
            self.seen.append((ctx.mess["rcptto_localpart"], ctx.conn["message_rcpt_count"]))
    """
    with policed(tmp_path, code) as server:
        client = server.client()
        play(client)
        client.transaction()
        assert hook_of(server).seen == [
            ["0", "1", "1"], ["0", "2", "2"], ("b", "2"), ("c", "2"), ["1", "3", "1"], ("b", "1"),
        ]  # fmt: skip


def test_a_hook_chooses_the_pathway(tmp_path: Path) -> None:
    code = """
    class P(Hook):
        def ehlo(self, conn, ctx, line):
            ctx.conn["pathway"] = line.split()[1]
            self.pathway = conn.pathway
    """
    (tmp_path / "p.py").write_text("from gsmtp.api import *\n" + __import__("textwrap").dedent(code))
    conf = script() + 'Pathway "vip" { Relay_Domains = ( "vip.example" ) Max_Message_Size = 5000 }\n' + LISTENER
    with running(tmp_path, conf) as server:
        client = server.client()
        client.reply()
        assert b"SIZE 5000" in client.say(b"EHLO vip")
        assert hook_of(server).pathway == "vip"
        assert client.code(b"MAIL FROM:<a@example.net>") == 250
        assert client.code(b"RCPT TO:<a@vip.example>") == 250
        assert client.say(b"RCPT TO:<b@example.com>") == b"550 5.7.1 relaying denied\r\n"
        assert client.say(b"EHLO nowhere") == b"451 4.3.0 transaction failed\r\n"


def test_a_binding_is_kept_with_its_recipient(tmp_path: Path) -> None:
    code = """
    class P(Hook):
        def set_binding(self, message):
            if message.rcptto[0] == "b": message.binding = "slow"
    """
    with policed(tmp_path, code) as server:
        assert play(server.client())["data"].startswith(b"250")
        (kept,) = spooled(server)
        assert [one.get("bind") for one in kept["envelope"]["to"]] == ["slow", None]


def test_queue_shows_whom_policy_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from gsmtp.cli.main import main

    code = """
    class P(Hook):
        def each_rcpt(self, conn, ctx, message):
            return Reject(550, "5.1.1 nobody") if message.rcptto[0] == "b" else None
    """
    kept = 'Domain "example.com" { suspend_delivery = false  gateway = "127.0.0.1:1"  failure_action = "keep" }\n'
    with policed(tmp_path, code, conf=kept) as server:
        play(server.client())
        server.wait_for(lambda: " failed " in str(server.log), "the failure is told")
    assert main(["queue", "list", str(server.path)]) == 0
    shown = capsys.readouterr().out
    assert "b@example.com" in shown
    assert "550 5.1.1 nobody" in shown
