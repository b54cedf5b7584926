"""Policy and logins: a hook sees an attempt's outcome and may change it (the documented validate_auth)."""

from __future__ import annotations

from pathlib import Path

import pytest

from gsmtp.core.reply import AUTH_REPLIES, reply
from gsmtp.policy.chain import HOOKS, Chain, Hook
from gsmtp.policy.context import Context
from gsmtp.policy.decision import Decision, Phase
from gsmtp.smtp.events import AuthEnd
from tests.auth.test_login import BAD, GOOD, attempts, conf, only, plain
from tests.support.inprocess import running

SEEN: list[tuple[str, str, str]] = []


def judge(context: Context, event: AuthEnd) -> Decision | None:
    conn = context.conn
    SEEN.append((event.user, event.status.value, conn["auth_status"]))
    if event.user == "tim":
        return Decision(reply(535, "5.7.0 not today"), "holiday", "judge")
    if event.user == "guest":
        return Decision(AUTH_REPLIES["pass"], "guests are welcome", "judge")
    if event.user == "odd":
        raise RuntimeError("a bug")
    return None


@pytest.mark.parametrize("may_block", [False, True], ids=["inline", "green"])
def test_a_hook_has_the_last_word(tmp_path: Path, may_block: bool) -> None:
    SEEN.clear()
    with running(tmp_path, conf(tmp_path, "Auth_Failures_Per_Session = 0")) as server:
        server.supervisor.service.chain = Chain([*HOOKS, Hook("judge", Phase.AUTH, 1, judge, may_block)])
        told = attempts(server)
        client = server.client().greet()
        assert client.say(plain(b"tim", b"tanstaaftanstaaf")) == b"535 5.7.0 not today\r\n"
        conn = only(server).context.conn
        assert (conn["auth_status"], conn.get("can_relay")) == ("fail", None)
        assert client.say(plain(b"odd", b"x")) == b"451 4.3.0 transaction failed\r\n"
        assert client.say(plain(b"alice", b"wrong")) == BAD
        assert client.say(plain(b"guest", b"whatever")) == GOOD
        assert (conn["auth_status"], conn["auth_user"], conn["can_relay"]) == ("pass", "guest", "true")
        assert client.transaction(recipient=b"b@elsewhere.example").startswith(b"250 ")
        client.close()
        assert SEEN == [
            ("tim", "pass", "pass"),
            ("odd", "fail", "fail"),
            ("alice", "fail", "fail"),
            ("guest", "fail", "fail"),
        ]
        assert [(one.user, one.status, one.reason) for one in told] == [
            ("tim", "fail", "holiday"),
            ("odd", "error", "hook failed"),
            ("alice", "fail", "wrong password"),
            ("guest", "pass", "guests are welcome"),
        ]
