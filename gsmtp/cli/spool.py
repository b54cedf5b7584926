"""`gsmtp spool verify|repair`: is the spool sound, and what can be saved of one that isn't.

`verify` reads only, beside a running server too. `repair` needs the server to be stopped. With workers each of their
spools is looked at.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict

from gsmtp.cli.queue import spool_directory
from gsmtp.core.errors import SpoolUnhealthy
from gsmtp.spool.inspect import NoSpool, is_in_use, look
from gsmtp.spool.inspect_all import folders
from gsmtp.spool.repair import Repaired, repair
from gsmtp.spool.verify import Finding, Verdict, verify

EXAMPLES = """\
examples:
  gsmtp spool verify ecelerity.conf              exit 0: sound, 1: something was found that loses mail
  gsmtp spool verify --spool /var/spool/gsmtp --json
  gsmtp spool repair ecelerity.conf --dry-run    what could be saved
  gsmtp spool repair ecelerity.conf              save it; the damaged database is kept under a dated name

Without CONF and --spool the default spool is used.
"""

_MOST_SHOWN = 50


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser(
        "spool",
        help="is the spool sound, and what can be saved of it",
        description="Look at all of a spool, or save what is readable of a damaged one.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    verifying = actions.add_parser("verify", help="read all of it and say what is wrong; the server may run")
    repairing = actions.add_parser("repair", help="save what is readable; the server must be stopped")
    repairing.add_argument("--dry-run", action="store_true", help="change nothing, say what would be saved")
    for action in (verifying, repairing):
        action.add_argument("conf", metavar="CONF", nargs="?", help="the server's configuration, which names the spool")
        action.add_argument("--spool", metavar="DIR", help="the spool's directory, instead of CONF")
        action.add_argument("--json", action="store_true", help="a JSON object for each spool")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Do it. 0: sound, or all was saved; 1: mail is damaged or lost, or it can't be done."""
    base = spool_directory(args.conf, args.spool)
    found = _spools(base)
    if args.action == "verify":
        return max([_verify(one, args.json) for one in found])
    for one in found if len(found) > 1 else ():
        if is_in_use(one):  # before the first of them is changed
            raise SpoolUnhealthy(f"the spool {one} is in use: stop the server first")
    return max([_repair(one, args.json, args.dry_run) for one in found])


def _spools(base: str) -> list[str]:
    """The folders that have a spool; the one that was named where none has."""
    found = []
    for folder in folders(base):
        try:
            look(folder)
        except NoSpool:
            continue
        found.append(folder)
    return found or [base]


def _progress(text: str) -> Callable[..., None]:
    """Show on a terminal how far it is."""

    def show(done: int, total: int = 0) -> None:
        if sys.stderr.isatty():
            print(f"\r{text} {done:,}" + (f" of {total:,}" if total else ""), end="", file=sys.stderr, flush=True)

    return show


def _end_progress() -> None:
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)


def _verify(base: str, as_json: bool) -> int:
    verdict = verify(base, _progress("messages read:"))
    _end_progress()
    if as_json:
        print(json.dumps({**asdict(verdict), "sound": verdict.is_sound}))
    else:
        _tell(verdict)
    return 0 if verdict.is_sound else 1


def _tell(verdict: Verdict) -> None:
    for finding in verdict.findings[:_MOST_SHOWN]:
        print(_line(finding))
    more = len(verdict.findings) - _MOST_SHOWN
    if more > 0:
        print(f"… and {more} more: --json lists all")
    states = ", ".join(f"{count:,} {state}" for state, count in sorted(verdict.recipients.items())) or "none"
    running = "a server runs on it" if verdict.in_use else "no server runs on it"
    print(f"{verdict.base}: {verdict.messages:,} messages, {verdict.body_files:,} of them in files ({running})")
    print(f"recipients: {states}")
    if verdict.is_sound:
        print("sound" if not verdict.findings else "sound, but untidy as said above")
    else:
        print("damaged: stop the server, then `gsmtp spool repair` saves what is readable")


def _line(finding: Finding) -> str:
    where = f"{finding.message_id}: " if finding.message_id else ""
    return f"{'error' if finding.loses else 'note'}: {where}{finding.text}"


def _repair(base: str, as_json: bool, is_dry: bool) -> int:
    result = repair(base, is_dry=is_dry, progress=_progress("messages saved:"))
    _end_progress()
    if as_json:
        print(json.dumps(asdict(result)))
    else:
        _tell_repaired(result, is_dry)
    return 1 if result.lost else 0


def _tell_repaired(result: Repaired, is_dry: bool) -> None:
    for what, why in result.lost[:_MOST_SHOWN]:
        print(f"lost: {what}: {why}")
    if len(result.lost) > _MOST_SHOWN:
        print(f"… and {len(result.lost) - _MOST_SHOWN} more: --json lists all")
    for path in result.bodies:
        print(f"saved without its envelope: {path}")
    verb = "can be saved" if is_dry else "saved"
    print(f"{result.messages:,} messages {verb}, {result.recipients:,} recipients with their state")
    if result.held:
        print(f"{result.held:,} recipients whose state was lost are held: `gsmtp queue list --state held`")
    if result.damaged:
        print(f"the damaged database is {result.damaged}; remove it when nothing is missed")
