"""Counts in windows of time: what counts where, what is forgotten, what is bounded."""

from __future__ import annotations

import pytest

from gsmtp.policy.audit import Audit, as_json


class _Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def wall(self) -> float:
        return self.now

    def mono(self) -> float:
        return self.now


def test_counts_by_kind_client_and_network() -> None:
    audit = Audit([(300, 2)], _Clock())
    for address in ("192.0.2.1", "192.0.2.1", "192.0.2.9", "2001:db8::1", ""):
        audit.add("connections", address)
    audit.add("rejections", "192.0.2.1")
    assert audit.count("connections", "192.0.2.1", 300) == 2
    assert audit.count("connections", "192.0.2.0/24", 300) == 3
    assert audit.count("connections", "0.0.0.0/0", 300) == 4
    assert audit.count("connections", "2001:db8::/32", 300) == 1
    assert audit.count("connections", "127.0.0.1", 300) == 1
    assert audit.count("rejections", "192.0.2.0/24", 300) == 1
    assert audit.count("receptions", "192.0.2.0/24", 300) == 0


def test_windows_follow_the_clock_and_old_ones_go() -> None:
    clock = _Clock()
    clock.now = 3000.0
    audit = Audit([(300, 3), (1000, 1)], clock)
    audit.add("connections", "192.0.2.1")
    clock.now = 3300.0
    audit.add("connections", "192.0.2.1")
    audit.add("connections", "192.0.2.1")
    assert [audit.count("connections", "192.0.2.1", 300, back) for back in range(3)] == [2, 1, 0]
    assert audit.count("connections", "192.0.2.1", 1000) == 3
    clock.now = 3900.0
    audit.forget_old()
    assert [audit.count("connections", "192.0.2.1", 300, back) for back in range(3)] == [0, 0, 2]
    assert audit.saved()[300, 3].keys() == {11}


def test_a_window_holds_so_many_addresses_and_goes_on_counting_those() -> None:
    audit = Audit([(300, 1)], _Clock(), most_addresses=2)
    for address in ("192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.1"):
        audit.add("connections", address)
    assert audit.count("connections", "192.0.2.0/24", 300) == 3


@pytest.mark.parametrize(
    ("kind", "network", "seconds", "back"),
    [
        ("things", "192.0.2.1", 300, 0),
        ("connections", "x", 300, 0),
        ("connections", "192.0.2.1", 60, 0),
        ("connections", "192.0.2.1", 300, 1),
    ],
)
def test_what_is_asked_wrongly_is_refused(kind: str, network: str, seconds: int, back: int) -> None:
    audit = Audit([(300, 1)], _Clock())
    with pytest.raises(ValueError, match=r"none of|no window|no address"):
        audit.count(kind, network, seconds, back)


def test_counts_outlive_a_restart() -> None:
    clock = _Clock()
    first = Audit([(300, 2), (60, 2)], clock)
    first.add("receptions", "192.0.2.1")
    first.add("receptions", "2001:db8::1")
    second = Audit([(300, 2)], clock)
    second.restore(as_json(first.saved()))
    assert second.count("receptions", "192.0.2.1", 300) == 1
    assert second.count("receptions", "2001:db8::/32", 300) == 1
    with pytest.raises(ValueError, match="it holds no counts"):
        second.restore('{"300,2": 5}')
