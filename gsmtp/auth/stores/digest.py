"""``digest:///path``: ``user:realm:hash`` lines as htdigest writes them; hash is hex MD5 of ``user:realm:password``.

With ``stored_cleartext`` the third field is the password. Source: reference/esmtp-listener.md section 11.2.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from hmac import compare_digest

from gsmtp.auth.lines import WatchedFile, entries, trouble
from gsmtp.auth.store import Source, Store, store
from gsmtp.auth.stores.file import path_of, prepared_name
from gsmtp.core.errors import ConfigError
from gsmtp.sasl.digest import password_digest
from gsmtp.sasl.need import Answer, CheckPassword, Need, Status

_HEX_MD5 = re.compile(rb"[0-9A-Fa-f]{32}")
_USABLE_FOR = ("DIGEST-MD5", "PLAIN", "LOGIN", "")

Digests = dict[tuple[str, str], bytes]


def read_digests(data: bytes) -> Digests:
    """Third fields by user and realm; of two lines for one of them the first counts."""
    found: Digests = {}
    for _, line in entries(data):
        parts = line.split(b":", 2)
        if len(parts) == 3 and parts[0]:
            found.setdefault((prepared_name(parts[0]), parts[1].decode("utf-8", "surrogateescape")), parts[2])
    return found


class DigestStore:
    """A file of digests.

    Args:
        path: of the file.
        realm: of the users that may log in.
        is_clear: ``stored_cleartext``.
    """

    is_green = False

    def __init__(self, path: str, realm: str, *, is_clear: bool) -> None:
        self._file = WatchedFile(path, read_digests)
        self._realm = realm
        self._is_clear = is_clear

    def answer(self, need: Need, deadline_mono: float) -> Answer:
        """See `Store.answer`. A password (PLAIN, LOGIN) is digested and compared."""
        try:
            found = self._file.content().get((need.user, self._realm)) or None  # an empty field lets nobody in
        except OSError as error:
            return Answer(Status.ERROR, reason=trouble(self._file.path, error))
        secret = found or b"0" * 32
        if self._is_clear:
            secret = password_digest(need.user, self._realm, secret).encode()
        elif _HEX_MD5.fullmatch(secret) is None:
            return Answer(Status.ERROR, reason=f"{self._file.path}: the hash of {need.user} is damaged")
        if not isinstance(need, CheckPassword):
            if found is None or need.realm != self._realm:
                return Answer(Status.FAIL, reason="unknown user or realm")
            return Answer(Status.PASS, secret.lower())
        is_same = compare_digest(password_digest(need.user, self._realm, need.password).encode(), secret.lower())
        if found is None:
            return Answer(Status.FAIL, reason="unknown user")
        return Answer(Status.PASS) if is_same else Answer(Status.FAIL, reason="wrong password")

    def warnings(self) -> Iterator[str]:
        """What is odd about the file now."""
        try:
            content = self._file.content()
        except OSError as error:
            yield f"{trouble(self._file.path, error)}; until it can be read every login gets 454"
            return
        if content and not any(realm == self._realm for _, realm in content):
            realms = ", ".join(sorted({realm for _, realm in content})[:3])
            yield f"{self._file.path} has no user of the realm {self._realm} (there are {realms})"

    def close(self) -> None:
        """Nothing is open."""


@store("digest")
def open_digest(source: Source) -> Store:
    """Open a file of digests."""
    if source.mechanism not in _USABLE_FOR:
        raise ConfigError(f"digest:// holds no passwords that {source.mechanism} can use: use file://")
    return DigestStore(path_of(source), source.realm, is_clear=source.is_true("stored_cleartext"))
