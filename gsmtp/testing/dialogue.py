"""A dialogue written down as text, played and compared: the shortest test of a policy."""

from __future__ import annotations

from gsmtp.testing.client import PolicyClient
from gsmtp.testing.server import AcceptedMessage, Policy, PolicyServer

_OPEN_ENDS = ("...", "…")


def play(
    policy: Policy,
    dialogue: str,
    *,
    config: dict[str, object] | None = None,
    conf: str = "",
    ip: str = "192.0.2.1",
    folder: str = ".",
) -> list[AcceptedMessage]:
    """Play a dialogue and give the messages that were accepted.

    Lines that begin with ``C:`` are sent; after ``C: DATA`` so is everything up to ``C: .``. Lines that begin with
    ``S:`` are what has to be heard: a whole line, its beginning when it ends in ``...``, or a code alone, which stands
    for a reply of any length. Blank lines and lines that begin with ``#`` mean nothing.

    Args:
        policy, config, conf, folder: as `PolicyServer`.
        dialogue: the lines; indentation that all share is taken away by the prefixes.
        ip: the client's address.

    Raises:
        AssertionError: something else was heard; the text shows what.
        ConfigError: the policy can't be loaded.
    """
    with PolicyServer(policy, config=config, conf=conf, folder=folder) as server:
        client = server.connect(ip)
        heard: list[str] = []
        shown: list[str] = []
        taken = 0
        for number, raw in enumerate(dialogue.splitlines(), 1):
            line = raw.strip()
            if not line or line.startswith("#"):
                continue
            side, _, text = line.partition(":")
            text = text.removeprefix(" ")
            if side == "C":
                if heard:
                    raise _mismatch(number, "nothing more", heard[0], shown)
                client.send(text.encode() + b"\r\n")
            elif side == "S":
                while not heard and taken < len(client.replies):
                    heard = client.replies[taken].split("\n")
                    taken += 1
                _hear(number, text, heard, shown)
            else:
                raise ValueError(f"line {number}: {line!r} begins with neither C: nor S:")
            shown.append(line)
        rest = heard or [one for reply in client.replies[taken:] for one in reply.split("\n")]
        if rest:
            raise _mismatch(len(dialogue.splitlines()), "nothing more", rest[0], shown)
        _leave(client)
        return server.accepted


def _leave(client: PolicyClient) -> None:
    if not client.is_closed:
        client.close()


def _hear(number: int, wanted: str, heard: list[str], shown: list[str]) -> None:
    """Compare with the next line of the open reply; a code alone takes all of it."""
    if not heard:
        raise _mismatch(number, wanted, "nothing", shown)
    first = heard[0]
    if len(wanted) == 3 and wanted.isdigit():
        if first[:3] != wanted:
            raise _mismatch(number, wanted, first, shown)
        heard.clear()
        return
    end = next((end for end in _OPEN_ENDS if wanted.endswith(end)), "")
    is_same = first.startswith(wanted.removesuffix(end)) if end else first == wanted
    if not is_same:
        raise _mismatch(number, wanted, first, shown)
    heard.pop(0)


def _mismatch(number: int, wanted: str, got: str, shown: list[str]) -> AssertionError:
    before = "".join(f"    {line}\n" for line in shown)
    return AssertionError(f"line {number} of the dialogue: expected {wanted!r}, heard {got!r}, after\n{before}")
