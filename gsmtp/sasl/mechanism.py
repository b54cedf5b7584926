"""What a SASL mechanism is: a generator that yields challenges and needs, gets responses and answers, and ends.

One file a mechanism in `sasl/mech/`::

    @mechanism("PLAIN", option="AuthPlainParameters", is_cleartext=True)
    def plain(setting: Setting) -> Exchange:
        response = yield from challenge(b"")
        answer = yield from ask(CheckPassword(user, password, "PLAIN"))
        return Outcome(answer.status, user)

The carrier (SMTP's AUTH, the console's login) does the framing: base64, initial responses, cancelling. A client that
breaks a mechanism's syntax has failed; that is no exception. Source: RFC 4422.
"""

from __future__ import annotations

import functools
import importlib
import os
import pkgutil
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Final

from gsmtp.core.registry import Registry
from gsmtp.sasl.need import Answer, Need, Status

DECOY_KEY: Final = os.urandom(32)
"""What salts for unknown users are derived from: the same for one user as long as the process lives."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """Data for the client; its response is sent into the generator.

    Args:
        data: not yet encoded.
    """

    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an exchange ended.

    Args:
        status: PASS only where `user` has proved who it is.
        user: the authentication identity, as claimed; "" when it never came to that.
        reason: for the log only; holds nothing that is secret.
    """

    status: Status
    user: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Setting:
    """Where an exchange takes place.

    Args:
        hostname: of the server.
        realm: for DIGEST-MD5.
        service: registered name of the protocol (RFC 4422 section 4).
        channel_bindings: of TLS, by type; empty without TLS.
        offered: mechanisms that the client was offered, in upper case.
        certified_user: whom a verified client certificate names, "" without one (EXTERNAL).
        random: gives so many random bytes.
    """

    hostname: str
    realm: str = ""
    service: str = "smtp"
    channel_bindings: Mapping[str, bytes] = field(default_factory=dict)
    offered: frozenset[str] = frozenset()
    certified_user: str = ""
    random: Callable[[int], bytes] = os.urandom


Exchange = Generator[Challenge | Need, bytes | Answer, Outcome]


@dataclass(frozen=True, slots=True)
class Mechanism:
    """One mechanism.

    Args:
        name: upper case (RFC 4422 section 3.1).
        run: begins an exchange.
        option: name of the option with its parameters, e.g. ``"AuthPlainParameters"``; "" when it needs no store.
        is_cleartext: whether the server sees the password, and so does who listens when there is no TLS.
        is_client_first: whether the client speaks first: its first yield is an empty Challenge, which is not sent when
            an initial response came with the command.
        needs_binding: whether it works only with a channel binding of TLS.
        needs_certificate: whether it works only with a client certificate.
    """

    name: str
    run: Callable[[Setting], Exchange]
    option: str = ""
    is_cleartext: bool = False
    is_client_first: bool = True
    needs_binding: bool = False
    needs_certificate: bool = False


MECHANISMS: Registry[Mechanism] = Registry("SASL mechanism")

Run = Callable[[Setting], Exchange]


@functools.cache
def load_mechanisms() -> Registry[Mechanism]:
    """Import the files of `gsmtp.sasl.mech` (those without a leading underscore) and return the registry.

    Harmless to call again; it makes the machines usable alone, without the wiring of the whole product.
    """
    from gsmtp.sasl import mech

    for module in pkgutil.iter_modules(mech.__path__):
        if not module.name.startswith("_"):
            importlib.import_module(f"{mech.__name__}.{module.name}")
    return MECHANISMS


def mechanism(
    name: str,
    *,
    option: str = "",
    is_cleartext: bool = False,
    is_client_first: bool = True,
    needs_binding: bool = False,
    needs_certificate: bool = False,
) -> Callable[[Run], Run]:
    """Register a mechanism; the arguments are those of `Mechanism`."""

    def decorate(run: Run) -> Run:
        added = Mechanism(name, run, option, is_cleartext, is_client_first, needs_binding, needs_certificate)
        MECHANISMS.add(name, added, f"{run.__module__}")
        return run

    return decorate


def challenge(data: bytes) -> Generator[Challenge | Need, bytes | Answer, bytes]:
    """Send a challenge; the response is what this evaluates to (``yield from``)."""
    response = yield Challenge(data)
    assert isinstance(response, bytes)
    return response


def ask(need: Need) -> Generator[Challenge | Need, bytes | Answer, Answer]:
    """Ask the store; its answer is what this evaluates to (``yield from``)."""
    answer = yield need
    assert isinstance(answer, Answer)
    return answer


def may_act_as(user: str, authzid: str) -> bool:
    """Whether a user may take an authorization identity: only its own (reference/esmtp-listener.md section 11.4)."""
    return authzid in ("", user)
