"""How text stands in XML: the library's two functions, loaded when a console asks for XML, for they bring a client of
HTTP with them, and `gsmtp check` imports the commands."""

from __future__ import annotations


def escape(text: str) -> str:
    """Text for between tags."""
    from xml.sax import saxutils

    return saxutils.escape(text)


def quoteattr(text: str) -> str:
    """Text as an attribute's value, with its quotes."""
    from xml.sax import saxutils

    return saxutils.quoteattr(text)
