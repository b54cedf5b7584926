"""The parts by themselves: names, addresses, dates, protocol words."""

from __future__ import annotations

import itertools

import pytest

from gsmtp.smtp import abnf, trace
from gsmtp.smtp.extension import Offer
from gsmtp.smtp.parser import AddressRules, parse_rcpt
from gsmtp.smtp.profile import profile_for
from tests.engine.driving import view_of

STRICT = profile_for(Offer(view_of()), "mx").addresses


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("Example.COM", "example.com"),
        ("example.com.", "example.com"),
        ("localhost", "localhost"),
        ("a_b.example", "a_b.example"),
        ("1.2.3.4", "1.2.3.4"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("Bücher.example", "xn--bcher-kva.example"),
        ("straße.example", "xn--strae-oqa.example"),
        ("例子.example", "xn--fsqu00a.example"),
        ("ex\u0430mple.com", "xn--exmple-4nf.com"),
        ("", ""),
        (".", ""),
        ("example..com", ""),
        (".example.com", ""),
        ("example.com..", ""),
        ("-a.example", ""),
        ("a-.example", ""),
        ("a b.example", ""),
        ("d" * 64 + ".example", ""),
        ("ü" * 60 + ".example", ""),
        (".".join(["d" * 60] * 5), ""),
        ("\uff45xample.com", ""),
        ("example。com", ""),
        ("example\u2024com", ""),
        ("\u212aelvin.example", ""),
        ("exam\u00adple.com", ""),
        ("exam\u200dple.com", ""),
        ("e\u0301.example", ""),
        ("☃.example", ""),
        ("a@b", ""),
        ("[192.0.2.1]", ""),
    ],
)
def test_canonical_domain(text: str, canonical: str) -> None:
    """Look-alikes of ASCII names are no domains, or other ones."""
    assert abnf.canonical_domain(text) == canonical


@pytest.mark.parametrize(
    "text",
    ["[192.0.2.1]", "[0.0.0.0]", "[255.255.255.255]", "[IPv6:::1]", "[ipv6:2001:DB8::1]", "[IPv6:::ffff:192.0.2.1]"],
)
def test_literals(text: str) -> None:
    assert abnf.is_address_literal(text)


@pytest.mark.parametrize(
    "text",
    [
        "192.0.2.1",
        "[192.0.2.1",
        "[]",
        "[192.0.2]",
        "[192.0.2.1.]",
        "[192.0.2.01]",
        "[192.0.2.256]",
        "[1.2.3.4.5]",
        "[::1]",
        "[IPv6:]",
        "[IPv6:fe80::1%lo]",
        "[IPv6:1]",
        "[x:1]",
        "[\uff1192.0.2.1]",
    ],
)
def test_no_literals(text: str) -> None:
    assert not abnf.is_address_literal(text)


@pytest.mark.parametrize(
    ("text", "is_good"),
    [
        ("plain", True),
        ("a_b-c", True),
        ("%41", True),
        ("+2B", True),
        ("+2b", False),
        ("+", False),
        ("a=b", False),
        ("a b", False),
        ("", True),
    ],
)
def test_xtext(text: str, is_good: bool) -> None:
    assert abnf.is_xtext(text) is is_good


@pytest.mark.parametrize(
    ("argument", "address", "domain"),
    [
        ("TO:<user%victim.example@example.com>", "user%victim.example@example.com", "example.com"),
        ("TO:<victim.example!user@example.com>", "victim.example!user@example.com", "example.com"),
        ('TO:<"user@victim.example"@example.com>', '"user@victim.example"@example.com', "example.com"),
        ('TO:<"user\\"@victim.example"@example.com>', '"user\\"@victim.example"@example.com', "example.com"),
        ("TO:<@example.com:user@victim.example>", "user@victim.example", "victim.example"),
        ("TO:<@a.example,@b.example:user@victim.example>", "user@victim.example", "victim.example"),
        ("TO:<user@victim.example.>", "user@victim.example", "victim.example"),
        ("TO:<user@[192.0.2.1]>", "user@[192.0.2.1]", "[192.0.2.1]"),
        ("TO:<user@[IPv6:2001:DB8::1]>", "user@[IPv6:2001:DB8::1]", "[ipv6:2001:db8::1]"),
    ],
)
def test_the_domain_is_that_of_the_next_hop(argument: str, address: str, domain: str) -> None:
    """Percent hacks, bang paths and quoted at-signs stay in the local part; a source route isn't followed."""
    path = parse_rcpt(argument, STRICT)
    assert path is not None
    assert (path.address, path.domain, path.original) == (address, domain, argument[4:-1])


def test_an_unqualified_recipient_is_completed() -> None:
    rules = AddressRules(True, True, False, False, "", "Example.com")
    path = parse_rcpt('TO:<"a b">', rules)
    assert path is not None
    assert (path.address, path.domain, path.original) == ('"a b"@Example.com', "example.com", '"a b"')


@pytest.mark.parametrize(
    ("wall_s", "text"),
    [
        (0, "Thu, 01 Jan 1970 00:00:00 +0000"),
        (1_735_689_600, "Wed, 01 Jan 2025 00:00:00 +0000"),
        (1_709_210_096, "Thu, 29 Feb 2024 12:34:56 +0000"),
        (4_102_444_799, "Thu, 31 Dec 2099 23:59:59 +0000"),
    ],
)
def test_dates(wall_s: int, text: str) -> None:
    assert trace.date_time(wall_s) == text


def test_protocol_words() -> None:
    """RFC 3848 and RFC 6531 section 4.3 register these."""
    flags = itertools.product((False, True), repeat=3)
    words = {trace.protocol_word(esmtp=True, tls=t, authenticated=a, utf8=u) for t, a, u in flags}
    assert words == {
        "ESMTP", "ESMTPA", "ESMTPS", "ESMTPSA", "UTF8SMTP", "UTF8SMTPA", "UTF8SMTPS", "UTF8SMTPSA",
    }  # fmt: skip
    assert trace.protocol_word(esmtp=False) == "SMTP"
