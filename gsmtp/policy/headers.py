"""The header section of a message, as hooks read and edit it: what is not edited stays byte for byte.

Source: RFC 5322 section 2.2 (fields and folding), RFC 2047 (encoded words).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_NAME = re.compile(r"[!-9;-~]+")
_FIELD_START = re.compile(rb"([!-9;-~]+)[ \t]*:")
_LINE_BREAK = re.compile(r"\r\n(?=[ \t])")
_BAD_VALUE = re.compile(r"[\r\n\x00]")
_WIDTH = 78


def split_head(data: bytes) -> int:
    """How many of a message's first octets are its header section, the blank line behind it included.

    Args:
        data: begins with the message and holds all of its header section.
    """
    if _FIELD_START.match(data) is None:
        return 2 if data.startswith(b"\r\n") else 0
    end = data.find(b"\r\n\r\n")
    return end + 4 if end >= 0 else len(data)


class Headers:
    """The fields of one message, in order. Names are matched without case.

    Args:
        section: the whole section with the blank line, as `split_head` cuts it.

    Attributes:
        is_edited: whether anything was changed.
        is_locked: whether it is too late for that: all recipients of a message share its text.
    """

    __slots__ = ("_fields", "_section", "is_edited", "is_locked")

    def __init__(self, section: bytes) -> None:
        self._section = section
        self._fields: list[tuple[str, bytes]] | None = None  # name in lower case, raw field with its line ends
        self.is_edited = False
        self.is_locked = False

    # --- reading

    def get(self, name: str, default: str = "") -> str:
        """The first field's value, unfolded and decoded (RFC 2047), without blanks around it."""
        raw = self.raw(name)
        return default if raw is None else decoded(raw)

    def get_all(self, name: str) -> list[str]:
        """The values of all fields of that name."""
        return [decoded(raw) for raw in self.raw_all(name)]

    def raw(self, name: str) -> bytes | None:
        """The first field's value as it stands there, folding included, without its last line end; None for none."""
        key = name.lower()
        return next((_value(raw) for one, raw in self._all() if one == key), None)

    def raw_all(self, name: str) -> list[bytes]:
        """The raw values of all fields of that name."""
        key = name.lower()
        return [_value(raw) for one, raw in self._all() if one == key]

    def count(self, name: str) -> int:
        """How many fields have that name."""
        key = name.lower()
        return sum(one == key for one, _ in self._all())

    def items(self) -> list[tuple[str, str]]:
        """Name (as written) and decoded value of all fields."""
        return [(_written_name(raw), decoded(_value(raw))) for _, raw in self._all()]

    def __contains__(self, name: str) -> bool:
        return self.count(name) > 0

    def __iter__(self) -> Iterator[str]:
        """The names as written, in order, doubles too."""
        return (_written_name(raw) for _, raw in self._all())

    def __len__(self) -> int:
        return len(self._all())

    # --- editing

    def add(self, name: str, value: str | bytes) -> None:
        """Add a field at the end. Text is encoded and folded, bytes go in as they are.

        Raises:
            ValueError: the name is none, or the value holds a CR, LF or NUL.
            RuntimeError: it is too late: data and data_spool are over.
        """
        self._editable().append((name.lower(), _field(name, value)))
        self.is_edited = True

    def prepend(self, name: str, value: str | bytes) -> None:
        """Add a field at the top, behind a Return-Path (RFC 5321 section 4.4 has that first). Raises as `add`."""
        fields = self._editable()
        field = _field(name, value)
        fields.insert(1 if fields and fields[0][0] == "return-path" else 0, (name.lower(), field))
        self.is_edited = True

    def replace(self, name: str, value: str | bytes) -> None:
        """Put one field in the place of the first of that name, and remove the others; add it when there is none."""
        key = name.lower()
        field = _field(name, value)
        fields = self._editable()
        places = [place for place, (one, _) in enumerate(fields) if one == key]
        if not places:
            fields.append((key, field))
        else:
            fields[places[0]] = (key, field)
            for place in reversed(places[1:]):
                del fields[place]
        self.is_edited = True

    def remove(self, name: str) -> int:
        """Remove all fields of that name; says how many there were."""
        key = name.lower()
        fields = self._editable()
        kept = [field for field in fields if field[0] != key]
        removed = len(fields) - len(kept)
        if removed:
            self._fields = kept
            self.is_edited = True
        return removed

    # --- for the server

    def section(self) -> bytes:
        """The header section as it is now, blank line included; the same bytes as at first when nothing was edited."""
        if not self.is_edited:
            return self._section
        blank = b"" if self._section.endswith(b"\r\n") and not self._ends_blank() else b"\r\n"
        return b"".join([raw for _, raw in self._all()]) + blank

    def _ends_blank(self) -> bool:
        return self._section.endswith(b"\r\n\r\n") or self._section == b"\r\n"

    def copy(self) -> Headers:
        """One that can be edited apart from this."""
        other = Headers(self._section)
        other._fields = None if self._fields is None else list(self._fields)
        other.is_edited = self.is_edited
        return other

    def take(self, other: Headers) -> None:
        """Become what a copy was edited to."""
        self._fields = other._fields
        self.is_edited = other.is_edited

    def _editable(self) -> list[tuple[str, bytes]]:
        if self.is_locked:
            raise RuntimeError("header fields can be edited in data and data_spool only: all recipients share them")
        return self._all()

    def _all(self) -> list[tuple[str, bytes]]:
        fields = self._fields
        if fields is None:
            fields = self._fields = list(_split(self._section))
        return fields


def _split(section: bytes) -> Iterator[tuple[str, bytes]]:
    """The fields of a section with their names in lower case."""
    lines = section.split(b"\r\n")
    lines.pop()  # what follows the last line end: nothing
    field: list[bytes] = []
    for line in lines:
        if field and line[:1] not in (b" ", b"\t"):
            yield _named(field)
            field = []
        if line:
            field.append(line)
    if field:
        yield _named(field)


def _named(lines: list[bytes]) -> tuple[str, bytes]:
    raw = b"\r\n".join(lines) + b"\r\n"
    return _written_name(raw).lower(), raw


def _written_name(raw: bytes) -> str:
    return raw.partition(b":")[0].rstrip(b" \t").decode("ascii", "replace")


def _value(raw: bytes) -> bytes:
    value = raw.partition(b":")[2].removesuffix(b"\r\n")
    return value.removeprefix(b" ")


def decoded(raw: bytes) -> str:
    """A raw value as text: unfolded, encoded words decoded, blanks around it taken away.

    Octets that are not UTF-8 become U+FFFD; encoded words that can't be decoded stay as they are.
    """
    text = _LINE_BREAK.sub("", raw.decode("utf-8", "replace")).strip(" \t")
    if "=?" not in text:
        return text
    from email.errors import HeaderParseError
    from email.header import decode_header

    try:
        parts = decode_header(text)
        return "".join(
            part if isinstance(part, str) else part.decode(charset or "ascii", "replace") for part, charset in parts
        )
    except (HeaderParseError, LookupError, ValueError):
        return text


def _field(name: str, value: str | bytes) -> bytes:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a header field")
    if isinstance(value, bytes):
        unfolded = re.sub(rb"\r\n(?=[ \t])", b"", value)
        if re.search(rb"[\r\n\x00]", unfolded):
            raise ValueError(f"the value of {name} holds a line end or NUL")
        return name.encode() + b": " + value + b"\r\n"
    if _BAD_VALUE.search(value):
        raise ValueError(f"the value of {name} holds a line end or NUL")
    if value.isascii():
        return _folded(f"{name}: {value}").encode() + b"\r\n"
    from email.header import Header

    encoded = Header(value, "utf-8", maxlinelen=_WIDTH, header_name=name).encode(linesep="\r\n")
    return f"{name}: {encoded}\r\n".encode()


def _folded(line: str) -> str:
    """Fold at blanks where a line would be longer than 78; what has no blanks stays long."""
    done: list[str] = []
    while len(line) > _WIDTH:
        start = line.find(":") + 2 if not done else 1
        cut = line.rfind(" ", start, _WIDTH + 1)
        if cut <= start:
            cut = line.find(" ", max(start + 1, _WIDTH))
        if cut < 0 or not line[cut:].strip():
            break
        done.append(line[:cut])
        line = line[cut:]
    return "\r\n".join([*done, line])
