"""Plays every file of `dialogues/`: turn by turn, in one piece, and byte by byte.

A dialogue is lines that begin with a mark::

    # config: Max_Message_Size = 100     an option; other lines with # say what is shown
    C: EHLO client.example               the client sends this and CR LF; backslash escapes as in Python
    C- half a line                       the same without CR LF
    C! eof                               the client closes its side
    S: 250 OK                            the server answers this line, exactly
    P: Rcpt 550 5.7.1 no                 policy answers the next event of this kind so
    K: Subject: x                        a line of the next accepted message, as kept; K- without CR LF
    A: 552 5.3.4 …                       a message was given up with this reply; "A: -" by the client
    Q: quit                              the session is over, for this reason

All answers of the server are compared, and all messages and ends; in turns each answer has to come in its place.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.engine.driving import Driver, Played, session_of, view_of

FILES = sorted((Path(__file__).parent / "dialogues").glob("*.txt"))


@dataclass
class Dialogue:
    """A file as read."""

    settings: list[str] = field(default_factory=list)
    policy: list[tuple[str, str]] = field(default_factory=list)
    turns: list[tuple[bytes, bytes]] = field(default_factory=list)
    kept: bytes = b""
    aborts: list[str] = field(default_factory=list)
    end: str = ""
    ends_stream: bool = False


def _bytes(text: str) -> bytes:
    """The line's octets: UTF-8, with backslash escapes."""
    if "\\" not in text:
        return text.encode()
    return text.encode().decode("unicode_escape").encode("latin-1")


def read(path: Path) -> Dialogue:
    """Read one file; every line must begin with a mark."""
    dialogue = Dialogue()
    said, expected = b"", b""
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
        mark, text = line[:2], line[3:]
        if mark in ("C:", "C-") and expected:
            dialogue.turns.append((said, expected))
            said, expected = b"", b""
        if mark in ("C:", "C-"):
            said += _bytes(text) + (b"\r\n" if mark == "C:" else b"")
        elif mark == "C!":
            dialogue.ends_stream = True
        elif mark == "S:":
            expected += text.encode() + b"\r\n"
        elif mark == "P:":
            event, _, answer = text.partition(" ")
            dialogue.policy.append((event, answer))
        elif mark in ("K:", "K-"):
            dialogue.kept += _bytes(text) + (b"\r\n" if mark == "K:" else b"")
        elif mark == "A:":
            dialogue.aborts.append(text)
        elif mark == "Q:":
            dialogue.end = text
        elif line.startswith("# config:"):
            dialogue.settings.append(line.removeprefix("# config:").strip())
        else:
            assert not line or line.startswith("#"), f"{path.name}:{number}: what is this?"
    dialogue.turns.append((said, expected))
    return dialogue


def _driver(dialogue: Dialogue) -> Driver:
    return Driver(session_of(view_of(*dialogue.settings)), dialogue.policy)


def _check_outcome(dialogue: Dialogue, driver: Driver, played: Played) -> None:
    assert b"".join(played.kept) == dialogue.kept
    assert [str(reply) if reply else "-" for reply in played.aborts] == dialogue.aborts
    assert played.end == dialogue.end
    assert not driver.policy, "policy was not asked"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_in_turns(path: Path) -> None:
    dialogue = read(path)
    driver = _driver(dialogue)
    banner = driver.begin()
    for said, expected in dialogue.turns:
        answer = driver.feed(said) if said else b""
        if dialogue.ends_stream and (said, expected) == dialogue.turns[-1]:
            answer += driver.feed(b"")
        assert (banner + answer).decode() == expected.decode()
        banner = b""
    _check_outcome(dialogue, driver, driver.played)


@pytest.mark.parametrize("size", [0, 1], ids=["whole", "byte-by-byte"])
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_in_one_stream(path: Path, size: int) -> None:
    dialogue = read(path)
    driver = _driver(dialogue)
    driver.begin()
    stream = b"".join(said for said, _ in dialogue.turns)
    if size:
        driver.feed(*(stream[start : start + size] for start in range(0, len(stream), size)))
    elif stream:
        driver.feed(stream)
    if dialogue.ends_stream:
        driver.feed(b"")
    assert driver.played.sent.decode() == b"".join(expected for _, expected in dialogue.turns).decode()
    _check_outcome(dialogue, driver, driver.played)


def test_there_are_dialogues() -> None:
    assert len(FILES) > 30
