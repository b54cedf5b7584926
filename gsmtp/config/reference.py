"""The options reference, from the declarations: for `gsmtp options`, and docs/options.md, which is made by it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gsmtp.config import accepted, kinds
from gsmtp.config.accepted import ACCEPTED, Accepted
from gsmtp.config.kinds import Kind
from gsmtp.config.option import OPTIONS, Option
from gsmtp.config.pools import PREDEFINED_POOLS
from gsmtp.config.scopes import CHAIN
from gsmtp.config.stanza import STANZAS, Name, Stanza
from gsmtp.config.titles import scope_word
from gsmtp.core.domains import DomainPatterns

_DYNAMIC: dict[bool | str, str] = {
    True: "at reload, for new sessions",
    False: "at restart",
    "socket": "at reload, when the socket is made",
}


def shown_value(option: Option[Any], value: Any) -> str:
    """A typed value of an option as one writes it, and its unit."""
    text = option.kind.show(value)
    return f"{text} {option.unit}" if option.unit and isinstance(value, int) else text


def plain_value(kind: Kind[Any], value: Any) -> Any:
    """A typed value for JSON: numbers, booleans, texts, lists and objects; modes and rates as they are written."""
    if kind in (kinds.mode, kinds.rate):
        return kind.show(value).strip('"')
    if isinstance(value, tuple | DomainPatterns):
        return [str(item) for item in value]
    return value if isinstance(value, str | int | float | dict) else kind.show(value)


# --- one name -------------------------------------------------------------------------------------


def option_data(option: Option[Any]) -> dict[str, Any]:
    """One declaration for JSON."""
    return {
        "name": option.name,
        "aliases": list(option.aliases),
        "kind": option.kind.name,
        "accepts": option.kind.describe,
        "default": plain_value(option.kind, option.default),
        "unit": option.unit,
        "scopes": list(option.scopes),
        "takes_effect": _DYNAMIC[option.dynamic],
        "doc": option.doc,
        "source": option.source,
        "ours": option.ours,
        "served": not option.unserved,
        "reason": option.unserved,
    }


def accepted_data(row: Accepted) -> dict[str, Any]:
    """One name that is taken and not served, for JSON."""
    return {
        "name": row.name,
        "default": row.default,
        "scopes": list(row.scopes),
        "served": False,
        "reason": row.reason,
    }


def stanza_data(stanza: Stanza) -> dict[str, Any]:
    """One stanza for JSON."""
    return {
        "name": stanza.word,
        "stanza": True,
        "instance_name": str(stanza.name),
        "inside": list(stanza.inside),
        "doc": stanza.doc,
        "ours": stanza.ours,
        "served": stanza.served,
        "reason": stanza.reason,
    }


def data(name: str | None = None) -> list[dict[str, Any]]:
    """Everything, or everything of one name, for JSON."""
    options = OPTIONS if name is None else OPTIONS.named(name)
    rows = ACCEPTED if name is None else accepted.named(name)
    stanza = None if name is None else STANZAS.get(name)
    stanzas = _stanzas() if name is None else [stanza] if stanza is not None else []
    return [*map(stanza_data, stanzas), *map(option_data, options), *map(accepted_data, rows)]


def describe(name: str) -> str:
    """All that is known of one name, for a terminal; "" when nothing is."""
    stanza = STANZAS.get(name)
    parts = [_describe_stanza(stanza)] if stanza is not None else []
    parts += [_describe_option(option) for option in OPTIONS.named(name)]
    parts += [_describe_accepted(row) for row in accepted.named(name)]
    return "\n".join(parts)


def _describe_option(option: Option[Any]) -> str:
    lines = [option.name + (" (gsmtp's own)" if option.ours else ""), f"  {_terminal(option.doc)}"]
    if option.aliases:
        lines.append("  also:     " + ", ".join(option.aliases))
    lines += [
        f"  value:    {option.kind.describe}",
        f"  default:  {shown_value(option, option.default)}",
        f"  valid in: {_scopes(option.scopes)}",
        f"  changes:  {_DYNAMIC[option.dynamic]}",
    ]
    if option.source and not option.ours:
        lines.append(f"  source:   {option.source}")
    if option.unserved:
        lines.append(f"  not served: {option.unserved}")
    return "\n".join(lines) + "\n"


def _describe_accepted(row: Accepted) -> str:
    lines = [row.name, f"  not served: {row.reason}", f"  valid in: {_scopes(row.scopes)}"]
    if row.default:
        lines.append(f"  default:  {row.default} (Momentum's)")
    return "\n".join(lines) + "\n"


def _describe_stanza(stanza: Stanza) -> str:
    lines = [_stanza_form(stanza) + (" (gsmtp's own)" if stanza.ours else ""), f"  {_terminal(stanza.doc)}"]
    lines.append(f"  stands in: {_scopes(stanza.inside)}")
    if not stanza.served:
        lines.append(f"  not served: {stanza.reason}")
    options = [option.name for option in OPTIONS.in_scope(stanza.key)]
    if options:
        lines.append("  options: " + ", ".join(options))
    return "\n".join(lines) + "\n"


def _terminal(text: str) -> str:
    return text.replace("``", "'")


def _scopes(scopes: Iterable[str]) -> str:
    return ", ".join(scope_word(scope) for scope in scopes)


def _stanza_form(stanza: Stanza) -> str:
    name = {Name.NONE: "", Name.REQUIRED: ' "NAME"', Name.OPTIONAL: ' ["NAME"]'}[stanza.name]
    return f"{stanza.word}{name} {{ … }}"


# --- everything -----------------------------------------------------------------------------------


def overview() -> str:
    """A line for each option, for a terminal."""
    lines = ["Options that gsmtp serves (`gsmtp options NAME` explains one):", ""]
    lines += [_overview_line(option) for option in OPTIONS if not option.unserved and not option.ours]
    lines += ["", "gsmtp's own, which Momentum doesn't know:", ""]
    lines += [_overview_line(option) for option in OPTIONS if option.ours]
    lines += ["", f"Taken and not served: {len(_unserved_rows())} names; `gsmtp options --markdown` lists them."]
    return "\n".join(lines) + "\n"


def _overview_line(option: Option[Any]) -> str:
    return f"  {option.name:<44} {shown_value(option, option.default):<24} {_scopes(option.scopes)}"


def _stanzas() -> list[Stanza]:
    return sorted(STANZAS, key=lambda stanza: stanza.key)


def _unserved_rows() -> list[tuple[str, tuple[str, ...], str]]:
    """Name, scopes and reason of what is taken and not served, by name."""
    rows = [(row.name, row.scopes, row.reason) for row in ACCEPTED]
    rows += [(option.name, option.scopes, option.unserved) for option in OPTIONS if option.unserved]
    return sorted(rows, key=lambda row: (row[0].lower(), row[1]))


_INTRODUCTION = """\
# Options

Made by `gsmtp options --markdown` from the declarations in the code; change those, then run `make docs`.

Names are Momentum's and are matched without case. Each option may stand in the scopes that are named with it. For a
connection the first of these that sets an option gives its value; the option's default comes last:

{chain}

For mail that is handed on: the Domain stanza of that name, then Domain stanzas whose regular expression matches, in the
order of the file, then the global scope. Other stanzas have their own options alone.
"""


def markdown() -> str:
    """The whole reference as a page."""
    chain = "\n".join(f"{number}. {words}" for number, (words, _) in enumerate(CHAIN, 1))
    parts = [_INTRODUCTION.format(chain=chain), "## Stanzas\n"]
    parts += ["| stanza | stands in | what it is for |", "| --- | --- | --- |"]
    parts += [
        f"| `{_stanza_form(stanza)}` | {_scopes(stanza.inside)} | {_cell(stanza.doc)} |"
        for stanza in _stanzas()
        if stanza.served
    ]
    parts += [
        "",
        "Predefined thread pools:",
        "",
        "| pool | Concurrency | Backlog | use |",
        "| --- | ---: | ---: | --- |",
    ]
    parts += [
        f"| `{name}` | {pool.concurrency} | {pool.backlog or 'unlimited'} | {pool.use} |"
        for name, pool in PREDEFINED_POOLS.items()
    ]
    parts += ["", "## Options that are served", ""]
    parts += [_markdown_option(option) for option in OPTIONS if not option.ours and not option.unserved]
    parts += ["## gsmtp's own options", "", "Momentum doesn't know these; `gsmtp check --momentum` refuses them.", ""]
    parts += [_markdown_option(option) for option in OPTIONS if option.ours]
    parts += [
        f"### `{_stanza_form(stanza)}`\n\n{_code(stanza.doc)}\n"
        for stanza in _stanzas()
        if stanza.ours and stanza.served
    ]
    parts += ["## Options that are taken and not served", "", "They load, and are named once with the reason.", ""]
    parts += ["| option | valid in | why |", "| --- | --- | --- |"]
    parts += [f"| `{name}` | {_scopes(scopes)} | {_cell(reason)} |" for name, scopes, reason in _unserved_rows()]
    parts += ["", "## Stanzas that are taken and not served", "", "| stanza | stands in | why |", "| --- | --- | --- |"]
    parts += [
        f"| `{_stanza_form(stanza)}` | {_scopes(stanza.inside)} | {_cell(stanza.reason)} |"
        for stanza in _stanzas()
        if not stanza.served
    ]
    return "\n".join(parts) + "\n"


def _markdown_option(option: Option[Any]) -> str:
    facts = [
        f"value: {_code(option.kind.describe)}",
        f"default: `{shown_value(option, option.default)}`",
        f"valid in: {_scopes(option.scopes)}",
        f"changes: {_DYNAMIC[option.dynamic]}",
    ]
    if option.aliases:
        facts.insert(0, "also written: " + ", ".join(f"`{alias}`" for alias in option.aliases))
    if option.source and not option.ours:
        facts.append(f"source: {option.source}")
    return f"### `{option.name}`\n\n{_code(option.doc)}\n\n" + "\n".join(f"* {fact}" for fact in facts) + "\n"


def _code(text: str) -> str:
    return text.replace("``", "`")


def _cell(text: str) -> str:
    return _code(text).replace("|", "\\|")
