"""The values of a transaction."""

from __future__ import annotations

from gsmtp.core.envelope import Envelope, Recipient


def _envelope() -> Envelope:
    recipients = [
        Recipient("u@example.com", "example.com", notify=("NEVER",)),
        Recipient("v@example.com", "example.com"),
    ]
    return Envelope("00/01-00042-00000001", "c", "a@example.net", recipients, 1.5, 7, conn={"a": "b"}, mess={"c": "d"})


def test_a_copy_says_the_same_and_shares_nothing_that_changes() -> None:
    envelope = _envelope()
    copy = envelope.copy()
    assert copy == _envelope()
    copy.recipients[0].drop = True
    copy.recipients.pop()
    copy.conn["a"] = copy.mess["c"] = "changed"
    assert envelope == _envelope()


def test_two_without_recipients_or_variables_share_none() -> None:
    one, other = Envelope("i", "c", ""), Envelope("i", "c", "")
    one.recipients.append(Recipient("u@example.com", "example.com"))
    one.conn["a"] = one.mess["a"] = "b"
    assert (other.recipients, other.conn, other.mess) == ([], {}, {})
