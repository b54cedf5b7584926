"""The hard gate: is every message that was confirmed to a client in the spool, and nothing else?

Users write down what they are told, one line each into a file that outlives them: a message *began* when its text and
end were about to go out, and it was *confirmed* with an id, or *refused*. What only began has had its reply cut off;
nobody can know what became of it (RFC 1047), so it may be in the spool or not. Every transaction has a reverse-path of
its own, by which what is in the spool is told from what nobody was told of.
"""

from __future__ import annotations

import itertools
import json
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gsmtp.spool import schema
from gsmtp.spool.inspect import Inspector, NoSpool
from loadtest.smtp_client import Delivery, SmtpClient

SHOWN = 5
_NAME = schema.DATABASE


class Ledger:
    """What one process of users was told.

    Args:
        path: the file; lines are appended. None: nothing is written.
    """

    def __init__(self, path: Path | None) -> None:
        self._descriptor: int | None = None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._numbers = itertools.count(1)
        self._prefix = f"{os.getpid():x}.{os.urandom(4).hex()}"

    def token(self) -> str:
        """A name for a transaction that no other has; the local part of its reverse-path."""
        return f"{self._prefix}.{next(self._numbers):x}"

    def began(self, token: str, recipients: int) -> None:
        """The text and its end are about to go out; so many recipients were taken."""
        self._write({"token": token, "recipients": recipients})

    def confirmed(self, token: str, message_id: str) -> None:
        """The server said 250 with that id."""
        self._write({"token": token, "id": message_id})

    def refused(self, token: str, code: int) -> None:
        """The server said that it doesn't keep the message."""
        self._write({"token": token, "code": code})

    def deliver(
        self, client: SmtpClient, recipients: Sequence[str], wire: Callable[[str], bytes], parameters: str = ""
    ) -> Delivery:
        """One transaction with all of this noted; `wire` makes the text from the token. Raises Disconnected."""
        token = self.token()
        delivery = client.deliver(
            f"{token}@load.example",
            recipients,
            wire(token),
            parameters=parameters,
            before_end=lambda accepted: self.began(token, accepted),
        )
        if delivery.final is not None and delivery.accepted:
            if delivery.final.is_good:
                self.confirmed(token, delivery.message_id)
            else:
                self.refused(token, delivery.final.code)
        return delivery

    def _write(self, entry: dict[str, object]) -> None:
        if self._descriptor is not None:
            os.write(self._descriptor, json.dumps(entry).encode() + b"\n")

    def close(self) -> None:
        """No more lines."""
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = None


@dataclass
class Account:
    """What clients know.

    Args:
        confirmed: message ids by token.
        recipients: how many were taken, by token.
        refused: tokens of messages that the server said it doesn't keep.
    """

    confirmed: dict[str, str] = field(default_factory=dict)
    recipients: dict[str, int] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)

    @property
    def cut_off(self) -> set[str]:
        """Tokens of messages whose reply nobody read."""
        return set(self.recipients) - set(self.confirmed) - self.refused


def read_ledgers(folder: Path) -> Account:
    """All ``*.ledger`` files of a folder. A last line that is torn (its writer was killed) is passed over."""
    account = Account()
    for path in sorted(folder.glob("*.ledger")):
        for line in path.read_bytes().splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if "recipients" in entry:
                account.recipients[entry["token"]] = entry["recipients"]
            elif "id" in entry:
                account.confirmed[entry["token"]] = entry["id"]
            else:
                account.refused.add(entry["token"])
    return account


@dataclass(frozen=True, slots=True)
class Stored:
    """A message in the spool.

    Args:
        message_id: its id.
        token: local part of its reverse-path.
        recipients: how many it has.
    """

    message_id: str
    token: str
    recipients: int


def read_spools(base: Path) -> list[Stored]:
    """The messages of the spool in a folder, and of those below it (of several processes)."""
    found: list[Stored] = []
    for database in sorted(base.rglob(_NAME)):
        try:
            inspector = Inspector(str(database.parent))
        except NoSpool:
            continue
        try:
            for message in inspector.messages():
                envelope = message.envelope
                token = envelope.reverse_path.partition("@")[0]
                found.append(Stored(envelope.message_id, token, len(message.recipients)))
        finally:
            inspector.close()
    return found


@dataclass
class Verdict:
    """What the comparison found.

    Args:
        confirmed: ids that clients were told.
        stored: messages in the spool.
        cut_off: transactions whose reply nobody read.
        kept: of those, the ones that are in the spool: allowed, and explained by the cut.
        problems: what breaks the promise, one line each; the gate holds when there is none.
    """

    confirmed: int
    stored: int
    cut_off: int
    kept: int
    problems: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether what was promised is what there is."""
        return not self.problems

    def lines(self) -> list[str]:
        """For people."""
        text = [f"{self.confirmed} ids confirmed to clients, {self.stored} messages in the spool"]
        if self.cut_off:
            text.append(
                f"{self.cut_off} replies cut off (the client was gone before it read one): "
                f"{self.kept} of these messages are in the spool, which is allowed"
            )
        return [*text, *self.problems]


def compare(account: Account, stored: list[Stored]) -> Verdict:
    """Judge: none lost, none that nobody was told of, none twice, recipients as they were taken."""
    ids = Counter(one.message_id for one in stored)
    tokens = {one.message_id: one for one in stored}
    told = Counter(account.confirmed.values())
    cut_off = account.cut_off
    explained = [one for one in stored if one.message_id not in told and one.token in cut_off]
    verdict = Verdict(len(account.confirmed), len(stored), len(cut_off), len(explained))

    def note(what: str, names: list[str]) -> None:
        if names:
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            verdict.problems.append(f"{what}: {len(names)}: {', '.join(names[:SHOWN])}{more}")

    note("LOST (confirmed, not in the spool)", sorted(set(told) - set(ids)))
    surplus = [one for one in stored if one.message_id not in told and one.token not in cut_off]
    note("SURPLUS (in the spool, nobody was told)", [f"{one.message_id} from <{one.token}@…>" for one in surplus])
    note("told to two clients", [name for name, count in told.items() if count > 1])
    note("twice in the spool", [name for name, count in ids.items() if count > 1])
    wrong = [
        message_id
        for token, message_id in account.confirmed.items()
        if message_id in tokens and tokens[message_id].recipients != account.recipients.get(token)
    ]
    note("other recipients than were taken", wrong)
    return verdict
