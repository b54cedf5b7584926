"""The merged tree: one object a scope instance, whatever files and repeated stanzas it was written in.

Both readers (conf and YAML) end here; checking, views, `explain` and `convert` start here. Nothing in it is typed or
defaulted: "not set" is the absence of a Setting (reference/config-language.md sections 11 and 14).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from gsmtp.config.diagnostics import NOWHERE, Span


@dataclass(frozen=True, slots=True)
class Scalar:
    """A word or a string; `quoted` tells which, and means nothing for the value."""

    text: str
    quoted: bool
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Array:
    """``( a b "c" )``: scalars in order, duplicates kept."""

    items: tuple[Scalar, ...]
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Dictionary:
    """``[ key = value ]``: pairs in order; a repeated key was resolved to its last value by the reader."""

    pairs: tuple[tuple[Scalar, Scalar | Array], ...]
    span: Span = field(default=NOWHERE, compare=False)


Value = Scalar | Array | Dictionary


@dataclass(slots=True, eq=False)
class Setting:
    """One option set in one scope instance.

    Args:
        key: the option's name in lower case.
        spelled: the name as written.
        value: as written.
        span: of the name.
        previous: the setting of the same scope instance that this one overrides, if any.
    """

    key: str
    spelled: str
    value: Value
    span: Span
    previous: Setting | None = None


@dataclass(slots=True, eq=False)
class Scope:
    """One scope instance, merged from all its stanzas.

    Args:
        kind: the scope word in lower case, ``"global"`` for the root.
        instance: the canonical instance name used for merging (``config/instance.py``), None for an unnamed scope.
        spelled: the instance name as first written, None for an unnamed scope.
        parent: the scope around it, None for the root.
        spans: the places of its stanzas' names, in reading order.
        settings: by option name in lower case, in order of first appearance.
        children: by (kind, canonical instance), in order of first appearance.
        word: the scope word as first written, for messages.
    """

    kind: str
    instance: str | None = None
    spelled: str | None = None
    parent: Scope | None = None
    spans: list[Span] = field(default_factory=list)
    settings: dict[str, Setting] = field(default_factory=dict)
    children: dict[tuple[str, str | None], Scope] = field(default_factory=dict)
    word: str = ""

    def all(self, kind: str) -> Iterator[Scope]:
        """The direct children of that kind, in order of first appearance."""
        return (child for child in self.children.values() if child.kind == kind)

    def get(self, kind: str, instance: str | None = None) -> Scope | None:
        """One direct child by kind and canonical instance."""
        return self.children.get((kind, instance))

    def walk(self) -> Iterator[Scope]:
        """This scope and everything below it, depth first."""
        yield self
        for child in self.children.values():
            yield from child.walk()

    @property
    def span(self) -> Span:
        """Where it was first opened."""
        return self.spans[0] if self.spans else NOWHERE

    def __str__(self) -> str:
        """For messages, as first written: ``Listen ":25"`` or ``ESMTP_Listener``; the root is ``the global scope``."""
        if self.parent is None:
            return "the global scope"
        word = self.word or self.kind
        return word if self.spelled is None else f'{word} "{self.spelled}"'


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file that was read.

    Args:
        path: the path as shown in messages.
        text: its decoded content, for carets and for editing in place.
        readonly: whether it was included by ``readonly_include`` or more than once.
        chain: the include statements that led to it, outermost first.
    """

    path: str
    text: str
    readonly: bool = False
    chain: tuple[Span, ...] = ()


@dataclass(slots=True)
class Tree:
    """What a load produced, or what edits made of that.

    Args:
        root: the root scope.
        files: the files that were read, by path as shown in messages, in the order of reading; the first is the master.
        includes: the files (as in `files`) that an include statement stands for, by the file that holds the statement
            and the path as written there.
        local_changes: the file that Local_Changes_File names, as in `files` if it was read, or "".
        ledger: where edits are written back from; None for a tree that nobody edited.
    """

    root: Scope
    files: dict[str, SourceFile] = field(default_factory=dict)
    includes: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    local_changes: str = ""
    ledger: Ledger | None = None


@dataclass(slots=True)
class Ledger:
    """What all trees that were made of one load by edits share.

    Write-back always starts from the texts as they were loaded, so a change that is taken back leaves no trace.

    Args:
        loaded: the tree as it was read.
        saved: the root of what the files on disk mean now: that of `loaded` until something is written back.
        on_disk: the texts that were written back, by path.
    """

    loaded: Tree
    saved: Scope
    on_disk: dict[str, str] = field(default_factory=dict)
