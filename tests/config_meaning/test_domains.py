"""Domain patterns (reference/esmtp-listener.md section 6.1)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gsmtp.core.domains import DomainPatterns


@pytest.mark.parametrize(
    ("pattern", "domain", "matches"),
    [
        ("example.com", "example.com", True),
        ("example.com", "EXAMPLE.Com", True),
        ("Example.COM", "example.com", True),
        ("example.com", "example.com.", True),
        ("example.com.", "example.com", True),
        ("example.com", "example.com..", False),
        ("example.com", "mail.example.com", False),
        ("example.com", "badexample.com", False),
        ("example.com", "example.com.evil.org", False),
        ("example.com", "", False),
        ("*.example.com", "a.example.com", True),
        ("*.example.com", "a.b.example.com", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", ".example.com", False),
        ("*.example.com", "aexample.com", False),
        ("*.example.com", "a.example.com.evil.org", False),
        ("*example.com", "example.com", True),
        ("*example.com", "a.example.com", True),
        ("*example.com", "badexample.com", True),
        ("*example.com", "example.com.evil.org", False),
        ("*", "anything.example", True),
        ("*", "", False),
        ("bücher.example", "xn--bcher-kva.example", True),
        ("xn--bcher-kva.example", "Bücher.example", True),
        ("*.bücher.example", "www.BÜCHER.example", True),
        ("example.com", "\u0435\u0445ample.com", False),  # the first two letters are Cyrillic
        ("[192.0.2.1]", "[192.0.2.1]", True),
    ],
)
def test_pattern(pattern: str, domain: str, matches: bool) -> None:
    assert DomainPatterns((pattern,)).matches(domain) is matches


def test_a_list_matches_when_one_of_its_patterns_does() -> None:
    patterns = DomainPatterns(("example.com", "*.example.net", "*example.org"))
    assert [
        domain
        for domain in ("example.com", "a.example.net", "an-example.org", "example.net")
        if patterns.matches(domain)
    ] == [
        "example.com",
        "a.example.net",
        "an-example.org",
    ]
    assert not DomainPatterns().matches("example.com")


@pytest.mark.parametrize("pattern", ["", "*.", "a*b", "**", "*.a*", "a b", "user@example.com", "."])
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="pattern"):
        DomainPatterns((pattern,))


@given(st.text(max_size=80))
def test_no_domain_that_a_client_sends_raises(domain: str) -> None:
    patterns = DomainPatterns(("example.com", "*.example.com", "*example.net"))
    assert patterns.matches(domain) in (True, False)


_LABEL = st.from_regex(r"[a-z][a-z0-9]{0,5}", fullmatch=True)


@given(st.lists(_LABEL, min_size=1, max_size=4), st.lists(_LABEL, min_size=1, max_size=4))
def test_a_suffix_pattern_matches_whole_labels_only(parent: list[str], domain: list[str]) -> None:
    patterns = DomainPatterns(("*." + ".".join(parent),))
    below = len(domain) > len(parent) and domain[-len(parent) :] == parent
    assert patterns.matches(".".join(domain)) is below
