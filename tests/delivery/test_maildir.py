"""Maildirs: exact files, modes, names, and what is refused."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from gsmtp.core.errors import DeliveryError
from gsmtp.delivery.transport import Job, Outcome
from gsmtp.delivery.transports.maildir import MaildirTransport, mailbox_folders
from gsmtp.spool.base import StoredBody
from tests.delivery.kit import Settings, configuration, envelope, stored, tools

BODY = b"Subject: hi\r\n\r\n..dots\r\n\xff\x00\n no end"
FILE = b"Return-Path: <from@example.net>\r\n" + BODY


def deliver(
    base: Path, *addresses: str, body: StoredBody | None = None, settings: Settings | None = None
) -> list[Outcome]:
    conf = configuration(maildirs={"local": {"Basedir": str(base), **(settings or {})}})
    message = envelope(*addresses)
    transport = MaildirTransport(tools())
    try:
        return transport.deliver(Job(message, body or stored(BODY), message.recipients, conf.stanzas("maildir")[0]))
    finally:
        transport.close()


def files(base: Path) -> dict[str, bytes]:
    return {str(file.relative_to(base)): file.read_bytes() for file in base.rglob("*") if file.is_file()}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_message_lands_in_new_byte_for_byte(tmp_path: Path) -> None:
    assert deliver(tmp_path, "Ann@example.org") == [Outcome(250, "250 2.0.0 stored", "maildir local")]
    assert files(tmp_path) == {"example.org/ann/new/1735689600.00-01-00042-00000001_0.host.example": FILE}
    assert sorted(os.listdir(tmp_path / "example.org" / "ann")) == ["cur", "new", "tmp"]


def test_a_message_with_a_return_path_gets_no_second_one(tmp_path: Path) -> None:
    """Reception puts one in front unless RFC2822_Trace_Headers is off."""
    received = b"Return-Path: <from@example.net>\r\nReceived: by mx\r\n\r\nx\r\n"
    deliver(tmp_path, "ann@example.org", body=stored(received))
    assert list(files(tmp_path).values()) == [received]


def test_an_empty_message_still_gets_its_return_path(tmp_path: Path) -> None:
    deliver(tmp_path, "ann@example.org", body=stored(b""))
    assert list(files(tmp_path).values()) == [b"Return-Path: <from@example.net>\r\n"]


def test_without_the_domain_in_the_path(tmp_path: Path) -> None:
    deliver(tmp_path / "not" / "yet", "ann@example.org", settings={"Domain_In_Path": False})
    assert list(files(tmp_path)) == ["not/yet/ann/new/1735689600.00-01-00042-00000001_0.host.example"]


def test_each_recipient_has_a_copy(tmp_path: Path) -> None:
    deliver(tmp_path, "a@example.org", "b@example.org", "a@example.org")
    assert sorted(files(tmp_path)) == [
        "example.org/a/new/1735689600.00-01-00042-00000001_0.host.example",
        "example.org/a/new/1735689600.00-01-00042-00000001_2.host.example",
        "example.org/b/new/1735689600.00-01-00042-00000001_1.host.example",
    ]


def test_recipients_keep_their_numbers_when_only_some_are_tried(tmp_path: Path) -> None:
    conf = configuration(maildirs={"local": {"Basedir": str(tmp_path)}})
    message = envelope("a@example.org", "a@example.org", "a@example.org")
    transport = MaildirTransport(tools())
    transport.deliver(Job(message, stored(BODY), [message.recipients[2]], conf.stanzas("maildir")[0]))
    assert list(files(tmp_path)) == ["example.org/a/new/1735689600.00-01-00042-00000001_2.host.example"]


def test_storing_again_replaces_the_copy_in_new(tmp_path: Path) -> None:
    deliver(tmp_path, "ann@example.org")
    tmp = tmp_path / "example.org" / "ann" / "tmp" / "1735689600.00-01-00042-00000001_0.host.example"
    tmp.write_bytes(b"left by a crash, and longer than the message " * 10)
    deliver(tmp_path, "ann@example.org")
    assert files(tmp_path) == {"example.org/ann/new/1735689600.00-01-00042-00000001_0.host.example": FILE}


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_modes_are_exact_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        deliver(tmp_path / "base", "ann@example.org", settings={"DirMode": "0750", "FileMode": "640"})
    finally:
        os.umask(before)
    box = tmp_path / "base" / "example.org" / "ann"
    assert mode(tmp_path / "base") == 0o750
    assert [mode(path) for path in (box.parent, box, box / "tmp", box / "new", box / "cur")] == [0o750] * 5
    assert mode(next((box / "new").iterdir())) == 0o640


def test_default_modes(tmp_path: Path) -> None:
    deliver(tmp_path, "ann@example.org")
    box = tmp_path / "example.org" / "ann"
    assert mode(box) == 0o775
    assert mode(next((box / "new").iterdir())) == 0o664


@pytest.mark.parametrize("spelling", ["Create_Users", "CreateUsers"])
def test_unknown_users_are_refused_when_none_are_to_be_made(tmp_path: Path, spelling: str) -> None:
    (tmp_path / "example.org" / "known").mkdir(parents=True)
    outcomes = deliver(tmp_path, "known@example.org", "unknown@example.org", settings={spelling: "false"})
    assert outcomes == [
        Outcome(250, "250 2.0.0 stored", "maildir local"),
        Outcome(550, "550 5.1.1 [internal] no such mailbox", "maildir local"),
    ]
    assert not (tmp_path / "example.org" / "unknown").exists()


@pytest.mark.parametrize(
    "address",
    [
        "../x@example.org",
        "..@example.org",
        ".@example.org",
        ".hidden@example.org",
        "a/b@example.org",
        "/etc/passwd@example.org",
        '"../x"@example.org',
        '"\\../x"@example.org',
        '"\\.\\."@example.org',
        '"a\\/b"@example.org',
        '""@example.org',
        "a\0b@example.org",
        "a\nb@example.org",
        "@example.org",
        f"{'x' * 256}@example.org",
    ],
)
def test_local_parts_that_could_leave_the_directory_are_refused(tmp_path: Path, address: str) -> None:
    base = tmp_path / "base"
    base.mkdir()
    assert [outcome.code for outcome in deliver(base, address)] == [550]
    assert [outcome.reply[:9] for outcome in deliver(base, address)] == ["550 5.1.1"]
    assert list(tmp_path.rglob("*")) == [base]


@pytest.mark.parametrize(
    ("address", "domain", "folders"),
    [
        ("Ann.Lee+Tag@Example.ORG", "example.org", ("example.org", "ann.lee+tag")),
        ('"John Doe"@example.org', "example.org", ("example.org", "john doe")),
        ('"a@b"@example.org', "example.org", ("example.org", "a@b")),
        ("JÖRG@example.org", "example.org", ("example.org", "jörg")),
        ("postmaster", "", ("postmaster",)),
        ("ann@[192.0.2.1]", "[192.0.2.1]", ("[192.0.2.1]", "ann")),
        ("ann@../..", "../..", None),
    ],
)
def test_mailbox_names(address: str, domain: str, folders: tuple[str, ...] | None) -> None:
    assert mailbox_folders(address, domain, True) == folders


def test_a_null_sender_has_an_empty_return_path(tmp_path: Path) -> None:
    conf = configuration(maildirs={"local": {"Basedir": str(tmp_path)}})
    message = envelope("a@example.org", reverse_path="")
    MaildirTransport(tools()).deliver(Job(message, stored(b"x"), message.recipients, conf.stanzas("maildir")[0]))
    assert list(files(tmp_path).values()) == [b"Return-Path: <>\r\nx"]


def test_a_large_body_comes_from_its_file(tmp_path: Path) -> None:
    data = os.urandom(1 << 20)
    source = tmp_path / "body"
    source.write_bytes(data)
    base = tmp_path / "base"
    deliver(base, "ann@example.org", body=StoredBody(len(data), None, str(source)))
    assert list(files(base).values()) == [b"Return-Path: <from@example.net>\r\n" + data]


def test_a_body_that_cannot_be_read_is_temporary_and_leaves_nothing(tmp_path: Path) -> None:
    base = tmp_path / "base"
    [outcome] = deliver(base, "ann@example.org", body=StoredBody(5, None, str(tmp_path / "missing")))
    assert outcome.code == 451
    assert outcome.reply.startswith("451 4.3.0 [internal] No such file or directory")
    assert files(base) == {}


def test_a_base_directory_that_cannot_be_made_is_temporary(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    [outcome] = deliver(tmp_path / "file" / "below", "ann@example.org")
    assert outcome.code == 451


def test_a_stanza_without_basedir_is_temporary() -> None:
    with pytest.raises(DeliveryError, match=r"^451 4\.3\.5 \[internal\]"):
        deliver(Path(""), "ann@example.org", settings={"Basedir": ""})
