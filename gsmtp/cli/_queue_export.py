"""`gsmtp queue export`: messages out of the spool into files, with their envelopes, or onto standard output.

Reads only. A body is copied piece by piece, whatever its size.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from gsmtp.cli._queue_filters import selection
from gsmtp.cli._queue_show import data
from gsmtp.core.errors import ConfigError, SpoolError
from gsmtp.spool.base import QueuedMessage, StoredBody
from gsmtp.spool.inspect_all import Inspectors


def add_export(parser: argparse.ArgumentParser) -> None:
    """Its own arguments."""
    parser.add_argument("--to", metavar="DIR", help="a folder for ID.eml and ID.json; it is made")
    parser.add_argument("--stdout", action="store_true", help="the one message that is named, onto standard output")


def run_export(args: argparse.Namespace, base: str, ids: list[str]) -> int:
    """Write them. 1 when one that is named is not there, or a body can't be read."""
    if bool(args.to) == bool(args.stdout):
        raise ConfigError("where to? --to DIR, or --stdout for one message")
    if args.stdout and len(ids) != 1:
        raise ConfigError("--stdout takes one message id")
    inspector = Inspectors(base)
    count = failed = 0
    try:
        for message in inspector.messages(selection(args, ids)):
            count += 1
            try:
                _export(message, inspector.body(message.envelope.message_id), args.to)
            except SpoolError as error:
                failed += 1
                print(f"gsmtp: {error}", file=sys.stderr)
    finally:
        inspector.close()
    if args.to:
        print(f"{count - failed:,} message{'' if count - failed == 1 else 's'} in {args.to}")
    if len(ids) > count:
        print(f"{len(ids) - count} of {len(ids)} ids are not in the spool", file=sys.stderr)
    return 1 if failed or len(ids) > count else 0


def _export(message: QueuedMessage, body: StoredBody, folder: str | None) -> None:
    if folder is None:
        for piece in body.pieces():
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        return
    os.makedirs(folder, exist_ok=True)
    name = message.envelope.message_id.replace("/", "-")
    try:
        with open(os.path.join(folder, f"{name}.eml"), "wb") as file:
            file.writelines(body.pieces())
        Path(folder, f"{name}.json").write_text(json.dumps(data(message), indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise SpoolError(f"{error.filename or folder}: {error.strerror}") from error
