"""Configurations from texts, for the tests of this folder."""

from __future__ import annotations

import textwrap

from gsmtp.app.wiring import load
from gsmtp.config.check import check
from gsmtp.config.diagnostics import Problem, Problems
from gsmtp.config.render import render
from gsmtp.config.scopes import Configuration, ListenStanza, compile_tree
from gsmtp.config.source import read_text

NAME = "test.conf"


def found_in(text: str, *, momentum: bool = False) -> list[Problem]:
    """All that reading and checking a configuration finds."""
    load()
    problems = Problems()
    tree = read_text(textwrap.dedent(text), NAME, problems)
    check(tree, problems, momentum=momentum)
    return list(problems)


def messages(text: str, *, momentum: bool = False) -> list[str]:
    """The same as ``LINE:COLUMN: severity: message``, with the hint in brackets where there is one."""
    return [
        f"{one.span.line}:{one.span.column}: {one.severity}: {one.message}" + (f" [{one.hint}]" if one.hint else "")
        for one in found_in(text, momentum=momentum)
    ]


def compiled(text: str) -> Configuration:
    """A configuration that has no errors."""
    load()
    problems = Problems()
    tree = read_text(textwrap.dedent(text), NAME, problems)
    check(tree, problems)
    assert not problems.has_errors, render(problems, tree)
    return compile_tree(tree, 7)


def listen(configuration: Configuration, name: str) -> ListenStanza:
    """The Listen stanza that is spelled so."""
    return next(one for one in configuration.listens if one.name == name)
