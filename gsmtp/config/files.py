"""From the path in a statement to text: search path, directories, reading, decoding.

Source: reference/config-language.md sections 1 and 10.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

_PERCENT = re.compile("%([0-7][0-9A-Fa-f])")
_VENDOR = "/opt/msys/ecelerity/etc"
DEFAULT_SEARCH_PATH = (_VENDOR, f"{_VENDOR}/conf/global", f"{_VENDOR}/conf/{{NODENAME}}", f"{_VENDOR}/conf/default")
_BACKUP_ENDS = ("~", ".bak", ".orig", ".rej", ".old", ".swp", ".tmp", ".rpmsave", ".rpmnew", ".dpkg-old", ".dpkg-dist")


class BadPath(Exception):
    """A path that can't be used; the text says why, `hint` what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def is_yaml(path: str) -> bool:
    """Whether the suffix says YAML."""
    return path.lower().endswith((".yaml", ".yml"))


def is_backup(path: str) -> bool:
    """Whether a file's name looks like an editor's or a packager's left-over."""
    name = os.path.basename(path)
    return name.lower().endswith(_BACKUP_ENDS) or (name.startswith("#") and name.endswith("#"))


def read_text(path: str) -> str:
    """The text of a file, undecodable bytes as surrogate escapes, a BOM dropped. Raises BadPath."""
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        raise BadPath(f"can't be read: {error.strerror}") from None
    except ValueError:
        raise BadPath("can't be read: no file has such a name") from None
    return decode(content)


def decode(content: bytes) -> str:
    """Bytes of a source as text: UTF-8, undecodable bytes as surrogate escapes, one BOM dropped."""
    return content.decode("utf-8", "surrogateescape").removeprefix("\ufeff")


def search_directories(master: str, explicit: Sequence[str] | None) -> list[str]:
    """Where relative includes are looked for after the including file's own directory.

    Args:
        master: path of the master file.
        explicit: replaces everything else when given; otherwise ``EC_CONF_SEARCH_PATH`` replaces the default.
    """
    if explicit is not None:
        found = list(explicit)
    elif os.environ.get("EC_CONF_SEARCH_PATH"):
        found = os.environ["EC_CONF_SEARCH_PATH"].split(":")
    else:
        found = [os.path.dirname(master) or ".", *DEFAULT_SEARCH_PATH]
    node = os.uname().nodename
    return [directory.replace("{NODENAME}", node) for directory in found if directory]


def resolve(written: str, including: str, directories: Sequence[str]) -> str:
    """The path that an include means. Raises BadPath when nothing is there or the URI can't be served.

    Args:
        written: the path or URI as written.
        including: path of the file that holds the statement.
        directories: the search path.
    """
    path = _strip_scheme(written)
    if not path:
        raise BadPath("an empty path")
    candidates = [path] if os.path.isabs(path) else _candidates(path, including, directories)
    for candidate in candidates:
        if os.path.exists(candidate):
            return candidate
    if len(candidates) == 1:
        raise BadPath(f"no such file or directory: {path}")
    looked = ", ".join(os.path.dirname(candidate) or "." for candidate in candidates)
    raise BadPath(f"no such file or directory: {path}", f"looked in {looked}")


def place(written: str, including: str) -> str:
    """Where a file that need not exist is to be: beside the including file if relative. Raises BadPath."""
    return os.path.join(os.path.dirname(including), _strip_scheme(written))


def _candidates(path: str, including: str, directories: Sequence[str]) -> list[str]:
    found = [os.path.join(os.path.dirname(including), path)]
    for directory in directories:
        candidate = os.path.join(directory, path)
        known = {os.path.abspath(one) for one in found}
        if os.path.abspath(candidate) not in known and os.path.isdir(directory):
            found.append(candidate)
    return found


def _strip_scheme(written: str) -> str:
    scheme, separator, rest = written.partition("://")
    if not separator or "/" in scheme:
        return written
    if scheme.lower() != "file":
        raise BadPath(f"'{scheme}://' can't be included", "only plain paths and file:// are served")
    host, slash, path = rest.partition("/")
    if host not in ("", "localhost") or not slash:
        raise BadPath("a file:// URI names an absolute path", "write file:///path/of/the/file")
    return _PERCENT.sub(lambda match: chr(int(match[1], 16)), "/" + path)


def expand(path: str) -> list[str]:
    """The files that an included path stands for: itself, or a directory's visible regular files in byte order.

    Raises BadPath when the path is neither, or can't be listed.
    """
    if os.path.isfile(path):
        return [path]
    if not os.path.isdir(path):
        raise BadPath(f"neither a file nor a directory: {path}")
    try:
        with os.scandir(path) as entries:
            names = [entry.name for entry in entries if not entry.name.startswith(".") and entry.is_file()]
    except OSError as error:
        raise BadPath(f"can't be listed: {error.strerror}") from None
    return [os.path.join(path, name) for name in sorted(names, key=os.fsencode)]
