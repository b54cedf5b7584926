"""The Datasource stanza, and what a stanza that asks one says: query, cache, map.

Source: reference/policy-and-context.md section 4 (ds_core, auth_ds, alias).
"""

from __future__ import annotations

import codecs
import re

from gsmtp.config import kinds
from gsmtp.config.diagnostics import Problems
from gsmtp.config.kinds import Kind
from gsmtp.config.module import declare_module
from gsmtp.config.option import Option, declare
from gsmtp.config.pools import predefined_pool
from gsmtp.config.stanza import Name, NameKind, Stanza, declare_stanza
from gsmtp.config.suggest import did_you_mean
from gsmtp.config.tree import Array, Scope, Setting
from gsmtp.datasource.driver import split_uri
from gsmtp.datasource.statement import parameter_names

_DATASOURCE = ("datasource",)
_SOURCE = "Momentum: ds_core module"

DS_CORE = declare_module("ds_core", "The module that asks Datasources; there is nothing to set but Enabled.")

DATASOURCE = declare_stanza(
    Stanza(
        "Datasource",
        Name.REQUIRED,
        ("global",),
        "A named cache over one data base, or several that hold the same.",
        NameKind.CASE,
        needs={"uri": 'uri = ( "sqlite:/path/to/file" )'},
    )
)


def root_of(scope: Scope) -> Scope:
    """The root of a scope's tree."""
    while scope.parent is not None:
        scope = scope.parent
    return scope


def _examine_uri(value: tuple[str, ...], setting: Setting, scope: Scope, problems: Problems) -> None:
    items = setting.value.items if isinstance(setting.value, Array) else (setting.value,)
    if not value:
        problems.error(setting.value.span, f"{setting.spelled} names no data base", code="bad-value")
    for text, item in zip(value, items, strict=True):
        try:
            split_uri(text)
        except ValueError as error:
            problems.error(
                item.span,
                f"value '{without_secrets(text)}' is not valid for option '{setting.spelled}': {error}",
                hint="write sqlite:/path/to/file or pgsql:host=db.example.com;dbname=mail;user=gsmtp",
                code="bad-value",
            )


def without_secrets(uri: str) -> str:
    """A URI as it may be shown.

    >>> without_secrets("pgsql:host=db;password=x;user=u")
    'pgsql:host=db;password=…;user=u'
    """
    uri = re.sub(r"(?i)\b(password|pwd)\s*=\s*('(?:[^'\\]|\\.)*'|[^;\s&]*)", r"\1=…", uri)
    return re.sub(r"(://[^/@:]*):[^/@]*@", r"\1:…@", uri)


URI: Option[tuple[str, ...]] = declare(
    Option(
        name="URI",
        kind=kinds.strings,
        default=(),
        scopes=_DATASOURCE,
        doc="Data bases that answer alike, asked in turn: ``sqlite:/path`` or ``pgsql:host=…;dbname=…;user=…``. One "
        "that can't be reached is passed over.",
        source=_SOURCE,
        examine=_examine_uri,
    )
)

CACHE_LIFE: Option[int] = declare(
    Option(
        name="Cache_Life",
        kind=kinds.seconds,
        default=3600,
        scopes=_DATASOURCE,
        unit="seconds",
        doc="How long a result is kept.",
        source=_SOURCE,
    )
)

CACHE_SIZE: Option[int] = declare(
    Option(
        name="Cache_Size",
        kind=kinds.count,
        default=1000,
        scopes=_DATASOURCE,
        doc="Results kept at the most; the least used go first.",
        source=_SOURCE,
    )
)

MAX_ROWS: Option[int] = declare(
    Option(
        name="Max_Rows",
        kind=kinds.integer_between(-1),
        default=100,
        scopes=_DATASOURCE,
        doc="Rows of a result that are used; -1 for all.",
        source=_SOURCE,
    )
)

NO_CACHE: Option[bool] = declare(
    Option(
        name="No_Cache",
        kind=kinds.boolean,
        default=False,
        scopes=_DATASOURCE,
        doc="Whether the data base is asked each time.",
        source=_SOURCE,
    )
)


def _examine_pool(value: str, setting: Setting, scope: Scope, problems: Problems) -> None:
    names = [one.spelled or "" for one in root_of(scope).all("threadpool")]
    if predefined_pool(value) is None and value.lower() not in (name.lower() for name in names):
        problems.warning(
            setting.value.span,
            f'ThreadPool "{value}" of {scope} is not defined: 8 threads are used',
            hint=did_you_mean(value, names) or f'add ThreadPool "{value}" {{ Concurrency = 4 }}',
            code="unknown-pool",
        )


POOL: Option[str] = declare(
    Option(
        name="Pool",
        kind=kinds.line,
        default="IO",
        scopes=_DATASOURCE,
        doc="The ThreadPool whose Concurrency says how many native threads, and so connections, may ask this data base "
        "at one time; 8 where it says nothing. They are the datasource's own: one that hangs holds up nothing else.",
        source=_SOURCE,
        examine=_examine_pool,
    )
)

SERIALIZED: Option[bool] = declare(
    Option(
        name="Serialized",
        kind=kinds.boolean,
        default=True,
        scopes=_DATASOURCE,
        doc="Whether results are published to the other machines of a cluster.",
        source=_SOURCE,
        unserved="gsmtp forms no clusters: results are not published",
    )
)


def _charset(text: str) -> str:
    if text:
        try:
            codecs.lookup(text)
        except LookupError:
            raise ValueError("expected the name of a character set, such as iso-8859-1") from None
    return text


ASSUME_CHARSET: Option[str] = declare(
    Option(
        name="Assume_Charset",
        kind=Kind("charset", kinds.one(_charset), "the name of a character set"),
        default="",
        scopes=_DATASOURCE,
        doc="How text is decoded whose encoding the data base doesn't tell; empty for UTF-8.",
        source=_SOURCE,
    )
)

QUERY_TIMEOUT: Option[int] = declare(
    Option(
        name="Query_Timeout",
        kind=kinds.integer_between(1),
        default=10,
        scopes=_DATASOURCE,
        unit="seconds",
        doc="How long a query may take, waiting for a thread, connecting and failing over included.",
        source="gsmtp",
        ours=True,
    )
)

# --- stanzas that ask -----------------------------------------------------------------------------

_QUESTION = {"query": 'query = "SELECT …"', "cache": 'cache = "DATASOURCE"'}

SCHEME = declare_stanza(
    Stanza(
        "Scheme",
        Name.REQUIRED,
        ("auth_ds", "alias"),
        'A named way to ask a Datasource: for logins (``uri = "NAME://"``) or for aliases (Alias_Schemes).',
        NameKind.CASE,
    )
)
AUTHENTICATE = declare_stanza(
    Stanza("Authenticate", Name.NONE, ("scheme",), "How a scheme of auth_ds judges a login.", needs=_QUESTION)
)
QUERY_GROUPS = declare_stanza(
    Stanza(
        "QueryGroups", Name.NONE, ("scheme",), "How a scheme of auth_ds finds the groups of a user.", needs=_QUESTION
    )
)
ENUM_GROUPS = declare_stanza(
    Stanza("EnumGroups", Name.NONE, ("scheme",), "How a scheme of auth_ds finds all groups.", needs=_QUESTION)
)

_ASKING = ("authenticate", "querygroups", "enumgroups", "scheme")
_ASKING_SOURCE = "Momentum: auth_ds and alias modules"

MACROS = {
    "authenticate": ("username", "password", "crypt", "realm", "nonce", "uri", "digest-uri"),
    "querygroups": ("username", "uri"),
    "enumgroups": ("uri",),
    "scheme": ("rcptto", "localpart", "domain"),
}
"""What ``%{…}`` may name in the map of each stanza."""

MACRO = re.compile(r"%\{([^}]*)\}")


def examine_datasource(value: str, setting: Setting, scope: Scope, problems: Problems) -> None:
    """Refuse the name of a Datasource that the file doesn't have."""
    names = [one.spelled or "" for one in root_of(scope).all("datasource")]
    if value not in names:
        problems.error(
            setting.value.span,
            f"datasource '{value}' is not defined",
            hint=did_you_mean(value, names) or f'add Datasource "{value}" {{ uri = ( "sqlite:/path/to/file" ) }}',
            code="unknown-datasource",
        )


def _examine_query(value: str, setting: Setting, scope: Scope, problems: Problems) -> None:
    if scope.kind == "scheme" and scope.parent is not None and scope.parent.kind == "auth_ds":
        problems.error(
            setting.span,
            f"{setting.spelled} can't stand right in a Scheme of auth_ds",
            hint="put it in Authenticate { }, QueryGroups { } or EnumGroups { }",
            code="misplaced-option",
        )
    given = scope.settings.get("map")
    known = set(kinds.dictionary.parse(given.value)) if given is not None and _is_dictionary(given) else set()
    missing = [name for name in parameter_names(value) if name not in known]
    if missing:
        problems.error(
            setting.value.span,
            f"the query names :{', :'.join(missing)}, which map doesn't set",
            hint=f'write map = [ {missing[0]} = "%{{{MACROS[scope.kind][0]}}}" ]',
            code="unknown-parameter",
        )


def _is_dictionary(setting: Setting) -> bool:
    try:
        kinds.dictionary.parse(setting.value)
    except ValueError:
        return False
    return True


def _examine_map(value: dict[str, str], setting: Setting, scope: Scope, problems: Problems) -> None:
    allowed = MACROS[scope.kind]
    for text in value.values():
        for name in MACRO.findall(text):
            if name not in allowed:
                problems.error(
                    setting.value.span,
                    f"%{{{name}}} is not known here",
                    hint="there are " + ", ".join(f"%{{{one}}}" for one in allowed),
                    code="unknown-macro",
                )


QUERY: Option[str] = declare(
    Option(
        name="Query",
        kind=kinds.string,
        default="",
        scopes=_ASKING,
        doc="The query, with ``:name`` where a value of Map belongs.",
        source=_ASKING_SOURCE,
        examine=_examine_query,
    )
)

CACHE: Option[str] = declare(
    Option(
        name="Cache",
        kind=kinds.line,
        default="",
        scopes=_ASKING,
        doc="The Datasource that is asked.",
        source=_ASKING_SOURCE,
        examine=examine_datasource,
    )
)

MAP: Option[dict[str, str]] = declare(
    Option(
        name="Map",
        kind=kinds.dictionary,
        default={},
        scopes=_ASKING,
        doc='The query\'s parameters: ``name = "%{username}"``. For a login: ``%{username}``, ``%{password}``, '
        "``%{crypt}``, ``%{realm}``, ``%{nonce}``, ``%{digest-uri}``, ``%{uri}``; for an alias: ``%{rcptto}``, "
        "``%{localpart}``, ``%{domain}``.",
        source=_ASKING_SOURCE,
        examine=_examine_map,
    )
)
