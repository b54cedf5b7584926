"""Logins judged by a data base: ``auth_ds { Scheme "s" { Authenticate { … } } }``, used as ``uri = "s://"``.

Either the query returns the stored password (``returns_password``), which is compared here, or it judges by itself:
a login is good when column 1 of row 1 is a number other than 0. Mechanisms that work on a challenge need the first,
and passwords stored as clear text (or, for DIGEST-MD5, as ``digest-md5``). A user who isn't there costs the same
comparison as one who is. QueryGroups and EnumGroups answer the console's authorization.

Source: reference/policy-and-context.md section 4 (auth_ds).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gsmtp.auth.store import Source, Store, store_family
from gsmtp.auth.stored_types import TYPES, Login, digest_md5_secret
from gsmtp.config import kinds
from gsmtp.config.diagnostics import Problems
from gsmtp.config.kinds import Kind
from gsmtp.config.module import declare_module
from gsmtp.config.option import Option, declare
from gsmtp.config.scopes import Configuration
from gsmtp.config.stanza import Name
from gsmtp.config.tree import Scope, Setting, Value
from gsmtp.config.view import View
from gsmtp.core.errors import ConfigError
from gsmtp.datasource.question import Question
from gsmtp.datasource.result import DatasourceError, Result
from gsmtp.sasl.need import Answer, CheckPassword, FetchSecret, Need, ScramSecret, Status
from gsmtp.sasl.scram import make_secret, salt_for

_SOURCE = "Momentum: auth_ds module"
_AUTHENTICATE = ("authenticate",)
_HEX_MD5 = re.compile(rb"[0-9a-f]{32}")
_GROUPS = ("querygroups", "enumgroups")

ENABLED = declare_module("auth_ds", "Logins judged by data bases: holds Scheme stanzas.", Name.NONE)


def _type(text: str) -> str:
    if text and text.lower() not in TYPES:
        raise ValueError("expected one of " + ", ".join(TYPES))
    return text.lower()


def _type_map(value: Value) -> dict[str, str]:
    return {key: _type(text) for key, text in kinds.dictionary.parse(value).items()}


RETURNS_PASSWORD: Option[bool] = declare(
    Option(
        name="Returns_Password",
        kind=kinds.boolean,
        default=False,
        scopes=_AUTHENTICATE,
        doc="Whether the query returns the stored password. If not, a login is good when column 1 of row 1 is a number "
        "other than 0.",
        source=_SOURCE,
    )
)

PASSWORD_COLUMN: Option[str] = declare(
    Option(
        name="Password_Column",
        kind=kinds.line,
        default="",
        scopes=_AUTHENTICATE,
        doc="The column that holds the password; the first one where nothing is said.",
        source=_SOURCE,
    )
)


def _examine_type(value: str, setting: Setting, scope: Scope, problems: Problems) -> None:
    if "type_column" in scope.settings:
        problems.warning(
            setting.span,
            f"{setting.spelled} is for rows whose type_column is empty",
            hint="leave one of them out",
            code="both-set",
        )


TYPE: Option[str] = declare(
    Option(
        name="Type",
        kind=Kind("type of password", kinds.one(_type), "one of " + ", ".join(TYPES)),
        default="clear",
        scopes=_AUTHENTICATE,
        doc="How passwords are stored: " + ", ".join(TYPES) + ".",
        source=_SOURCE,
        examine=_examine_type,
    )
)

TYPE_COLUMN: Option[str] = declare(
    Option(
        name="Type_Column",
        kind=kinds.line,
        default="",
        scopes=_AUTHENTICATE,
        doc="The column that says how the password of the row is stored, in the words of Type_Map.",
        source=_SOURCE,
    )
)

TYPE_MAP: Option[dict[str, str]] = declare(
    Option(
        name="Type_Map",
        kind=Kind("dictionary of types", _type_map, "pairs in [ ] such as [ C = clear H = sha1_hex ]"),
        default={},
        scopes=_AUTHENTICATE,
        doc="What the values of Type_Column stand for. A value that isn't in it is the name of a type.",
        source=_SOURCE,
    )
)

GROUP_COLUMN: Option[str] = declare(
    Option(
        name="Group_Column",
        kind=kinds.line,
        default="",
        scopes=_GROUPS,
        doc="The column that holds the names of groups; the first one where nothing is said.",
        source=_SOURCE,
    )
)

_CRYPT = {"CRAM-MD5": "hmac_md5", "DIGEST-MD5": "digest-md5"}
"""``%{crypt}`` by mechanism; all others send the password as it is."""


@dataclass(frozen=True, slots=True)
class _Groups:
    question: Question
    column: str

    @classmethod
    def of(cls, scheme: Scope, kind: str) -> _Groups | None:
        scope = scheme.get(kind)
        if scope is None:
            return None
        view = View((scope,))
        return cls(Question.of(view), view[GROUP_COLUMN])


class SchemeStore:
    """One scheme, for one mechanism.

    Args:
        scheme: its stanza.
        source: what it is opened for.
    """

    is_green = True

    def __init__(self, scheme: Scope, source: Source) -> None:
        self._datasources = source.datasources
        self._in_native = source.in_native
        self._uri = source.uri
        self._realm = source.realm
        authenticate = scheme.get("authenticate")
        self._view = View((authenticate,)) if authenticate is not None else None
        self._question = Question.of(self._view) if self._view is not None else None
        self._groups = _Groups.of(scheme, "querygroups")
        self._all_groups = _Groups.of(scheme, "enumgroups")

    def answer(self, need: Need, deadline_mono: float) -> Answer:
        """See `Store.answer`."""
        if self._question is None or self._view is None:
            return Answer(Status.ERROR, reason=f"{self._uri} has no Authenticate stanza")
        returns_password = self._view[RETURNS_PASSWORD]
        if not returns_password and not isinstance(need, CheckPassword):
            return Answer(Status.ERROR, reason=f"{need.mechanism} needs a query that returns the password")
        try:
            result = self._question.ask(self._datasources, self._macros(need))
            if not returns_password:
                good = _is_true(result.first()) if result.rows else False
                return Answer(Status.PASS if good else Status.FAIL, reason="" if good else "the query says no")
            stored, kind = self._stored(result)
            if isinstance(need, CheckPassword):
                return self._compare(need, stored, kind)
            return self._secret(need, stored, kind)
        except DatasourceError as error:
            return Answer(Status.ERROR, reason=str(error))

    def _macros(self, need: Need) -> dict[str, str]:
        macros = {
            "username": need.user,
            "crypt": _CRYPT.get(need.mechanism, "clear"),
            "realm": self._realm,
            "uri": self._uri,
        }
        if isinstance(need, CheckPassword):
            macros["password"] = need.password.decode("utf-8", "surrogateescape")
        else:
            macros["realm"] = need.realm or self._realm
            macros["nonce"] = need.details.get("nonce", "")
            macros["digest-uri"] = need.details.get("uri", "")
        return macros

    def _stored(self, result: Result) -> tuple[str | None, str]:
        """The stored password (None when there is none) and its type. Raises DatasourceError."""
        view = self._view
        assert view is not None
        if not result.rows:
            return None, next(iter(view[TYPE_MAP].values()), view[TYPE])
        stored = result.first(view[PASSWORD_COLUMN]) or None  # an empty password lets nobody in
        kind = view[TYPE]
        if view[TYPE_COLUMN]:
            written = result.first(view[TYPE_COLUMN])
            if written:
                kind = view[TYPE_MAP].get(written, written.lower())
        if kind not in TYPES:
            raise DatasourceError(f"the type of the stored password is '{kind}', which type_map doesn't know")
        return stored, kind

    def _compare(self, need: CheckPassword, stored: str | None, kind: str) -> Answer:
        login = Login(need.user, self._realm, need.password)
        try:
            good = self._in_native(TYPES[kind], login, stored if stored is not None else _DUMMIES[kind])
        except ValueError as error:
            if stored is None:
                return Answer(Status.FAIL, reason="no such user")
            return Answer(Status.ERROR, reason=f"what is stored for the user is no {kind}: {error}")
        if stored is None:
            return Answer(Status.FAIL, reason="no such user")
        return Answer(Status.PASS) if good else Answer(Status.FAIL, reason="wrong password")

    def _secret(self, need: FetchSecret, stored: str | None, kind: str) -> Answer:
        login = Login(need.user, need.realm or self._realm, (stored or "").encode("utf-8", "surrogateescape"))
        secret: bytes | ScramSecret | None = None
        if need.kind == "digest-md5" and kind == "digest-md5":
            secret = login.password.strip().lower()
            if stored is not None and _HEX_MD5.fullmatch(secret) is None:
                return Answer(Status.ERROR, reason=f"what is stored for the user is no {kind}")
        elif kind == "clear" and need.kind == "cleartext":
            secret = login.password
        elif kind == "clear" and need.kind == "digest-md5":
            secret = digest_md5_secret(login)
        elif kind == "clear" and need.kind == "scram-sha-256":
            secret = self._in_native(make_secret, login.password, salt_for(need.user))
        if stored is None:
            return Answer(Status.FAIL, reason="no such user")
        if secret is None:
            return Answer(Status.FAIL, reason=f"{need.mechanism} can't be computed from a password stored as {kind}")
        return Answer(Status.PASS, secret)

    def roles(self, user: str, deadline_mono: float) -> tuple[str, ...]:
        """See `RoleStore.roles`."""
        return self._names(self._groups, {"username": user, "uri": self._uri})

    def all_roles(self, deadline_mono: float) -> tuple[str, ...]:
        """See `RoleStore.all_roles`."""
        return self._names(self._all_groups, {"uri": self._uri})

    def _names(self, groups: _Groups | None, macros: Mapping[str, str]) -> tuple[str, ...]:
        if groups is None:
            return ()
        try:
            result = groups.question.ask(self._datasources, macros)
            return tuple(name for name in result.column(groups.column) if name) if result.rows else ()
        except DatasourceError as error:
            raise OSError(str(error)) from None

    def close(self) -> None:
        """Nothing of its own is open."""


def _is_true(value: str | None) -> bool:
    """Whether a column is a number other than 0."""
    try:
        return float(value or "0") != 0.0
    except ValueError:
        return (value or "").lower() in ("t", "true")


_DUMMIES = {
    "clear": "x" * 16,
    "digest-md5": "0" * 32,
    "hmac_md5": "0" * 64,
    "md5": "0" * 32,
    "md5_base64": "A" * 22 + "==",
    "md5_hex": "0" * 32,
    "rfc2307": "{ssha}" + "A" * 32,
    "sha1_base64": "A" * 27 + "=",
    "sha1_hex": "0" * 40,
    "smd5": "A" * 28,
    "ssha1": "A" * 32,
    "ucrypt": "$6$0123456789abcdef$" + "x" * 86,
}
"""What the password of an unknown user is compared with, so that the answer takes as long as for a known one."""


def _schemes(configuration: Configuration) -> Iterable[str]:
    return [
        scheme.spelled or ""
        for view in configuration.stanzas("auth_ds")
        if view[ENABLED]
        for scheme in view.chain[0].all("scheme")
    ]


@store_family(_schemes)
def open_scheme(source: Source) -> Store:
    """Open the scheme that a URI names, any case."""
    for stanza in source.configuration.tree.root.all("auth_ds"):
        for scheme in stanza.all("scheme"):
            if (scheme.spelled or "").lower() == source.scheme:
                return SchemeStore(scheme, source)
    raise ConfigError(f'auth_ds has no Scheme "{source.scheme}"')
