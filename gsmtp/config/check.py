"""What is wrong with a tree: names, places, values. All problems in one run, each with its place and what to do.

`check` looks at every stanza and setting by itself; `config/crosscheck.py` looks at how they fit together. Names that
are taken but not served are warned about once each, at their first place. Nothing outside the tree is opened or asked.
Source: reference/config-language.md sections 5, 9, 11 and 12.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from gsmtp.config import accepted
from gsmtp.config.crosscheck import cross_check
from gsmtp.config.diagnostics import NOWHERE, Problem, Problems, Span, in_order
from gsmtp.config.option import OPTIONS, Option
from gsmtp.config.scopes import regex_source
from gsmtp.config.stanza import STANZAS, Name, NameKind, Stanza
from gsmtp.config.suggest import did_you_mean
from gsmtp.config.titles import scope_title, scope_word, scopes_of, valid_names
from gsmtp.config.tree import Array, Dictionary, Scalar, Scope, Setting, Tree, Value
from gsmtp.core.address import Endpoint, parse_network

PATHWAY_HINT = 'put it in a Pathway stanza and attach that here with pathway = "NAME"'


def check(tree: Tree, problems: Problems, *, momentum: bool = False) -> None:
    """Judge a tree, add what is found to `problems`, and put all of them in the order of their places.

    Args:
        tree: as loaded.
        problems: where findings go; an error means that the tree can't be used. When it holds errors of reading
            already, how things fit together is not judged: what is missing may only be unreadable.
        momentum: whether names that only gsmtp knows are errors too.
    """
    checker = _Checker(momentum)
    checker.scope(tree.root, served=True)
    found = checker.problems
    found.found.extend(checker.unserved_warnings(list(tree.files)))
    if not problems.has_errors:
        cross_check(tree, found)
    problems.found[:] = in_order([*problems, *found], tree.files)


class _Checker:
    """One walk over a tree."""

    def __init__(self, momentum: bool) -> None:
        self.problems = Problems()
        self.momentum = momentum
        self._said: set[str] = set()
        self._unserved: dict[str, list[tuple[Span, str]]] = {}

    # --- scopes and stanzas ---

    def scope(self, scope: Scope, served: bool) -> None:
        """Check the settings and stanzas of a scope; `served` is False inside a stanza that has no effect anyway."""
        for setting in scope.settings.values():
            self._setting(scope, setting, served)
        for child in scope.children.values():
            self._stanza(scope, child, served)

    def _stanza(self, parent: Scope, child: Scope, served: bool) -> None:
        stanza = STANZAS.get(child.kind)
        if stanza is None:
            self._unknown_stanza(parent, child)
            return
        if parent.kind not in stanza.inside:
            self.problems.error(
                child.span,
                f"stanza {stanza.word} can't stand in {scope_title(parent)}",
                hint="is valid in: " + ", ".join(scope_word(kind) for kind in stanza.inside),
                code="misplaced-stanza",
            )
        if self.momentum and stanza.ours:
            self._ours(child.span, f"stanza {stanza.word}")
        self._name(stanza, child)
        if not stanza.served and served:
            self._not_served(f"stanza {stanza.word}", child.span, stanza.reason)
        if not stanza.free_form:
            self.scope(child, served and stanza.served)

    def _unknown_stanza(self, parent: Scope, child: Scope) -> None:
        option = OPTIONS.find(parent.kind, child.kind) or accepted.find(parent.kind, child.kind)
        if option is not None:
            hint = f"'{child.word}' is an option: write {child.word} = VALUE"
        else:
            valid = [stanza.word for stanza in STANZAS if parent.kind in stanza.inside]
            hint = did_you_mean(child.kind, valid) or did_you_mean(child.kind, [stanza.word for stanza in STANZAS])
        self.problems.error(
            child.span, f"unknown stanza '{child.word}' in {scope_title(parent)}", hint=hint, code="unknown-stanza"
        )

    def _name(self, stanza: Stanza, scope: Scope) -> None:
        name = scope.spelled
        if stanza.name is Name.NONE and name is not None:
            self.problems.error(
                scope.span,
                f"stanza {stanza.word} takes no name, not '{name}'",
                hint=f"write {stanza.word} {{ … }}",
                code="stanza-name",
            )
        elif stanza.name is Name.REQUIRED and not name:
            self.problems.error(
                scope.span,
                f"stanza {stanza.word} needs a name",
                hint=f"write {stanza.word} {_SAMPLE_NAMES.get(stanza.key, _DEFAULT_SAMPLE)} {{ … }}",
                code="stanza-name",
            )
        elif name:
            self._name_form(stanza, scope, name)

    def _name_form(self, stanza: Stanza, scope: Scope, name: str) -> None:
        try:
            if stanza.name_kind is NameKind.ENDPOINT:
                Endpoint.parse(name)
            elif stanza.name_kind is NameKind.NETWORK:
                parse_network(name)
            elif stanza.name_kind is NameKind.DOMAIN:
                _domain_name(name)
            elif stanza.key in ("binding", "binding_group") and re.search(r"[\s:]", name):
                raise ValueError("blanks and colons are not allowed in it")
        except ValueError as error:
            self.problems.error(
                scope.span, f"'{name}' is not a valid name for stanza {stanza.word}: {error}", code="stanza-name"
            )

    # --- options ---

    def _setting(self, scope: Scope, setting: Setting, served: bool) -> None:
        option = OPTIONS.find(scope.kind, setting.key)
        if option is None:
            row = accepted.find(scope.kind, setting.key)
            if row is None:
                stanza = STANZAS.get(scope.kind)
                if stanza is None or not stanza.takes_more:
                    self._unknown_option(scope, setting)
            elif served:
                self._not_served(f"option {setting.spelled}", setting.span, row.reason, row.name)
            return
        if self.momentum and option.ours:
            self._ours(setting.span, f"option {option.name}")
        if option.unserved and served:
            self._not_served(f"option {setting.spelled}", setting.span, option.unserved, option.key)
        self._values(option, scope, setting, served)

    def _values(self, option: Option[Any], scope: Scope, setting: Setting, served: bool) -> None:
        overridden = setting.previous
        while overridden is not None:
            self._parse(option, overridden)
            overridden = overridden.previous
        try:
            value = option.kind.parse(setting.value)
        except ValueError:
            self._parse(option, setting)
            return
        if option.examine is not None and served:
            found = Problems()
            option.examine(value, setting, scope, found)
            self.problems.found.extend(problem for problem in found if self._is_news(problem))

    def _is_news(self, problem: Problem) -> bool:
        """Whether it is not one more place of something that is not served, which is said once."""
        if problem.code != "not-served":
            return True
        is_news = problem.message not in self._said
        self._said.add(problem.message)
        return is_news

    def _parse(self, option: Option[Any], setting: Setting) -> None:
        """Report what is wrong with a value; of a list the items that are wrong by themselves."""
        value = setting.value
        try:
            option.kind.parse(value)
        except ValueError as error:
            bad: list[tuple[Value, str]] = list(_bad_items(option, value)) if isinstance(value, Array) else []
            for item, reason in bad or [(value, str(error))]:
                self.problems.error(
                    item.span if item.span != NOWHERE else setting.span,
                    f"value {_show(item)} is not valid for option '{setting.spelled}': {reason}",
                    code="bad-value",
                )

    def _unknown_option(self, scope: Scope, setting: Setting) -> None:
        elsewhere = scopes_of(setting.key)
        related: list[tuple[str, Span]] = []
        if setting.key in ("include", "readonly_include"):
            hint = f"an include takes no '=': write {setting.key} \"FILE\""
        elif elsewhere:
            hint = "is valid in: " + ", ".join(scope_word(kind) for kind in elsewhere)
            if scope.kind in ("esmtp_listener", "listen", "peer") and "pathway" in elsewhere:
                hint += "; " + PATHWAY_HINT
        elif STANZAS.get(setting.key) is not None:
            stanza = STANZAS.get(setting.key)
            hint = f"{stanza.word if stanza else setting.spelled} is a stanza: write it with braces, {{ … }}"
        else:
            hint = did_you_mean(setting.spelled, valid_names(scope.kind)) or did_you_mean(
                setting.spelled, (option.name for option in OPTIONS)
            )
        self.problems.error(
            setting.span,
            f"unknown option '{setting.spelled}' in {scope_title(scope)}",
            hint=hint,
            code="unknown-option",
            related=related,
        )

    # --- what is said once ---

    def _ours(self, span: Span, what: str) -> None:
        self.problems.error(
            span, f"{what} is gsmtp's own: Momentum doesn't know it", hint="leave it out with --momentum", code="ours"
        )

    def _not_served(self, what: str, span: Span, reason: str, key: str = "") -> None:
        self._unserved.setdefault(key or what.lower(), []).append((span, f"{what} is not served: {reason}"))

    def unserved_warnings(self, files: list[str]) -> Iterable[Problem]:
        """One warning for each name that is not served, at its first place."""
        order = {name: number for number, name in enumerate(files)}
        warnings = Problems()
        for places in self._unserved.values():
            span, message = min(
                places, key=lambda place: (order.get(place[0].file, len(order)), place[0].line, place[0].column)
            )
            warnings.warning(span, message, code="not-served")
        return warnings


_DEFAULT_SAMPLE = '"NAME"'
_SAMPLE_NAMES = {
    "listen": '":25"',
    "peer": '"10.0.0.0/8"',
    "domain": '"example.com"',
    "host": '"mx.example.com"',
    "threadpool": '"accept-pool"',
}


def _domain_name(name: str) -> None:
    """Refuse what can't be the name of a Domain stanza. Raises ValueError."""
    source = regex_source(name)
    if source is None:
        if name.startswith("/"):
            raise ValueError("a regular expression ends with '/'")
        if any(character.isspace() for character in name):
            raise ValueError("blanks are not allowed in it")
        return
    try:
        re.compile(source, re.IGNORECASE)
    except re.error as error:
        raise ValueError(f"the regular expression is wrong at character {(error.pos or 0) + 1}: {error.msg}") from None


def _bad_items(option: Option[Any], value: Array) -> Iterable[tuple[Value, str]]:
    """The items that are wrong by themselves, with the reasons; none when the option takes no list at all."""
    try:
        option.kind.parse(Array((), value.span))
    except ValueError:
        return
    for item in value.items:
        try:
            option.kind.parse(Array((item,), item.span))
        except ValueError as error:
            yield item, str(error)


def _show(value: Value) -> str:
    """A written value for a message."""
    if isinstance(value, Scalar):
        return f"'{value.text}'"
    if isinstance(value, Dictionary):
        return "[ … ]"
    return "( " + " ".join(f"'{item.text}'" for item in value.items[:3]) + (" … )" if len(value.items) > 3 else " )")
