"""The command line: finds the subcommand, imports its module alone, runs it, and turns errors into exit statuses.

A subcommand is a module of this folder with two functions: ``add_parser(subparsers)`` and ``run(args) -> int``. Its
docstring's first line is its help. Exit statuses: 0 good, 1 the command failed, 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import os
import pkgutil
import sys
from collections.abc import Sequence
from pathlib import Path

from gsmtp import __version__
from gsmtp.config.suggest import did_you_mean
from gsmtp.core.errors import GsmtpError

PACKAGE = "gsmtp.cli"
NOT_COMMANDS = ("main",)

EXAMPLES = """\
examples:
  gsmtp check ecelerity.conf                  is the configuration good? all problems, with places and hints
  gsmtp run ecelerity.conf                    serve it
  gsmtp explain ecelerity.conf 'esmtp_listener listen :25 peer 10.0.0.1' max_message_size
                                              which value holds for that client, and which line says so
  gsmtp options idle_time                     what an option does, and where it may stand
  gsmtp COMMAND --help                        all about one command
"""


def commands() -> dict[str, Path]:
    """The subcommands and the files of their modules, by name."""
    folder = Path(__file__).parent
    names = (module.name for module in pkgutil.iter_modules([str(folder)]))
    return {name: folder / f"{name}.py" for name in names if not name.startswith("_") and name not in NOT_COMMANDS}


def summary(path: Path) -> str:
    """What a subcommand does: the first line of its module's docstring, read without importing the module."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    first = docstring.partition("\n")[0].rstrip(".")
    return first.partition(": ")[2] or first


def _parser(shown: dict[str, Path]) -> argparse.ArgumentParser:
    listing = "\n".join(f"  {name:<10} {summary(path)}" for name, path in shown.items())
    parser = argparse.ArgumentParser(
        prog="gsmtp",
        usage="gsmtp [--version] COMMAND …",
        description="An inbound SMTP server that is configured like Momentum.",
        epilog=f"commands:\n{listing}\n\n{EXAMPLES}" if shown else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"gsmtp {__version__}")
    return parser


def _dispatch(arguments: list[str]) -> int:
    known = commands()
    name = arguments[0] if arguments else ""
    if not name or name.startswith("-"):
        parser = _parser(known)
        if not arguments:
            parser.print_help(sys.stderr)
            return 2
        parser.parse_args(arguments)
        return 2
    if name == "help":
        return _dispatch([*arguments[1:2], "--help"])
    if name not in known:
        hint = did_you_mean(name, known)
        print(f"gsmtp: unknown command '{name}'" + (f"; {hint}" if hint else ""), file=sys.stderr)
        print("commands: " + ", ".join(known), file=sys.stderr)
        return 2
    module = importlib.import_module(f"{PACKAGE}.{name}")
    parser = _parser({})
    module.add_parser(parser.add_subparsers(dest="command", metavar="COMMAND", prog="gsmtp"))
    args = parser.parse_args(arguments)
    status: int = module.run(args)
    return status


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line.

    Args:
        argv: the arguments without the program's name; None for this process's.

    Returns:
        The exit status.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        status = _dispatch(arguments)
        sys.stdout.flush()
        return status
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
    except GsmtpError as error:
        print(f"gsmtp: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read our output has gone: say nothing, and let the interpreter's last flush go nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
