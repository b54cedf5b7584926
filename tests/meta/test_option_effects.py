"""Each served option of ESMTP_Listener, Listen, Peer and Pathway has a test that sets it and sees its effect."""

from __future__ import annotations

import ast

from gsmtp.app import wiring
from gsmtp.config.option import OPTIONS
from tests.effects.table import EFFECTS, SHOWN_BY
from tests.support.source import ROOT

INBOUND = {"esmtp_listener", "listen", "peer", "pathway"}


def _served() -> set[str]:
    wiring.load()
    return {option.name for option in OPTIONS if INBOUND & set(option.scopes) and not option.unserved}


def test_every_inbound_option_has_a_test_of_its_effect() -> None:
    missing = _served() - {effect.option for effect in EFFECTS} - set(SHOWN_BY)
    assert not missing, f"add rows to tests/effects/ for: {', '.join(sorted(missing))}"


def test_the_tables_name_served_options_only() -> None:
    assert {effect.option for effect in EFFECTS} | set(SHOWN_BY) <= _served()


def test_what_is_shown_elsewhere_is_shown_there() -> None:
    for option, place in SHOWN_BY.items():
        file, _, name = place.partition("::")
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        found = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert name in found, f"{option}: there is no {place}"
