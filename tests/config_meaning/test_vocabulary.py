"""Every documented name is served, or taken with an honest reason, in each scope in which it may stand."""

from __future__ import annotations

import csv

from gsmtp.app.wiring import load
from gsmtp.config import accepted
from gsmtp.config.accepted import ACCEPTED
from gsmtp.config.option import OPTIONS
from gsmtp.config.stanza import STANZAS
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
    undocumented = [o for o in OPTIONS if o.key not in documented and not o.ours and o.scopes != ("maildir",)]
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
