"""Tables of networks: longest prefix, rbldnsd's format, values."""

from __future__ import annotations

from pathlib import Path

import pytest

from gsmtp.core.address import parse_network
from gsmtp.policy import cidr

FILE = """\
# a comment
$SOA 3600 ns.example.com host.example.com 0 600 300 86400 300
192.0.2.1
:4:Blocked, see https://rbl.example.com/?$
198.51.100.0/24
!198.51.100.7
203.0.113
10.1.2.3-5
10.9.0-1
172.16/12:127.0.0.9:private
2001:db8::/32 :10:six
2001:db8:1::1
192.0.2.77 plain text
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "list"
    path.write_text(FILE)
    return path


@pytest.mark.parametrize(
    ("address", "value"),
    [
        ("192.0.2.1", "127.0.0.2"),
        ("192.0.2.2", None),
        ("198.51.100.1", "127.0.0.4"),
        ("198.51.100.7", None),
        ("203.0.113.200", "127.0.0.4"),
        ("10.1.2.2", None),
        ("10.1.2.3", "127.0.0.4"),
        ("10.1.2.5", "127.0.0.4"),
        ("10.1.2.6", None),
        ("10.9.0.0", "127.0.0.4"),
        ("10.9.1.255", "127.0.0.4"),
        ("10.9.2.0", None),
        ("172.31.255.255", "127.0.0.9"),
        ("2001:db8::5", "127.0.0.10"),
        ("2001:db8:1::1", "127.0.0.4"),
        ("2001:db9::", None),
        ("::ffff:192.0.2.1", "127.0.0.2"),
    ],
)
def test_addresses_of_a_file(path: Path, address: str, value: str | None) -> None:
    table = cidr.Table()
    table.fill(cidr.read_rbldnsd(str(path)))
    assert table.query(address) == value


def test_texts_of_a_file_and_the_default(path: Path) -> None:
    table = cidr.Table("none of $", interpolate=True)
    table.fill(cidr.read_rbldnsd(str(path), text=True))
    assert table.query("198.51.100.1") == "Blocked, see https://rbl.example.com/?198.51.100.1"
    assert table.query("172.16.0.1") == "private"
    assert table.query("198.51.100.7") == "none of 198.51.100.7"


@pytest.mark.parametrize("line", ["nonsense", "192.0.2.300", "192.0.2.0/33", "192.0.2.1:nowhere", "10.0.0.9-1"])
def test_a_line_that_is_wrong_is_named(line: str) -> None:
    with pytest.raises(ValueError, match="line 2: "):
        list(cidr.parse_rbldnsd(["192.0.2.1", line]))


def test_the_longest_prefix_wins() -> None:
    table = cidr.Table()
    table.fill([(parse_network("10.0.0.0/8"), "wide"), (parse_network("10.1.0.0/16"), "narrow")])
    table.add("10.1.2.3", "one")
    assert [table.query(one) for one in ("10.2.0.1", "10.1.9.9", "10.1.2.3")] == ["wide", "narrow", "one"]
    assert table.entries == 3


def test_a_script_defines_and_asks_by_name() -> None:
    cidr.define("mine", default="no").add("192.0.2.0/24", "yes")
    assert (cidr.query("mine", "192.0.2.9"), cidr.query("mine", "192.0.3.9")) == ("yes", "no")
    with pytest.raises(KeyError):
        cidr.query("nobody's", "192.0.2.9")
