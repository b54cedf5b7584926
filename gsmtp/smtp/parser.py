"""How the arguments of MAIL and RCPT are read: the path in its angle brackets, then ESMTP parameters.

Nearly all real addresses match one compiled pattern; whatever doesn't goes the long way, which knows quoted local
parts, address literals, source routes, UTF-8 and the lenient options. Both give the same answer for the same text.

Source: RFC 5321 section 4.1.2; reference/esmtp-listener.md section 7.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Final

from gsmtp.smtp import abnf

# No possessive groups: until 3.11.4, Debian 12's 3.11.2 included, Python's re leaves them at a wrong place when their
# last round fails. These need none: what may follow each part is something that the part can't begin with.
_SIMPLE: Final = (
    r":<(?:([\w+-]++(?:\.[\w+-]++)*)@([A-Za-z0-9]++(?:[.-][A-Za-z0-9]++)*))?>(?: ([!-~](?:[ -~]*[!-~])?))?\Z"
)
_SIMPLE_MAIL: Final = re.compile(r"[Ff][Rr][Oo][Mm]" + _SIMPLE, re.ASCII)
_SIMPLE_RCPT: Final = re.compile(r"[Tt][Oo]" + _SIMPLE, re.ASCII)
_FROM: Final = re.compile(r"from:", re.IGNORECASE | re.ASCII)
_TO: Final = re.compile(r"to:", re.IGNORECASE | re.ASCII)

_SHORT: Final = 64
"""A domain of fewer octets can have no label that is too long."""

_BRACKETS: Final = re.compile(r'<((?:[^"<>\x00-\x1f\x7f]|"(?:[^"\\\x00-\x1f\x7f]|\\[ -~])*")*)>')
_NO_UTF8: Final = re.compile(f"[{chr(0xD800)}-{chr(0xDFFF)}]")  # what surrogateescape makes of octets that aren't UTF-8
_BARE_WORD: Final = re.compile(r'((?:[^"<> \x00-\x1f\x7f]|"(?:[^"\\\x00-\x1f\x7f]|\\[ -~])*")+)')
_MAILBOX: Final = re.compile(r'((?:"(?:[^"\\]|\\.)*"|[^"@])*)@([^@]*+)')


@cache  # not made at once: so many characters take milliseconds
def _parameter() -> re.Pattern[str]:
    return re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*+)(?:=([!-<>-~\u0080-\U0010ffff]++))?")


@dataclass(frozen=True, slots=True)
class AddressRules:
    """The address options of one view.

    Args:
        is_pedantic: `RFC2821_Pedantic_Address_Rules`.
        may_be_literal: `Allow_IP_Literal`.
        has_inner_blanks: `Allow_Trailing_Whitespace_In_Commands`: ``< u@example.com >`` is taken.
        has_blanks: either white-space option: blanks behind the colon and at the end are ignored.
        sender_domain: `Domain_For_Unqualified_Sender_Address`, "" for none.
        recipient_domain: `Domain_For_Unqualified_Recipient_Addresses`, "" for none.
    """

    is_pedantic: bool
    may_be_literal: bool
    has_inner_blanks: bool
    has_blanks: bool
    sender_domain: str
    recipient_domain: str


class Path:
    """A path that follows the grammar, with the parameters behind it.

    Attributes:
        address: what is delivered by: local part as sent, at-sign, domain without trailing dot; "" for the null path.
        domain: as it is compared (`abnf.canonical_domain`), a literal with its brackets in lower case, or "".
        original: the text between the angle brackets.
        parameters: keyword (upper case) and value (None when there is no equals sign) in order.
        is_ascii: whether the address is.
    """

    __slots__ = ("address", "domain", "is_ascii", "original", "parameters")

    def __init__(
        self,
        address: str,
        domain: str,
        original: str,
        parameters: list[tuple[str, str | None]] | tuple[()],
        is_ascii: bool = True,
    ) -> None:
        self.address = address
        self.domain = domain
        self.original = original
        self.parameters = parameters
        self.is_ascii = is_ascii


def parse_mail(argument: str, rules: AddressRules) -> Path | None:
    """Read what stands behind ``MAIL ``; None when it isn't ``FROM:<reverse-path> parameters``."""
    simple = _SIMPLE_MAIL.match(argument)
    if simple is not None:
        local, domain, words = simple.groups()
        if local is None:
            path = Path("", "", "", ())
        elif len(local) <= abnf.LOCAL_PART_OCTETS and len(domain) < _SHORT:
            address = f"{local}@{domain}"
            path = Path(address, domain.lower(), address, ())
        else:
            return _parse(argument, _FROM, rules, is_sender=True)
        return path if words is None else _with_parameters(path, words, rules)
    return _parse(argument, _FROM, rules, is_sender=True)


def parse_rcpt(argument: str, rules: AddressRules) -> Path | None:
    """Read what stands behind ``RCPT ``; None when it isn't ``TO:<forward-path> parameters``."""
    simple = _SIMPLE_RCPT.match(argument)
    if simple is not None:
        local, domain, words = simple.groups()
        if local is not None and len(local) <= abnf.LOCAL_PART_OCTETS and len(domain) < _SHORT:
            address = f"{local}@{domain}"
            path = Path(address, domain.lower(), address, ())
            return path if words is None else _with_parameters(path, words, rules)
    return _parse(argument, _TO, rules, is_sender=False)


def _with_parameters(path: Path, words: str, rules: AddressRules) -> Path | None:
    parameters: list[tuple[str, str | None]] = []
    for word in words.split() if rules.has_blanks else words.split(" "):
        match = _parameter().fullmatch(word)
        if match is None:
            return None
        parameters.append((match[1].upper(), match[2]))
    path.parameters = parameters
    return path


def _parse(argument: str, prefix: re.Pattern[str], rules: AddressRules, *, is_sender: bool) -> Path | None:
    """The long way."""
    start = prefix.match(argument)
    if start is None or _NO_UTF8.search(argument):
        return None
    text = argument[start.end() :]
    if rules.has_blanks:
        text = text.strip(" \t")
    found = _BRACKETS.match(text)
    if found is None and not rules.is_pedantic:
        found = _BARE_WORD.match(text)
    if found is None or len(found[0].encode()) > abnf.PATH_OCTETS:
        return None
    rest = text[found.end() :]
    if rest and not rest.startswith(" "):
        return None
    path = _path(found[1].strip(" ") if rules.has_inner_blanks else found[1], rules, is_sender=is_sender)
    if path is None or not rest:
        return path
    return _with_parameters(path, rest[1:], rules)


def _path(text: str, rules: AddressRules, *, is_sender: bool) -> Path | None:
    if not text:
        return Path("", "", "", ()) if is_sender else None
    mailbox = text
    if text.startswith("@"):
        # A source route is accepted, checked and not used (RFC 5321 appendix C).
        route, colon, mailbox = text.partition(":")
        hops = route.split(",")
        if not colon or not all(hop.startswith("@") and abnf.canonical_domain(hop[1:]) for hop in hops):
            return None
    match = _MAILBOX.fullmatch(mailbox)
    if match is None:
        return _unqualified(mailbox, text, rules, is_sender=is_sender)
    local, domain = match.groups()
    if not abnf.is_local_part(local, pedantic=rules.is_pedantic):
        return None
    if domain.startswith("["):
        if not (rules.may_be_literal and abnf.is_address_literal(domain)):
            return None
        canonical = domain.lower()
    else:
        canonical = abnf.canonical_domain(domain)
        domain = domain.removesuffix(".")
        if not canonical or len(domain.encode()) > abnf.DOMAIN_OCTETS:
            return None
    return Path(f"{local}@{domain}", canonical, text, (), local.isascii() and domain.isascii())


def _unqualified(local: str, original: str, rules: AddressRules, *, is_sender: bool) -> Path | None:
    """An address without a domain: completed if an option says by what, else only <postmaster> is one."""
    domain = rules.sender_domain if is_sender else rules.recipient_domain
    if not abnf.is_local_part(local, pedantic=rules.is_pedantic):
        return None
    if domain:
        return Path(f"{local}@{domain}", abnf.canonical_domain(domain) or domain.lower(), original, (), local.isascii())
    if not is_sender and local.lower() == "postmaster":
        return Path(local, "", original, ())
    return None
