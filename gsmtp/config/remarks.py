"""Words about a text that `grammar` and `recover` share: warnings for spellings that are taken, and explanations.

Only here does the reading of conf text ask the tables of options and stanzas, and only to word a hint better.
"""

from __future__ import annotations

from gsmtp.config.diagnostics import Problems
from gsmtp.config.nodes import Document, OptionNode, Text
from gsmtp.config.option import OPTIONS
from gsmtp.config.stanza import STANZAS, Name


def quote(text: str) -> str:
    """The text as a ``"…"`` string, for hints and for the conf printer.

    Source: reference/config-language.md section 4.2.
    """
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\t", "\\t")
    if "\r" in escaped:
        escaped = escaped.replace("\r", "\\r").replace("\n", "\\n")
    return f'"{escaped}"'


def may_lack_equals(document: Document, name: Text, value: Text) -> bool:
    """Whether ``name value`` without "=" is an option.

    It must stand on one line, begin that line or a scope, end the line or the scope, and not be a scope's name.

    Source: reference/config-language.md sections 8 and 15.
    """
    text = document.text
    before = text[document.line_start(name.start) : name.start].rstrip()
    stop = text.find("\n", value.end)
    after = text[value.end : len(text) if stop < 0 else stop].lstrip()
    return (
        "\n" not in text[name.end : value.start]
        and (not before or before.endswith(("{", "}", "*/")))
        and (not after or after.startswith(("}", "#", "/*")))
        and not is_scope_only(name.text)
    )


def missing_equals(document: Document, option: OptionNode, problems: Problems) -> None:
    """Warn about ``name value``."""
    assert isinstance(option.value, Text)
    problems.warning(
        document.span(option.start, option.start + len(option.name)),
        f"option '{option.name}' has no '=' before its value",
        hint=f"write {option.name} = {show(option.value)}",
        code="missing-equals",
    )


def show(value: Text) -> str:
    """A scalar as it was written: with quotes if it had some."""
    return quote(value.text) if value.quoted else value.text


def is_known(name: str) -> bool:
    """Whether an option or a stanza of that name is declared."""
    return _is_option(name) or STANZAS.get(name) is not None


def is_scope_only(name: str) -> bool:
    """Whether the name is that of a scope and of no option, so that it can't be meant as ``name value``."""
    stanza = STANZAS.get(name)
    return stanza is not None and not _is_option(name)


def explain_bare_word(name: str) -> tuple[str, str]:
    """What is wrong with a word that nothing follows, and what to do."""
    if name.lower() == "relay_for_sending_domains":
        return (
            f"option '{name}' has no value",
            "write 'open_relay = true' for what the bare word did in version 2.2, or list the domains: ( … )",
        )
    if set(name) <= {".", "…"}:
        return "dots that stand for something left out", "remove them: they are a mark of the manual, not syntax"
    if set(name) <= {"»"}:
        return "mark of a folded line", "remove it and join the lines: it is a mark of the manual, not syntax"
    if name == "*/":
        return "'*/' ends no comment", "comments don't nest: the first '*/' ended it; remove the inner '/*' and '*/'"
    stanza = STANZAS.get(name)
    if stanza is not None and not _is_option(name):
        instance = ' "NAME"' if stanza.name is Name.REQUIRED else ""
        return f"scope '{name}' without its braces", f"write '{name}{instance} {{ }}'"
    if _is_option(name):
        return f"option '{name}' has no value", f"write '{name} = VALUE'"
    return f"word '{name}' alone is no statement", f"write '{name} = VALUE' for an option, '{name} {{ }}' for a scope"


def _is_option(name: str) -> bool:
    # The vocabulary is needed here only, to word a hint.
    from gsmtp.config.accepted import named

    return bool(OPTIONS.named(name) or named(name))


def split_commas(item: Text) -> list[Text]:
    """The items of an array that one token holds: an unquoted comma is white space there.

    Source: reference/config-language.md section 6.
    """
    if item.quoted or "," not in item.text:
        return [item]
    found: list[Text] = []
    at = item.start
    for part in item.text.split(","):
        if part:
            found.append(Text(part, False, at, at + len(part)))
        at += len(part) + 1
    return found
