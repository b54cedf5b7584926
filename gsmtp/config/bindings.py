"""Which options hold for mail that goes out by a binding: the chain of scopes for a domain and a binding.

Most specific first: Domain in the Binding in its group, Domain in a Binding of that name outside of groups, Domain in
the group, the Binding, its group, then the Domain stanzas outside of all, then global. In each container the stanza
with the domain's own name goes before regular expressions, which hold in file order.

Source: reference/scopes-and-fallback.md section 3.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from gsmtp.config.instance import is_regex
from gsmtp.config.tree import Scope
from gsmtp.core.domains import normal_domain

DEFAULT = "default"
"""The binding, and the group, of mail for which nobody chose one. ``Binding "default"`` gives it options."""


@dataclass(frozen=True, slots=True)
class BindingNames:
    """What logs call a binding and its group."""

    binding: str = DEFAULT
    group: str = DEFAULT


class DomainTable:
    """The Domain stanzas of one container."""

    __slots__ = ("_exact", "_regexes")

    def __init__(self, container: Scope) -> None:
        self._exact: dict[str, Scope] = {}
        self._regexes: list[tuple[re.Pattern[str], Scope]] = []
        for scope in container.all("domain"):
            name = scope.spelled or ""
            if is_regex(name):
                self._regexes.append((re.compile(name[1:-1], re.IGNORECASE), scope))
            else:
                self._exact[normal_domain(name)] = scope

    def matching(self, name: str) -> tuple[Scope, ...]:
        """The stanzas for a domain (normalised), its own name's first."""
        exact = self._exact.get(name)
        regexes = tuple(scope for pattern, scope in self._regexes if pattern.search(name))
        return regexes if exact is None else (exact, *regexes)


class _Binding:
    """A binding's stanzas: inside a group, outside, or both."""

    __slots__ = ("group", "group_domains", "names", "stanzas")

    def __init__(self, name: str) -> None:
        self.names = BindingNames(name)
        self.stanzas: list[tuple[Scope, DomainTable]] = []
        self.group: Scope | None = None
        self.group_domains: DomainTable | None = None

    def chain(self, domain: str) -> tuple[Scope, ...]:
        """Its part of the chain."""
        found: list[Scope] = []
        for _, domains in self.stanzas:
            found += domains.matching(domain)
        if self.group_domains is not None:
            found += self.group_domains.matching(domain)
        found += (scope for scope, _ in self.stanzas)
        if self.group is not None:
            found.append(self.group)
        return tuple(found)


class Bindings:
    """The bindings of a configuration. When two groups hold the same name the first one counts.

    Args:
        root: the global scope.
    """

    __slots__ = ("_by_name",)

    def __init__(self, root: Scope) -> None:
        self._by_name: dict[str, _Binding] = {}
        for group in root.all("binding_group"):
            group_domains = DomainTable(group)
            for scope in group.all("binding"):
                name = scope.spelled or ""
                if name in self._by_name:
                    continue
                binding = self._by_name[name] = _Binding(name)
                binding.names = BindingNames(name, group.spelled or DEFAULT)
                binding.stanzas.append((scope, DomainTable(scope)))
                binding.group, binding.group_domains = group, group_domains
        for scope in root.all("binding"):
            name = scope.spelled or ""
            self._by_name.setdefault(name, _Binding(name)).stanzas.append((scope, DomainTable(scope)))

    def __len__(self) -> int:
        return len(self._by_name)

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def names(self, name: str) -> BindingNames:
        """What logs call it; one that isn't configured is the default binding."""
        found = self._by_name.get(name) or self._by_name.get(DEFAULT)
        return found.names if found is not None else BindingNames()

    def chain(self, name: str, domain: str) -> tuple[Scope, ...]:
        """The scopes of a binding for a domain (normalised), () for none; unknown ones are the default binding."""
        found = self._by_name.get(name) or self._by_name.get(DEFAULT)
        return () if found is None else found.chain(domain)
