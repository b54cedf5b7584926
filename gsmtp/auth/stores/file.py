"""``file:///path``: one ``user:password`` a line, clear text or hashed (`auth.passwords`); ``#`` begins a comment line.

Split at the first colon; passwords are taken byte by byte, user names with their case. An unknown user costs what a
known one costs: the password is compared with an entry of the kind that is most frequent in the file.

Source: reference/esmtp-listener.md section 11.2.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from gsmtp.auth import passwords
from gsmtp.auth.lines import WatchedFile, entries, trouble
from gsmtp.auth.passwords import EXTRA, Stored, UnusablePassword, parse, scram_secret
from gsmtp.auth.store import Source, Store, store
from gsmtp.core.errors import ConfigError
from gsmtp.sasl.digest import password_digest
from gsmtp.sasl.need import Answer, CheckPassword, FetchSecret, Need, Status
from gsmtp.sasl.prep import saslprep
from gsmtp.sasl.scram import ITERATIONS, decoy_for, make_secret, salt_for

_HEX_MD5 = re.compile(rb"[0-9A-Fa-f]{32}")
_UNKNOWN = "unknown user"
_EMPTY = Stored("CLEAR", b"nobody's password")


@dataclass(slots=True)
class Users:
    """A file's content.

    Args:
        by_name: what stands behind the first colon.
        decoy: an entry of the most frequent kind, for those who aren't there.
        schemes: the schemes that occur.
        bad_lines: numbers of lines without a user or a password; an empty password is none, its user can't log in.
    """

    by_name: dict[str, bytes] = field(repr=False)
    decoy: Stored
    schemes: frozenset[str]
    bad_lines: tuple[int, ...]


def prepared_name(raw: bytes) -> str:
    """A user name of a file as it is looked up: in its SASLprep form where it has one (RFC 4013)."""
    name = raw.decode("utf-8", "surrogateescape")
    try:
        return saslprep(name)
    except ValueError:
        return name


def read_users(data: bytes) -> Users:
    """Read a file; of two lines for one user the first counts."""
    by_name: dict[str, bytes] = {}
    bad_lines: list[int] = []
    counts: Counter[tuple[str, bytes]] = Counter()
    samples: dict[tuple[str, bytes], Stored] = {}
    for number, line in entries(data):
        name, colon, password = line.partition(b":")
        if not colon or not name:
            bad_lines.append(number)
            continue
        user = prepared_name(name)
        if user in by_name:
            continue
        stored = parse(password)
        if not stored.value:
            by_name[user] = b""
            bad_lines.append(number)
            continue
        by_name[user] = password
        kind = stored.kind
        counts[kind] += 1
        samples.setdefault(kind, stored)
    usable = [kind for kind, _ in counts.most_common() if kind[0] in passwords.SCHEMES]
    decoy = samples[usable[0]] if usable else _EMPTY
    return Users(by_name, decoy, frozenset(kind[0] for kind in counts), tuple(bad_lines))


class FileStore:
    """A file of users.

    Args:
        path: of the file.
        realm: for DIGEST-MD5.
        has_clear_digests: ``stored_cleartext``: what stands there is the password, for DIGEST-MD5 too; else it is then
            the digest (`sasl.digest.password_digest`).
    """

    is_green = False

    def __init__(self, path: str, realm: str, *, has_clear_digests: bool) -> None:
        self._file = WatchedFile(path, read_users)
        self._realm = realm
        self._has_clear_digests = has_clear_digests

    def answer(self, need: Need, deadline_mono: float) -> Answer:
        """See `Store.answer`."""
        try:
            users = self._file.content()
        except OSError as error:
            return Answer(Status.ERROR, reason=trouble(self._file.path, error))
        text = users.by_name.get(need.user) or None
        try:
            if isinstance(need, CheckPassword):
                return _check(need, text, users.decoy)
            if need.kind == "scram-sha-256":
                return _scram(need, text, users.decoy)
            return self._secret(need, text)
        except UnusablePassword as error:
            return Answer(Status.ERROR, reason=f"{self._file.path}: password of {need.user}: {error}")

    def _secret(self, need: FetchSecret, text: bytes | None) -> Answer:
        if text is None:
            return Answer(Status.FAIL, reason=_UNKNOWN)
        if need.kind == "digest-md5" and not self._has_clear_digests:
            if _HEX_MD5.fullmatch(text) is None:
                return Answer(Status.FAIL, reason='not a digest: stored_cleartext = "true" is for passwords')
            return Answer(Status.PASS, text.lower())
        stored = parse(text)
        if not stored.is_clear:
            return Answer(Status.FAIL, reason=f"stored as {stored.scheme}, and {need.mechanism} needs clear text")
        if need.kind == "digest-md5":
            return Answer(Status.PASS, password_digest(need.user, need.realm or self._realm, stored.value).encode())
        return Answer(Status.PASS, stored.value)

    def warnings(self) -> Iterator[str]:
        """What is odd about the file now. Raises ConfigError when it needs a package that isn't installed."""
        try:
            users = self._file.content()
        except OSError as error:
            yield f"{trouble(self._file.path, error)}; until it can be read every login gets 454"
            return
        for scheme in sorted(users.schemes):
            known = passwords.SCHEMES.get(scheme)
            if known is None:
                yield f"{self._file.path}: unknown password scheme {{{scheme}}}: those users can't log in"
            elif not passwords.is_installed(scheme):
                raise ConfigError(f"{self._file.path} holds {scheme} passwords: pip install {EXTRA}")
        if users.bad_lines:
            yield f"{self._file.path}:{users.bad_lines[0]}: no user:password; {len(users.bad_lines)} such lines"

    def close(self) -> None:
        """Nothing is open."""


def _check(need: CheckPassword, text: bytes | None, decoy: Stored) -> Answer:
    if text is None:
        passwords.check(decoy, need.password)
        return Answer(Status.FAIL, reason=_UNKNOWN)
    if passwords.check(parse(text), need.password):
        return Answer(Status.PASS)
    return Answer(Status.FAIL, reason="wrong password")


def _scram(need: FetchSecret, text: bytes | None, decoy: Stored) -> Answer:
    stored = parse(text) if text is not None else None
    if stored is not None and stored.scheme == "SCRAM-SHA-256":
        return Answer(Status.PASS, scram_secret(stored))
    if stored is not None and stored.is_clear:
        return Answer(Status.PASS, make_secret(stored.value, salt_for(need.user), ITERATIONS))
    # whoever can't log in gets to see what most of those who can get to see, and costs as much
    reason = _UNKNOWN if stored is None else f"stored as {stored.scheme}: SCRAM can't use it"
    if decoy.scheme == "SCRAM-SHA-256":
        usual = scram_secret(decoy)
        return Answer(Status.FAIL, decoy_for(need.user, usual.iterations, len(usual.salt)), reason)
    if decoy.is_clear:
        make_secret(decoy.value, salt_for(need.user), ITERATIONS)
    return Answer(Status.FAIL, decoy_for(need.user), reason)


def path_of(source: Source) -> str:
    """The path of a URI. Raises ConfigError unless it is absolute."""
    if not source.rest.startswith("/"):
        raise ConfigError(f"{source.uri} is not of the form {source.scheme}:///path")
    return source.rest


@store("file")
def open_file(source: Source) -> Store:
    """Open a file of users."""
    return FileStore(path_of(source), source.realm, has_clear_digests=source.is_true("stored_cleartext"))
