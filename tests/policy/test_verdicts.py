"""Every phase with every verdict, over sockets: what the client hears and what the spool keeps."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from gsmtp.api import Accept, Discard, Disconnect, Reject, Tarpit, TempFail, Verdict
from tests.support.inprocess import Running
from tests.support.policy import hook_of, play, policed, spooled

CODE = """
    def _says(name):
        def method(self, *arguments):
            self.calls.append(name)
            verdict = self.says.get(name)
            return verdict(*arguments) if callable(verdict) else verdict
        return method

    class Every(Hook):
        calls = []
        says = {}

        def connect(self, conn, ctx):
            return _says("connect")(self)

        def banner(self, conn, ctx):
            return _says("banner")(self)

        def ehlo(self, conn, ctx, line):
            return _says("ehlo")(self)

        def mailfrom(self, conn, ctx, line):
            return _says("mailfrom")(self)

        def rcptto(self, conn, ctx, message, line):
            return _says("rcptto")(self) if message.rcptto == "b@example.com" else None

        def rcptto_list(self, conn, ctx, recipients):
            return _says("rcptto_list")(self)

        def data(self, conn, ctx, message):
            return _says("data")(self)

        def data_spool(self, conn, ctx, message):
            return _says("data_spool")(self)

        def each_rcpt(self, conn, ctx, message):
            return _says("each_rcpt")(self) if message.rcptto == "b@example.com" else None

        def set_binding(self, message):
            return _says("set_binding")(self)

        def final(self, conn, ctx, message):
            return _says("final")(self) if message.rcptto == "b@example.com" else None

        def dealloc(self, conn, ctx):
            return _says("dealloc")(self)
"""

PHASES = (
    "connect", "banner", "ehlo", "mailfrom", "rcptto", "rcptto_list", "data", "data_spool", "each_rcpt", "set_binding",
    "final", "dealloc",
)  # fmt: skip
REFUSALS: list[tuple[Verdict, bytes]] = [
    (Reject(550, "5.7.1 no"), b"550 5.7.1 no\r\n"),
    (Reject(571, "one\ntwo"), b"571-one\r\n571 two\r\n"),
    (Reject(550, "5.7.1 one\n5.7.1 two"), b"550-5.7.1 one\r\n550 5.7.1 two\r\n"),
    (TempFail("4.7.1 later"), b"451 4.7.1 later\r\n"),
    (Disconnect(554, "5.7.1 go"), b"554 5.7.1 go\r\n"),
]
STEP = {"banner": "connect", "rcptto": "b@example.com", "data_spool": "data", "rcptto_list": "data"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with policed(tmp_path_factory.mktemp("verdicts"), CODE) as server:
        yield server


def _session(server: Running, says: dict[str, object]) -> tuple[dict[str, bytes], bool]:
    """Replies by step, and whether the server closed; what was kept before is removed first."""
    hook = hook_of(server)
    hook.says, hook.calls = says, []
    client = server.client()
    replies = play(client)
    last = client.say(b"NOOP") if not any(reply == b"" for reply in replies.values()) else b""
    client.close()
    server.wait_for(lambda: "dealloc" in hook.calls)
    return replies, last == b""


@pytest.mark.parametrize("phase", ["connect", "banner", "ehlo", "mailfrom", "rcptto", "data", "data_spool"])
@pytest.mark.parametrize(("verdict", "wire"), REFUSALS, ids=lambda value: type(value).__name__)
def test_a_refusal_is_the_reply_of_its_command(server: Running, phase: str, verdict: Verdict, wire: bytes) -> None:
    before = len(spooled(server))
    replies, is_closed = _session(server, {phase: verdict})
    step = STEP.get(phase, phase)
    assert replies[step] == wire
    assert list(replies).index(step) == len(replies) - 1 or phase == "rcptto"
    assert is_closed == (step == "connect" or isinstance(verdict, Disconnect))
    kept = spooled(server)[before:]
    if phase == "rcptto" and not is_closed:
        assert [[row[:2] for row in one["recipients"]] for one in kept] == [[("c@example.com", "queued")]]
    else:
        assert kept == []


@pytest.mark.parametrize("phase", ["each_rcpt", "final"])
@pytest.mark.parametrize(("verdict", "wire"), REFUSALS, ids=lambda value: type(value).__name__)
def test_a_refused_recipient_is_kept_with_its_failure_for_the_bounce(
    server: Running, phase: str, verdict: Verdict, wire: bytes
) -> None:
    before = len(spooled(server))
    replies, is_closed = _session(server, {phase: verdict})
    assert replies["data"].startswith(b"250 OK ")
    assert not is_closed
    text = wire.decode().replace("\r\n", "\n").strip().split("\n")
    shown = " ".join([text[0].replace("-", " ", 1), *(line[4:].removeprefix("5.7.1 ") for line in text[1:])])
    assert [one["envelope"]["to"] for one in spooled(server)[before:]] == [
        [
            {"addr": "b@example.com", "dom": "example.com", "orig": "b@example.com", "fail": shown},
            {"addr": "c@example.com", "dom": "example.com", "orig": "c@example.com"},
        ]
    ]


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("verdict", [None, Accept(), Tarpit(0.01)], ids=lambda value: type(value).__name__)
def test_what_refuses_nothing_lets_the_mail_through(server: Running, phase: str, verdict: Verdict | None) -> None:
    before = len(spooled(server))
    replies, is_closed = _session(server, {phase: verdict})
    assert [reply[:3] for reply in replies.values()] == [b"220", b"250", b"250", b"250", b"250", b"250"]
    assert not is_closed
    assert [[row[1] for row in one["recipients"]] for one in spooled(server)[before:]] == [["queued", "queued"]]
    hook = hook_of(server)
    assert hook.calls == [
        "connect", "banner", "ehlo", "mailfrom", "rcptto", "rcptto_list", "data", "data_spool", "each_rcpt",
        "set_binding", "final", "set_binding", "dealloc",
    ]  # fmt: skip


@pytest.mark.parametrize("phase", ["rcptto", "each_rcpt", "final"])
def test_a_discarded_recipient_hears_success_and_gets_nothing(server: Running, phase: str) -> None:
    before = len(spooled(server))
    replies, _ = _session(server, {phase: Discard("550 5.7.0 not for b")})
    assert replies["b@example.com"].startswith(b"250")
    assert replies["data"].startswith(b"250")
    assert [[row[:2] for row in one["recipients"]] for one in spooled(server)[before:]] == [
        [("c@example.com", "queued")]
    ]
    assert 'reply="550 5.7.0 not for b"' in str(server.log)


@pytest.mark.parametrize("phase", ["data", "data_spool"])
def test_a_discarded_message_hears_success_and_is_gone(server: Running, phase: str) -> None:
    before = len(spooled(server))
    replies, is_closed = _session(server, {phase: Discard()})
    assert replies["data"].startswith(b"250 OK ")
    assert not is_closed
    assert spooled(server)[before:] == []
    assert 'reply="550 5.7.0 discarded by policy"' in str(server.log)


@pytest.mark.parametrize("phase", ["connect", "banner", "ehlo", "mailfrom", "rcptto_list", "set_binding", "dealloc"])
def test_a_discard_where_there_is_nothing_is_told_and_ignored(
    server: Running, phase: str, caplog: pytest.LogCaptureFixture
) -> None:
    replies, _ = _session(server, {phase: Discard()})
    assert replies["data"].startswith(b"250")
    server.wait_for(lambda: "nothing to" in caplog.text)
    assert f"in phase {phase}, where there is nothing to" in caplog.text


@pytest.mark.parametrize("phase", ["rcptto_list", "set_binding", "dealloc"])
def test_a_refusal_where_there_is_nothing_is_told_and_ignored(
    server: Running, phase: str, caplog: pytest.LogCaptureFixture
) -> None:
    replies, _ = _session(server, {phase: Reject()})
    assert replies["data"].startswith(b"250")
    server.wait_for(lambda: f"in phase {phase}, where there is nothing to refuse: ignored" in caplog.text)


@pytest.mark.parametrize("phase", PHASES)
def test_something_else_is_told_and_ignored(server: Running, phase: str, caplog: pytest.LogCaptureFixture) -> None:
    replies, _ = _session(server, {phase: 550})
    assert replies["data"].startswith(b"250")
    server.wait_for(lambda: "is no verdict" in caplog.text)
    assert f"hook p returned 550 in phase {phase}, which is no verdict: ignored" in caplog.text


@pytest.mark.parametrize("phase", PHASES)
def test_an_exception_costs_one_451_and_one_entry(
    server: Running, phase: str, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise LookupError("the table is gone")

    caplog.set_level(logging.ERROR)
    replies, is_closed = _session(server, {phase: fail})
    if phase == "set_binding":
        assert replies["data"] == b"451 4.3.0 transaction failed\r\n"
        count = 2  # one each recipient
    elif phase in ("each_rcpt", "final", "dealloc"):
        assert replies["data"].startswith(b"250")
        count = 1
    else:
        assert replies[STEP.get(phase, phase)] == b"451 4.3.0 transaction failed\r\n"
        count = 1
    assert is_closed == (phase in ("connect", "banner"))
    server.wait_for(lambda: len(caplog.records) == count)
    text = caplog.records[0].getMessage()
    assert f"hook p failed in phase {phase}, session " in text
    assert "LookupError: the table is gone" in text
    assert "Traceback (most recent call last)" in text


def test_all_recipients_refused_is_an_error_reply(tmp_path: Path) -> None:
    code = """
    class Each(Hook):
        def each_rcpt(self, conn, ctx, message):
            return Reject(550, "5.1.1 nobody") if message.rcptto[0] == "b" else TempFail("4.2.0 later")
    """
    with policed(tmp_path, code) as server:
        assert play(server.client())["data"] == b"451 4.2.0 later\r\n"
        assert play(server.client(), (b"b@example.com",))["data"] == b"550 5.1.1 nobody\r\n"
        assert spooled(server) == []


def test_refused_recipients_are_dropped_where_no_bounces_are_wanted(tmp_path: Path) -> None:
    code = """
    class Each(Hook):
        def each_rcpt(self, conn, ctx, message):
            return Reject(550, "5.1.1 nobody") if message.rcptto[0] == "b" else None
    """
    conf = "Generate_Bounces_For_Multi_Recipient_Policy_Rejections = false\n"
    with policed(tmp_path, code, conf=conf) as server:
        assert play(server.client())["data"].startswith(b"250")
        assert [one["recipients"] for one in spooled(server)] == [[("c@example.com", "queued", "", "")]]
        assert 'reply="550 5.1.1 nobody"' in str(server.log)


@pytest.mark.parametrize(
    ("phase", "state"),
    [
        ("data", "sending body response"),
        ("data_spool", "async body response"),
        ("each_rcpt", "async body response"),
    ],
)
def test_the_rejectlog_names_the_state_of_the_phase(tmp_path: Path, phase: str, state: str) -> None:
    code = f"class P(Hook):\n    def {phase}(self, conn, ctx, message):\n        return Reject(550, '5.7.1 no')\n"
    files = " ".join(f'{name} = "{tmp_path}/{name}"' for name in ("mainlog", "rejectlog", "paniclog", "acctlog"))
    with policed(tmp_path, code, conf=f'ec_logger "l" {{ {files} }}\n') as server:
        assert play(server.client())["data"] == b"550 5.7.1 no\r\n"
        server.wait_for(lambda: f'P="{state}" E=550 ' in (tmp_path / "rejectlog").read_text())
