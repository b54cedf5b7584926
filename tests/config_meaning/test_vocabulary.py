"""Every documented name is served, or taken with an honest reason, in each scope in which it may stand."""

from __future__ import annotations

import csv

from gsmtp.app.wiring import load
from gsmtp.config import accepted
from gsmtp.config.accepted import ACCEPTED
from gsmtp.config.option import OPTIONS
from gsmtp.config.stanza import STANZAS, Name, NameKind
from tests.config_meaning.loading import found_in
from tests.support.source import ROOT

load()

with (ROOT / "docs" / "reference" / "options.csv").open(encoding="utf-8", newline="") as _file:
    ROWS = list(csv.DictReader(_file))
PLACES = [(row["kind"], scope, row["name"]) for row in ROWS for scope in row["scopes"].split()]
OPTION_PLACES = [(scope, name) for kind, scope, name in PLACES if kind == "option"]


def test_the_vocabulary_is_whole() -> None:
    assert len(ROWS) == 357


def test_every_option_is_served_or_taken_in_each_of_its_scopes() -> None:
    unknown = [
        (scope, name)
        for scope, name in OPTION_PLACES
        if OPTIONS.find(scope, name) is None and accepted.find(scope, name) is None
    ]
    assert unknown == []


def test_no_option_is_both() -> None:
    both = [(scope, row.name) for row in ACCEPTED for scope in row.scopes if OPTIONS.find(scope, row.name) is not None]
    assert both == []


def test_every_stanza_may_stand_where_it_is_documented() -> None:
    misplaced = [
        (scope, name)
        for kind, scope, name in PLACES
        if kind == "scope" and ((stanza := STANZAS.get(name)) is None or scope not in stanza.inside)
    ]
    assert misplaced == []


def test_nothing_else_is_taken() -> None:
    """A name that the documentation doesn't have is gsmtp's own, a module's, or a mistake of ours."""
    documented = {name for _, name in OPTION_PLACES}
    assert sorted({row.name for row in ACCEPTED} - documented) == []
    of_modules = {stanza.key for stanza in STANZAS} - {scope for scope, _ in OPTION_PLACES}
    undocumented = [
        o for o in OPTIONS if o.key not in documented and not o.ours and not of_modules.issuperset(o.scopes)
    ]
    assert undocumented == []


def test_reasons_are_reasons() -> None:
    assert [row.name for row in ACCEPTED if len(row.reason) < 15] == []
    assert [stanza.word for stanza in STANZAS if not stanza.served and len(stanza.reason) < 15] == []
    assert [stanza.word for stanza in STANZAS if stanza.served and (stanza.reason or stanza.free_form)] == []


def test_scopes_that_are_named_exist() -> None:
    named = {scope for option in OPTIONS for scope in option.scopes} | {
        scope for row in ACCEPTED for scope in row.scopes
    }
    named |= {scope for stanza in STANZAS for scope in stanza.inside}
    assert sorted(scope for scope in named if scope != "global" and STANZAS.get(scope) is None) == []


def _stanza_text(scope: str, inner: str) -> str:
    """The text of a stanza in all that must stand around it."""
    if scope == "global":
        return inner
    stanza = STANZAS.get(scope)
    assert stanza is not None
    sample = {NameKind.ENDPOINT: '":25"', NameKind.NETWORK: '"10.0.0.1"', NameKind.DOMAIN: '"a.example"'}
    name = "" if stanza.name is Name.NONE else sample.get(stanza.name_kind, '"n"')
    return _stanza_text(stanza.inside[0], f"{stanza.word} {name} {{\n{inner}\n}}")


def _is_served(scope: str) -> bool:
    stanza = STANZAS.get(scope)
    return scope == "global" or (stanza is not None and stanza.served and _is_served(stanza.inside[0]))


def test_a_file_that_sets_every_name_everywhere_loads_and_names_once_what_is_not_served() -> None:
    """All 357: each option in each of its scopes, each stanza in each that may hold it."""
    texts = []
    for scope in sorted({scope for scope, _ in OPTION_PLACES}):
        names = [name for place, name in OPTION_PLACES if place == scope]
        texts.append(_stanza_text(scope, "\n".join(f'{name} = "1"' for name in names)))
    texts += [_stanza_text(name, "") for kind, _, name in PLACES if kind == "scope"]
    found = found_in("\n".join(texts))
    wrong = [
        one for one in found if one.code in ("unknown-option", "unknown-stanza", "misplaced-stanza", "stanza-name")
    ]
    assert wrong == []
    said = [one.message.partition(" is not served: ") for one in found if one.code == "not-served"]
    assert all(reason for _, _, reason in said)
    options = [what.removeprefix("option ").lower() for what, _, _ in said if what.startswith("option ")]
    expected = {name for scope, name in OPTION_PLACES if _is_served(scope) and _unserved(scope, name)}
    assert sorted(options) == sorted(expected)
    stanzas = [what.removeprefix("stanza ").lower() for what, _, _ in said if what.startswith("stanza ")]
    unserved = {name for kind, scope, name in PLACES if kind == "scope" and _is_served(scope) and not _is_served(name)}
    assert len(stanzas) == len(set(stanzas))
    assert sorted(unserved - set(stanzas)) == []


def _unserved(scope: str, name: str) -> bool:
    option = OPTIONS.find(scope, name)
    return option is None or bool(option.unserved)
