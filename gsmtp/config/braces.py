"""Which brace is missing or too many: what the reader pushes and pops, and a guess by indentation.

A parser notices a missing ``}`` at the end of the file, far from the mistake. People indent, so a scope whose brace
stands further left than the scope itself, or that holds something standing no further right than itself, is the one
that was not closed.
"""

from __future__ import annotations

from dataclasses import dataclass

from gsmtp.config.diagnostics import Problems, Span
from gsmtp.config.nodes import Document, StanzaNode, walk
from gsmtp.config.remarks import quote

# A file that lacks more braces than this is damaged in another way.
_MOST_REPORTED = 10


@dataclass(slots=True)
class _Guess:
    """A scope that probably lacks its brace, and where that shows."""

    node: StanzaNode
    evidence: int
    by_brace: bool


class Braces:
    """The open scopes of one document while it is read."""

    def __init__(self, document: Document, problems: Problems) -> None:
        self.document = document
        self.problems = problems
        self.stack: list[StanzaNode] = []
        self.closed: list[tuple[StanzaNode, int]] = []

    def open(self, node: StanzaNode) -> None:
        """A scope begins."""
        self.stack.append(node)

    def close(self, brace: int) -> None:
        """The innermost scope ends with the brace at this offset."""
        node = self.stack.pop()
        node.end = brace + 1
        self.closed.append((node, brace))

    def stray(self, brace: int) -> None:
        """Report a ``}`` when no scope is open."""
        related = []
        for node, closer in reversed(self.closed):
            if self._is_first(node.start) and self._is_first(closer) and self._depth(closer) > self._depth(node.start):
                what = f"this '}}' closed '{describe(node)}' and may be the one too many"
                related.append((what, self.document.span(closer, closer + 1)))
                break
        self.problems.error(
            self.document.span(brace, brace + 1),
            "'}' closes nothing",
            "remove it, or add the scope that it was to close",
            "stray-brace",
            related,
        )

    def finish(self, end: int) -> None:
        """At the end of the file: report each scope that is still open, at the place that is probably to blame."""
        if not self.stack:
            return
        for node in self.stack:
            node.end = end
        guesses = self._guesses()
        for node in self.stack[: -_MOST_REPORTED - 1 : -1]:
            guess = next((g for g in guesses if g.node is node or _encloses(node, g.node)), None)
            if guess is not None:
                guesses.remove(guess)
            self._report(node, guess)

    def _report(self, node: StanzaNode, guess: _Guess | None) -> None:
        if guess is None:
            self.problems.error(
                self._head(node),
                f"scope '{describe(node)}' is not closed",
                "add '}' where it ends",
                "unclosed-scope",
            )
            return
        line = self.document.position(guess.evidence)[0]
        related = []
        if guess.by_brace:
            brace = self.document.span(guess.evidence, guess.evidence + 1)
            related.append(("this '}' closes it, though it is indented as the end of another scope", brace))
        else:
            what = "this stands no deeper than the scope, so the scope was to end before it"
            related.append((what, self.document.span(guess.evidence, guess.evidence + 1)))
        if guess.node is not node:
            related.append((f"so '{describe(node)}' is open at the end of the file", self._head(node)))
        self.problems.error(
            self._head(guess.node),
            f"scope '{describe(guess.node)}' is not closed",
            f"add '}}' before line {line}",
            "unclosed-scope",
            related,
        )

    def _head(self, node: StanzaNode) -> Span:
        return self.document.span(node.start, node.open + 1)

    def _is_first(self, offset: int) -> bool:
        return self.document.is_first_on_line(offset)

    def _depth(self, offset: int) -> int:
        return self.document.indent(offset)

    def _guesses(self) -> list[_Guess]:
        """Scopes that indentation says lack their brace, by where that shows."""
        found: dict[int, _Guess] = {}
        closers = {id(node): brace for node, brace in self.closed}
        for node in walk(self.document.items):
            if not isinstance(node, StanzaNode) or not self._is_first(node.start):
                continue
            depth = self._depth(node.start)
            evidence = [
                _Guess(node, item.start, False)
                for item in node.items
                if self._is_first(item.start) and self._depth(item.start) <= depth
            ][:1]
            brace = closers.get(id(node))
            if brace is not None and self._is_first(brace) and self._depth(brace) < depth:
                evidence.append(_Guess(node, brace, True))
            if evidence:
                found[id(node)] = min(evidence, key=lambda guess: guess.evidence)
        return sorted(found.values(), key=lambda guess: guess.evidence)


def _encloses(outer: StanzaNode, inner: StanzaNode) -> bool:
    return any(item is inner for item in walk(outer.items))


def describe(node: StanzaNode) -> str:
    """A stanza as it is written, for messages: ``Listen ":25"``; ``{`` for one without a word."""
    if not node.word:
        return "{"
    return node.word if node.name is None else f"{node.word} {quote(node.name.text)}"
