"""The arguments by which `gsmtp queue` is told which recipients are meant."""

from __future__ import annotations

import argparse
import re
from dataclasses import replace

from gsmtp.core.domains import normal_domain
from gsmtp.core.errors import ConfigError
from gsmtp.spool.actions import OPEN
from gsmtp.spool.filters import span_s
from gsmtp.spool.selection import Selection

ID = re.compile(r"[0-9A-Fa-f]{2}/[0-9A-Fa-f]{2}-\d{5}-[0-9A-Fa-f]{8}")


def add_filters(parser: argparse.ArgumentParser) -> None:
    """Declare the filters; all that are given have to fit."""
    parser.add_argument("--domain", metavar="D", help="recipients of that domain")
    parser.add_argument("--state", choices=OPEN, help="recipients in that state")
    parser.add_argument("--sender", metavar="A", help="messages of that sender; <> is the null sender")
    parser.add_argument("--recipient", metavar="A", help="that address")
    parser.add_argument(
        "--older", metavar="SPAN", type=_span, default=0.0, help="received at least so long ago: 2h, 7d"
    )
    parser.add_argument("--newer", metavar="SPAN", type=_span, default=0.0, help="received at most so long ago")


def _span(text: str) -> float:
    try:
        return span_s(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def selection(args: argparse.Namespace, ids: list[str] | None = None) -> Selection:
    """What the arguments mean."""
    found = Selection(
        domain=normal_domain(args.domain or ""),
        states=(args.state,) if args.state else (),
        sender=None if args.sender is None else args.sender.removeprefix("<").removesuffix(">"),
        recipient=args.recipient or "",
        older_s=args.older,
        newer_s=args.newer,
    )
    return replace(found, ids=tuple(ids)) if ids else found


def conf_and_ids(words: list[str], spool: str | None) -> tuple[str | None, list[str]]:
    """Part ``[CONF] [ID …]``. Raises ConfigError for a word that is no id."""
    conf = None
    if words and not spool and not ID.fullmatch(words[0]):
        conf, words = words[0], words[1:]
    for word in words:
        if not ID.fullmatch(word):
            raise ConfigError(f"'{word}' is not a message id such as 00/2A-01234-0000001F")
    return conf, [word.upper() for word in words]
