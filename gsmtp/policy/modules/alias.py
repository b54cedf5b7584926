"""alias: puts other recipients in the place of one, as a Datasource says.

``Alias_Schemes`` names the schemes in the order in which they are asked; the first that answers wins. What it answers
is expanded in turn, by the schemes of its own domain, until nothing more is found. An address is expanded once a
recipient; one that stands in its own expansion stays (``ann`` to ``ann`` and ``archive``), a circle of others is
refused. Recipients are looked up at RCPT TO, where a data base that doesn't answer can be told to the client, and
replaced when the list is complete.

Source: reference/policy-and-context.md section 4 (alias), reference/scopes-and-fallback.md section 3.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gsmtp.api import ConfigError, Conn, Ctx, Hook, Message, Recipients, Reject, TempFail, Verdict, deadline
from gsmtp.config import kinds
from gsmtp.config.diagnostics import Problems
from gsmtp.config.module import declare_module
from gsmtp.config.option import Option, declare
from gsmtp.config.scopes import Configuration
from gsmtp.config.suggest import did_you_mean
from gsmtp.config.tree import Array, Scope, Setting
from gsmtp.config.view import View
from gsmtp.core.domains import normal_domain
from gsmtp.datasource.options import root_of
from gsmtp.datasource.question import Asks, Question
from gsmtp.datasource.result import DatasourceError
from gsmtp.policy.message import make_recipient
from gsmtp.policy.module import Building, policy_module

log = logging.getLogger("gsmtp.alias")

ENABLED = declare_module("alias", "Expands recipients by the schemes it holds, where Alias_Schemes names them.")

MOST_TARGETS = 1000
"""Recipients that one may become; beyond that it is a mistake in the data."""

LONGEST_LOOK_UP_S = 60.0
"""For one recipient with all that it stands for; each query has the deadline of its Datasource besides."""

_FOUND = "#alias"
_FAILED = TempFail("4.3.0 recipient can't be looked up now")
_LOOP = Reject(554, "5.4.6 alias loop")
_TOO_MANY = TempFail("4.3.0 recipient stands for too many others")


def _schemes(root: Scope) -> Iterator[Scope]:
    for stanza in root.all("alias"):
        yield from stanza.all("scheme")


def _examine_schemes(value: tuple[str, ...], setting: Setting, scope: Scope, problems: Problems) -> None:
    names = [one.spelled or "" for one in _schemes(root_of(scope))]
    items = setting.value.items if isinstance(setting.value, Array) else (setting.value,)
    for text, item in zip(value, items, strict=True):
        if text not in names:
            problems.error(
                item.span,
                f"alias scheme '{text}' is not defined",
                hint=did_you_mean(text, names) or f'add alias {{ Scheme "{text}" {{ … }} }}',
                code="unknown-scheme",
            )


ALIAS_SCHEMES: Option[tuple[str, ...]] = declare(
    Option(
        name="Alias_Schemes",
        kind=kinds.strings,
        default=(),
        scopes=("domain", "global", "pathway", "pathway_group"),
        doc="Schemes of the alias module that expand recipients, in the order in which they are asked. Looked for in "
        "the recipient's Domain, then in Pathway, Pathway_Group and globally; an empty list switches expansion off.",
        source="Momentum: alias_schemes",
        examine=_examine_schemes,
    )
)

COLUMN: Option[str] = declare(
    Option(
        name="Column",
        kind=kinds.line,
        default="",
        scopes=("scheme",),
        doc="The column that holds the addresses; the first one where nothing is said.",
        source="Momentum: alias module",
    )
)


class AliasLoop(Exception):
    """Nothing is left of a recipient but a circle."""


class TooManyTargets(Exception):
    """One recipient stands for more than MOST_TARGETS."""


class Alias(Hook):
    """Expands recipients.

    Args:
        configuration: for the Domain stanzas.
        questions: query and column of each scheme, by name.
        datasources: whom they ask.
    """

    name = "alias"

    def __init__(
        self, configuration: Configuration, questions: Mapping[str, tuple[Question, str]], datasources: Asks
    ) -> None:
        self._configuration = configuration
        self._questions = questions
        self._datasources = datasources

    @deadline(LONGEST_LOOK_UP_S)
    def rcptto(self, conn: Conn, ctx: Ctx, message: Message, line: str) -> Verdict | None:
        """Look the recipient up."""
        recipient = message.recipient
        if recipient is None or recipient.drop or not self._schemes_for(recipient.domain, conn.view):
            return None
        try:
            targets = self.expand(recipient.address, conn.view)
        except DatasourceError as error:
            log.error("%s is not expanded: %s", recipient.address, error)
            return _FAILED
        except AliasLoop:
            log.warning("%s is expanded to nothing but a circle of aliases", recipient.address)
            return _LOOP
        except TooManyTargets:
            log.error("%s is expanded to more than %d addresses", recipient.address, MOST_TARGETS)
            return _TOO_MANY
        if targets != [recipient.address]:
            found: dict[str, Any] = json.loads(ctx.mess.get(_FOUND, "{}"))
            found[recipient.address] = targets
            ctx.mess[_FOUND] = json.dumps(found)
        return None

    def rcptto_list(self, conn: Conn, ctx: Ctx, recipients: Recipients) -> Verdict | None:
        """Put what was found in the place of what was asked for."""
        for address, targets in json.loads(ctx.mess.pop(_FOUND, "{}")).items():
            if address in recipients:
                recipients.replace(address, *targets)
                log.info("%s is expanded to %s", address, _some_of(targets))
        return None

    def expand(self, address: str, view: View) -> list[str]:
        """All that an address stands for, itself when nothing is found.

        Args:
            address: ``local@domain``.
            view: of the client, for the schemes of its Pathway.

        Raises:
            DatasourceError: a data base doesn't answer.
            AliasLoop: there is nothing but a circle.
            TooManyTargets: more than MOST_TARGETS.
        """
        final: dict[tuple[str, str], str] = {}
        expanded: set[tuple[str, str]] = set()
        waiting = [address]
        while waiting:
            one = waiting.pop(0)
            if _key(one) in expanded:
                continue
            expanded.add(_key(one))
            targets = self._ask(one, view)
            if not targets or one in targets:
                final[_key(one)] = one
            waiting += [target for target in targets if _key(target) != _key(one)]
            if len(final) + len(waiting) > MOST_TARGETS:
                raise TooManyTargets
        if not final:
            raise AliasLoop
        return list(final.values())

    def _schemes_for(self, domain: str, view: View) -> tuple[str, ...]:
        origin = self._configuration.domain_view(domain).origin(ALIAS_SCHEMES)
        if origin.scope is not None and origin.scope.kind == "domain":
            return tuple(origin.value)
        return view[ALIAS_SCHEMES]

    def _ask(self, address: str, view: View) -> list[str]:
        local_part, _, domain = address.rpartition("@")
        domain = normal_domain(domain)
        macros = {"rcptto": address, "localpart": local_part, "domain": domain}
        for scheme in self._schemes_for(domain, view):
            question, column = self._questions[scheme]
            result = question.ask(self._datasources, macros)
            targets = _addresses(address, scheme, result.column(column) if result.rows else ())
            if targets:
                return targets
        return []


def _addresses(address: str, scheme: str, values: Iterator[str | None] | Sequence[str]) -> list[str]:
    """The values that are addresses; others are told and left out. Raises DatasourceError when none is left."""
    targets, wrong = [], []
    for value in values:
        if value is None or not value.strip():
            continue
        try:
            targets.append(make_recipient(value.strip()).address)
        except ValueError:
            wrong.append(value)
    if wrong:
        log.warning("alias scheme %s gives %r for %s, which is no address", scheme, wrong[0], address)
        if not targets:
            raise DatasourceError(f"alias scheme {scheme} gives no address for {address}")
    return targets


def _key(address: str) -> tuple[str, str]:
    local_part, _, domain = address.rpartition("@")
    return local_part, normal_domain(domain)


def _some_of(targets: Sequence[str]) -> str:
    return ", ".join(targets[:3]) + (f" and {len(targets) - 3} more" if len(targets) > 3 else "")


@policy_module("alias")
def build(building: Building) -> Hook | None:
    """The hook of one stanza; of several stanzas the first that is enabled serves all schemes."""
    root = building.configuration.tree.root
    if not building.view[ENABLED]:
        return None
    first = next(view.chain[0] for view in building.configuration.stanzas("alias") if view[ENABLED])
    if building.scope is not first:
        return None
    questions: dict[str, tuple[Question, str]] = {}
    for scope in _schemes(root):
        view = View((scope,))
        name = scope.spelled or ""
        if name in questions:
            raise ConfigError(f"{scope.span}: error: alias scheme '{name}' is defined twice")
        questions[name] = (Question.of(view), view[COLUMN])
    return Alias(building.configuration, questions, building.datasources)
