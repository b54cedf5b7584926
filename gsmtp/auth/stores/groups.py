"""``groups:///path``: who has which role on the console: ``group:u1,u2`` or ``group:unused:u1,u2`` lines.

Source: reference/esmtp-listener.md section 11.2, reference/console-and-logs.md section 1.1.
"""

from __future__ import annotations

from collections.abc import Mapping

from gsmtp.auth.lines import WatchedFile, entries
from gsmtp.auth.store import Source, Store, store
from gsmtp.auth.stores.file import path_of
from gsmtp.sasl.need import Answer, Need, Status

Groups = Mapping[str, tuple[str, ...]]


def read_groups(data: bytes) -> Groups:
    """Members by group; a group that stands in several lines has the members of all."""
    groups: dict[str, dict[str, None]] = {}
    for _, line in entries(data):
        fields = line.decode("utf-8", "surrogateescape").split(":")
        if len(fields) < 2 or not fields[0].strip():
            continue
        members = fields[2] if len(fields) > 2 else fields[1]
        names = (name.strip() for name in members.split(","))
        groups.setdefault(fields[0].strip(), {}).update(dict.fromkeys(name for name in names if name))
    return {group: tuple(members) for group, members in groups.items()}


class GroupStore:
    """A file of groups; a `RoleStore`. Nobody can log in by it."""

    is_green = False

    def __init__(self, path: str) -> None:
        self._file = WatchedFile(path, read_groups)

    def answer(self, need: Need, deadline_mono: float) -> Answer:
        """See `Store.answer`."""
        return Answer(Status.ERROR, reason="groups:// holds no passwords")

    def roles(self, user: str, deadline_mono: float) -> tuple[str, ...]:
        """The groups of a user, in file order. Raises OSError."""
        return tuple(group for group, members in self._file.content().items() if user in members)

    def all_roles(self, deadline_mono: float) -> tuple[str, ...]:
        """All groups, in file order. Raises OSError."""
        return tuple(self._file.content())

    def close(self) -> None:
        """Nothing is open."""


@store("groups")
def open_groups(source: Source) -> Store:
    """Open a file of groups."""
    return GroupStore(path_of(source))
