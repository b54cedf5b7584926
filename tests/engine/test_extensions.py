"""The extension files: what they claim, what they leave, and how another one is added."""

from __future__ import annotations

import importlib

import pytest

from gsmtp.core.errors import ConfigError
from gsmtp.smtp.extension import EXTENSIONS, KNOWN_UNSERVED, Extension, Offer, load_extensions, register
from gsmtp.smtp.options import ALWAYS_EXTENSIONS
from gsmtp.smtp.profile import profile_for
from gsmtp.smtp.state import REAL_STATES
from gsmtp.smtp.verbs import VERBS
from tests.engine.driving import Driver, session_of, view_of


def test_the_files_are_what_the_checker_knows() -> None:
    load_extensions()
    always = sorted(extension.keyword for extension in EXTENSIONS if extension.is_always_offered)
    assert always == sorted(ALWAYS_EXTENSIONS)
    assert not set(KNOWN_UNSERVED) & {extension.keyword for extension in EXTENSIONS}


def test_nothing_listed_offers_what_always_is() -> None:
    assert profile_for(Offer(view_of()), "mx").offered == set(ALWAYS_EXTENSIONS)


def test_each_keyword_is_offered_when_listed() -> None:
    for extension in EXTENSIONS:
        if extension.is_offered is None:  # else it depends on more than the list
            listed = " ".join((*extension.requires, extension.keyword))
            assert extension.keyword in profile_for(Offer(view_of(f"SMTP_Extensions = ( {listed} )")), "mx").offered


def test_a_claimed_keyword_stops_the_load() -> None:
    with pytest.raises(ConfigError, match="'SIZE' is claimed by"):
        register(Extension("SIZE"), "somebody.else")


def test_every_verb_has_a_row_for_every_state() -> None:
    verbs = [*VERBS, *(verb for extension in load_extensions() for verb in extension.verbs)]
    assert {verb.name: set(REAL_STATES) - set(verb.row) for verb in verbs if set(verb.row) != set(REAL_STATES)} == {}


def test_pipelining_ends_where_the_standard_says() -> None:
    """RFC 2920 section 3.1 names these (and TURN)."""
    ends = {verb.name for verb in VERBS if verb.ends_pipelining}
    assert ends == {"EHLO", "HELO", "DATA", "VRFY", "EXPN", "QUIT", "NOOP"}


def test_the_skeleton_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EXTENSIONS, "_things", dict(EXTENSIONS._things))
    monkeypatch.setattr(EXTENSIONS, "_homes", dict(EXTENSIONS._homes))
    assert EXTENSIONS.get("XSKELETON") is None, "a file with a leading underscore was loaded"
    skeleton = importlib.import_module("gsmtp.smtp.ext._skeleton").SKELETON
    register(skeleton, "gsmtp.smtp.ext._skeleton")

    driver = Driver(session_of(view_of("SMTP_Extensions = ( XSKELETON )")))
    driver.begin()
    assert driver.feed(b"EHLO client.example\r\n").endswith(b"250 XSKELETON\r\n")
    answers = driver.feed(b"XSKELETON x\r\nMAIL FROM:<a@b.example> XSKELETON=1\r\nRCPT TO:<c@d.example> XSKELETON\r\n")
    assert answers == b"250 OK\r\n250 MAIL FROM accepted\r\n250 RCPT TO accepted.\r\n"
