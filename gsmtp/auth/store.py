"""What a credential store is, which URI schemes there are, and the stores that one configuration has opened.

A store is one file in `auth/stores/`: a function under ``@store("file")`` that opens what a URI names. How parameters
reach it: a configuration says ``AuthPlainParameters = [ uri = "file:///etc/users" log_authentication = "true" ]``;
the opener gets a `Source` with the whole dictionary (`Source.parameters`, keys in lower case), the mechanism it is for,
what follows ``scheme://`` (`Source.rest`) and the configuration. A scheme that a configuration itself defines
(``auth_ds { Scheme "s" { … } }``, used as ``s://``) is announced by ``@store_family(schemes)``.

Source: reference/esmtp-listener.md sections 11.1 and 11.2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

from gsmtp.config.suggest import did_you_mean
from gsmtp.core.errors import ConfigError
from gsmtp.core.registry import Registry

if TYPE_CHECKING:
    from gsmtp.config.scopes import Configuration
    from gsmtp.datasource.store import Datasources
    from gsmtp.sasl.need import Answer, Need


class Store(Protocol):
    """An opened back end. What it says of an unknown user must cost what it costs for a known one.

    Attributes:
        is_green: False: all calls but `close` come from native threads, several at a time: no gevent, no logging.
            True: they come from green threads (a store that asks Datasources, which wait so); what hashes passwords
            goes through `Source.in_native`.
    """

    is_green: bool

    def answer(self, need: Need, deadline_mono: float) -> Answer:
        """Answer a need; may block, and should give up with ERROR at `deadline_mono` (seconds of `time.monotonic`).

        Trouble of the back end is an Answer with ERROR and the reason for the log; an exception counts as one, too.
        """

    def close(self) -> None:
        """Let go of what is open. Called on the hub, when no session uses the configuration any more."""


@runtime_checkable
class RoleStore(Protocol):
    """A store that also knows roles, for ``AuthorizationParameters`` (reference/console-and-logs.md section 1.1)."""

    def roles(self, user: str, deadline_mono: float) -> tuple[str, ...]:
        """The groups that a user belongs to; called as `Store.answer`. Raises OSError when the back end can't tell."""

    def all_roles(self, deadline_mono: float) -> tuple[str, ...]:
        """The names of all groups there are; called as `Store.answer`. Raises OSError."""


@dataclass(frozen=True, slots=True)
class Source:
    """What an opener gets.

    Args:
        uri: as configured.
        scheme: in lower case.
        rest: what follows ``scheme://``, e.g. ``"/etc/gsmtp/users"``.
        parameters: the whole dictionary of the option, keys in lower case.
        mechanism: the mechanism that it is for, in upper case, e.g. ``"DIGEST-MD5"``; "" for roles of the console.
        realm: the configured one, else the server's host name.
        configuration: the one that is being prepared.
        datasources: of that configuration.
        in_native: runs a function with arguments in a native thread and waits in the calling green thread.
    """

    uri: str
    scheme: str
    rest: str
    parameters: Mapping[str, str]
    mechanism: str
    realm: str
    configuration: Configuration
    datasources: Datasources
    in_native: Callable[..., Any]

    def is_true(self, key: str) -> bool:
        """Whether a parameter is written as a true boolean; absent is false."""
        return self.parameters.get(key, "").lower() in _TRUE


_TRUE: Final = frozenset(("true", "on", "enabled", "yes", "1"))

Opener = Callable[[Source], Store]
"""Opens a store. Called once a (uri, parameters, mechanism) while a configuration is prepared, in a native thread or a
green one; raises ConfigError with a text that says what is wrong with the URI. A back end that doesn't answer at the
moment is no error: it may be there later, and `answer` says ERROR until then."""

Schemes = Callable[["Configuration"], Iterable[str]]

STORES: Registry[Opener] = Registry("credential store")
_FAMILIES: Registry[tuple[Schemes, Opener]] = Registry("family of credential stores")


def store(scheme: str) -> Callable[[Opener], Opener]:
    """Register the opener of a URI scheme."""

    def decorate(opener: Opener) -> Opener:
        return STORES.add(scheme, opener, opener.__module__)

    return decorate


def store_family(schemes: Schemes) -> Callable[[Opener], Opener]:
    """Register the opener of schemes that a configuration defines; `schemes` names them, any case."""

    def decorate(opener: Opener) -> Opener:
        _FAMILIES.add(opener.__module__, (schemes, opener), opener.__module__)
        return opener

    return decorate


def scheme_openers(configuration: Configuration) -> dict[str, Opener]:
    """All openers that a configuration may use, by scheme in lower case; a file's own scheme hides a built-in one."""
    openers = {name: opener for name in STORES.names() if (opener := STORES.get(name)) is not None}
    for schemes, opener in _FAMILIES:
        openers.update((name.lower(), opener) for name in schemes(configuration))
    return openers


def split_uri(uri: str) -> tuple[str, str]:
    """Scheme in lower case and what follows ``://``. Raises ConfigError when there is no ``://``."""
    scheme, separator, rest = uri.partition("://")
    if not separator or not scheme:
        raise ConfigError(f"uri = {uri!r} is not of the form scheme://…, e.g. file:///etc/gsmtp/users")
    return scheme.lower(), rest


class OpenedStores:
    """The stores of one configuration: each opened once, all closed together.

    Args:
        configuration: whose `auth_ds` schemes count.
        hostname: the default realm.
        datasources: of the configuration.
        in_native: as in `Source`.
    """

    def __init__(
        self, configuration: Configuration, hostname: str, datasources: Datasources, in_native: Callable[..., Any]
    ) -> None:
        self._configuration = configuration
        self._hostname = hostname
        self._datasources = datasources
        self._in_native = in_native
        self._openers = scheme_openers(configuration)
        self._opened: dict[tuple[str, str, frozenset[tuple[str, str]]], Store] = {}

    def open(self, parameters: Mapping[str, str], mechanism: str, hostname: str = "") -> Store:
        """The store that an ``Auth…Parameters`` dictionary names, opened when first asked for.

        Args:
            parameters: the dictionary, keys in any case.
            mechanism: in upper case.
            hostname: the default realm here, "" for the machine's.

        Raises:
            ConfigError: no uri, an unknown scheme, or its opener refuses.
        """
        mechanism = mechanism.removesuffix("-PLUS")
        lowered = {key.lower(): value for key, value in parameters.items()}
        uri = lowered.get("uri", "")
        if not uri:
            raise ConfigError('the dictionary needs a uri, e.g. uri = "file:///etc/gsmtp/users"')
        realm = lowered.get("realm") or hostname or self._hostname
        key = (mechanism, realm, frozenset(lowered.items()))
        opened = self._opened.get(key)
        if opened is None:
            scheme, rest = split_uri(uri)
            opener = self._openers.get(scheme)
            if opener is None:
                raise ConfigError(unknown_scheme(scheme, self._openers))
            source = Source(
                uri, scheme, rest, lowered, mechanism, realm, self._configuration, self._datasources, self._in_native
            )
            opened = self._opened[key] = opener(source)
        return opened

    def __iter__(self) -> Iterator[Store]:
        return iter(self._opened.values())

    def close(self) -> None:
        """Close all stores."""
        for opened in self._opened.values():
            opened.close()
        self._opened.clear()


def unknown_scheme(scheme: str, known: Iterable[str]) -> str:
    """What to say of a scheme that nobody registered."""
    names = sorted(known)
    hint = did_you_mean(scheme, names)
    there_are = ", ".join(f"{name}://" for name in names)
    return f"no credential store is called {scheme}:// (there are {there_are})" + (f"; {hint}" if hint else "")
