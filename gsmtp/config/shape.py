"""What a YAML mapping under a key means: a named stanza, an unnamed one, or a dictionary.

In conf the brackets tell. In YAML it is found, in this order, by

1. a tag: ``!named``, ``!stanza`` or ``!dict`` before the value;
2. the tables: a stanza declared for that word, an option of that name whose kind is a dictionary;
3. the names that the documentation uses for dictionaries (``context``, ``auth…parameters`` and a few more);
4. the structure: a mapping that holds mappings only is a named stanza, anything else an unnamed one.

The YAML printer asks the same function what a reader would take its output for, and writes a tag where it would be
wrong. So a file survives the way there and back also when its words are unknown.

Source: reference/config-language.md section 16.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum

from gsmtp.config import common  # noqa: F401  declares the stanzas of the listener chapter
from gsmtp.config.option import OPTIONS
from gsmtp.config.stanza import STANZAS, Name

_DICTIONARIES = re.compile(r"context|auth\w*parameters|authorizationparameters|map|type_map")


class Shape(Enum):
    """What stands under a key."""

    NAMED = "!named"
    UNNAMED = "!stanza"
    DICTIONARY = "!dict"
    OPTION = ""


TAGS = {shape.value: shape for shape in Shape if shape.value}


def of_mapping(scope: str, word: str, inner: Sequence[str]) -> Shape:
    """The meaning of a mapping without a tag.

    Args:
        scope: the scope word (lower case) it stands in.
        word: the key.
        inner: what its values are: ``"scalar"``, ``"null"``, ``"list"``, ``"mappings"`` or ``"mapping"``.
    """
    declared = _declared(scope, word)
    if declared is not None:
        return declared
    if inner and all(kind in ("mapping", "mappings") for kind in inner):
        return Shape.NAMED
    return Shape.UNNAMED


def of_sequence(scope: str, word: str, inner: Sequence[str]) -> Shape:
    """The meaning of a list without a tag: an array, unless it holds mappings."""
    if not inner or not all(kind == "mapping" for kind in inner):
        return Shape.OPTION
    declared = _declared(scope, word)
    return declared if declared in (Shape.NAMED, Shape.UNNAMED) else Shape.UNNAMED


def of_null(scope: str, word: str) -> Shape:
    """The meaning of a key without a value: an empty stanza if the word is a stanza's, else a mistake."""
    return Shape.UNNAMED if _declared(scope, word) is Shape.UNNAMED else Shape.OPTION


def _declared(scope: str, word: str) -> Shape | None:
    """What the tables say of the word in that scope, None for a word that they leave open."""
    stanza = STANZAS.get(word)
    if stanza is not None and (scope in stanza.inside or OPTIONS.find(scope, word) is None):
        if stanza.name is Name.OPTIONAL:
            return None
        return Shape.NAMED if stanza.name is Name.REQUIRED else Shape.UNNAMED
    declared = OPTIONS.find(scope, word)
    options = [declared] if declared is not None else OPTIONS.named(word)
    if any(option.kind.name == "dictionary" for option in options) or _DICTIONARIES.fullmatch(word.lower()):
        return Shape.DICTIONARY
    return Shape.OPTION if options else None
