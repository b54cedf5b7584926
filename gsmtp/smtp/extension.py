"""What an SMTP extension is to the machine, and the registry of all of them.

An extension is one file in `smtp/ext/`: it builds an `Extension` and registers it; `_skeleton.py` there is one to copy.
The verb and parameter tables, the EHLO reply and the checker collect from the registry.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from gsmtp.core.registry import Registry
from gsmtp.smtp.options import UNSERVED_EXTENSIONS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsmtp.config.view import View
    from gsmtp.core.envelope import Recipient
    from gsmtp.core.reply import Reply
    from gsmtp.smtp.machine import Machine
    from gsmtp.smtp.profile import Profile
    from gsmtp.smtp.transaction import Transaction
    from gsmtp.smtp.verbs import Verb

MailParameter = Callable[[str | None, "Transaction", "Profile"], "Reply | None"]
"""Reads one parameter of MAIL into the transaction that is about to open; returns the refusal, or None."""

RcptParameter = Callable[[str | None, "Recipient", "Transaction"], "Reply | None"]
"""Reads one parameter of RCPT into the recipient that is about to be added; returns the refusal, or None."""

AtGreeting = Callable[["Machine"], None]
AtData = Callable[["Transaction"], "Reply | None"]


@dataclass(frozen=True, slots=True)
class Offer:
    """For whom extensions are offered: what the EHLO reply depends on.

    Args:
        view: the options.
        is_tls: whether TLS is on.
        channel_bindings: types of channel bindings that TLS gives, e.g. ``("tls-exporter",)`` (RFC 5929, RFC 9266).
        has_certificate: whether the client has shown a certificate that verified.
        added: keywords that policy offers to this session although `SMTP_Extensions` doesn't list them.
        removed: keywords that policy has withdrawn from this session.
    """

    view: View
    is_tls: bool = False
    channel_bindings: tuple[str, ...] = ()
    has_certificate: bool = False
    added: frozenset[str] = frozenset()
    removed: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Extension:
    """One service extension.

    Args:
        keyword: the EHLO keyword, upper case (RFC 5321 section 2.2.2).
        is_always_offered: whether it needs no mention in `SMTP_Extensions`.
        requires: keywords without which it isn't offered.
        is_offered: whether it may be offered now; None for always.
        ehlo: what follows the keyword in the EHLO reply, "" for nothing; the keyword stands alone without it.
        lines: whole lines of the EHLO reply, instead of `ehlo`.
        mail: parameters of MAIL by keyword in upper case. They are known when the extension is offered.
        rcpt: parameters of RCPT by keyword in upper case.
        verbs: commands that it brings.
        at_greeting: called when EHLO was answered positively.
        at_data: asked when DATA is about to start; returns the refusal, or None.
        longest_command: octets that a command line may have where this is offered, whatever Max_Command_Length says;
            0 when it needs no more.

    Source: RFC 5321 section 2.2.
    """

    keyword: str
    is_always_offered: bool = False
    requires: tuple[str, ...] = ()
    is_offered: Callable[[Offer], bool] | None = None
    ehlo: Callable[[Offer], str] | None = None
    lines: Callable[[Offer], Sequence[str]] | None = None
    mail: Mapping[str, MailParameter] = field(default_factory=dict)
    rcpt: Mapping[str, RcptParameter] = field(default_factory=dict)
    verbs: tuple[Verb, ...] = ()
    at_greeting: AtGreeting | None = None
    at_data: AtData | None = None
    longest_command: int = 0


def is_private(keyword: str) -> bool:
    """Whether an extension is for peers that are trusted, not for everybody (RFC 5321 section 2.2.2)."""
    return keyword.startswith("X")


EXTENSIONS: Registry[Extension] = Registry("SMTP extension")

KNOWN_UNSERVED: Final[Mapping[str, str]] = UNSERVED_EXTENSIONS
"""Keywords that a configuration may name and that are not offered, with the reason."""


def register(extension: Extension, home: str) -> Extension:
    """Add an extension; `home` is the module that brings it. Raises ConfigError when another one claims the keyword."""
    return EXTENSIONS.add(extension.keyword, extension, home)


def load_extensions() -> Registry[Extension]:
    """Import the files of `gsmtp.smtp.ext` (those without a leading underscore) and return the registry.

    Harmless to call again; it makes the engine usable alone, without the wiring of the whole product.
    """
    from gsmtp.smtp import ext

    for module in pkgutil.iter_modules(ext.__path__):
        if not module.name.startswith("_"):
            importlib.import_module(f"{ext.__name__}.{module.name}")
    return EXTENSIONS
