"""Each option of the inbound scopes, set in each scope in which it is valid: its effect on the wire or the socket."""

from __future__ import annotations

from pathlib import Path

import pytest

from gsmtp.app import wiring
from gsmtp.config.option import OPTIONS
from tests.effects.kit import PLACES, Effect, conf_of
from tests.effects.table import EFFECTS
from tests.support.inprocess import running

wiring.load()


def _places() -> list[tuple[Effect, str]]:
    found = []
    for effect in EFFECTS:
        valid = {scope for option in OPTIONS.named(effect.option) for scope in option.scopes}
        found += [(effect, scope) for scope in effect.scopes or PLACES if scope in valid]
    return found


@pytest.mark.parametrize("effect", EFFECTS, ids=lambda effect: effect.option)
def test_without_it(tmp_path: Path, effect: Effect) -> None:
    with running(tmp_path, conf_of(effect, "listen", is_set=False)) as server:
        assert effect.probe(server) == effect.without


@pytest.mark.parametrize(("effect", "scope"), _places(), ids=lambda part: getattr(part, "option", part))
def test_with_it(tmp_path: Path, effect: Effect, scope: str) -> None:
    assert effect.without != effect.with_it
    with running(tmp_path, conf_of(effect, scope, is_set=True)) as server:
        assert effect.probe(server) == effect.with_it
