"""A credential store to copy: ``skeleton://user`` knows one user. The underscore keeps this file from loading."""

from __future__ import annotations

from hmac import compare_digest

from gsmtp.auth.store import Source, Store, store
from gsmtp.sasl.need import Answer, CheckPassword, Need, Status


class SkeletonStore:
    """Lets the user of ``skeleton://user`` in, whose password is the parameter ``password``."""

    is_green = False

    def __init__(self, user: str, password: bytes) -> None:
        self._user = user
        self._password = password

    def answer(self, need: Need, deadline_mono: float) -> Answer:
        """See `Store.answer`."""
        if not isinstance(need, CheckPassword):
            return Answer(Status.PASS if need.user == self._user else Status.FAIL, self._password)
        is_same = compare_digest(need.password, self._password)
        return Answer(Status.PASS if is_same and need.user == self._user else Status.FAIL)

    def close(self) -> None:
        """Nothing is open."""


@store("skeleton")
def open_skeleton(source: Source) -> Store:
    """Take the parameters."""
    return SkeletonStore(source.rest, source.parameters.get("password", "").encode())
