"""Domain patterns: which domains a list such as ``( "example.com" "*.example.net" )`` matches.

Three forms (reference/esmtp-listener.md section 6.1): ``example.com`` is that domain alone, ``*.example.com`` is every
domain below it, ``*example.com`` is every domain that ends in these characters (``badexample.com`` too), and ``*`` is
every domain. Only a leading ``*`` is special. Domains are compared without case, as IDNA A-labels, without a trailing
dot.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator


def normal_domain(domain: str) -> str:
    """The form in which domains are compared: lower case, A-labels, no trailing dot.

    A domain that IDNA can't encode is compared as its lower-case text: a client's odd domain must not raise.

    >>> normal_domain("B\u00fccher.Example.")
    'xn--bcher-kva.example'

    Source: RFC 5891 section 5; RFC 5890 section 2.3.2.1.
    """
    text = domain[:-1] if domain.endswith(".") else domain
    if text.isascii():
        return text.lower()
    try:
        return text.encode("idna").decode("ascii").lower()
    except UnicodeError:
        return text.lower()


class DomainPatterns:
    """A list of domain patterns, made for many look-ups.

    Args:
        patterns: as written in the configuration.

    Raises:
        ValueError: a pattern is empty or has a ``*`` that isn't its first character.
    """

    __slots__ = ("_endings", "_exact", "_parents", "matches_all", "patterns")

    def __init__(self, patterns: Iterable[str] = ()) -> None:
        self.patterns = tuple(patterns)
        self.matches_all = False
        exact: set[str] = set()
        parents: set[str] = set()
        endings: list[str] = []
        for pattern in self.patterns:
            rest = pattern.removeprefix("*")
            if "*" in rest:
                raise ValueError(f"only the first character of a domain pattern may be '*', not as in '{pattern}'")
            if not pattern or rest in (".", "..") or any(character.isspace() or character == "@" for character in rest):
                raise ValueError(f"'{pattern}' is not a domain pattern such as example.com or *.example.com")
            if rest == pattern:
                exact.add(normal_domain(rest))
            elif rest.startswith("."):
                parents.add(normal_domain(rest[1:]))
            elif rest:
                endings.append(normal_domain(rest))
            else:
                self.matches_all = True
        self._exact = frozenset(exact)
        self._parents = frozenset(parents)
        self._endings = tuple(endings)

    def matches(self, domain: str) -> bool:
        """Whether one of the patterns matches; the empty domain (null sender, bare postmaster) matches none."""
        if not domain:
            return False
        if self.matches_all:
            return True
        name = normal_domain(domain)
        if name in self._exact:
            return True
        if self._endings and name.endswith(self._endings):
            return True
        if self._parents:
            dot = name.find(".")
            while dot >= 0:
                if dot and name[dot + 1 :] in self._parents:
                    return True
                dot = name.find(".", dot + 1)
        return False

    def __iter__(self) -> Iterator[str]:
        return iter(self.patterns)

    def __len__(self) -> int:
        return len(self.patterns)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DomainPatterns) and self.patterns == other.patterns

    def __hash__(self) -> int:
        return hash(self.patterns)

    def __repr__(self) -> str:
        return f"DomainPatterns({list(self.patterns)!r})"
