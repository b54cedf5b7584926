"""`gsmtp convert FILE --to yaml|conf`: the same statements in the other syntax, or tidied in the same one."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile

from gsmtp.app.wiring import load
from gsmtp.config import files, source
from gsmtp.config.diagnostics import Problems, Span
from gsmtp.config.render import render
from gsmtp.config.tree import SourceFile

EXAMPLES = """\
examples:
  gsmtp convert ecelerity.conf --to yaml            print it as YAML
  gsmtp convert ecelerity.conf --to yaml -o gsmtp.yaml
  gsmtp convert gsmtp.yaml --to conf -o ecelerity.conf
  gsmtp convert ecelerity.conf --to conf            tidy: uniform quotes and indentation, comments kept

Order, comments, repeated stanzas and includes are kept; an included file is not converted, its include statement stays.
What the other syntax can't express is reported, and nothing is written.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser(
        "convert",
        help="rewrite a configuration file as YAML or as conf",
        description="Rewrite one configuration file as YAML or as conf. Files named .yaml or .yml are read as YAML.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", metavar="FILE", help="the file to convert")
    parser.add_argument("--to", choices=("yaml", "conf"), required=True, help="the syntax to write")
    parser.add_argument("-o", "--output", metavar="OUT", help="write to this file instead of standard output")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Convert one file. 0 when it was written, 1 when something is wrong with it or can't be expressed."""
    load()
    problems = Problems()
    sources: dict[str, SourceFile] = {}
    output = None
    try:
        text = files.read_text(args.file)
    except files.BadPath as error:
        problems.error(Span(args.file, 0, 0), str(error), error.hint, "unreadable-file")
    else:
        sources[args.file] = SourceFile(args.file, text)
        output = convert(text, args.file, args.to, problems)
    sys.stderr.write(render(problems, sources, color=sys.stderr.isatty()))
    if output is None:
        return 1
    if args.output is None:
        sys.stdout.flush()
        sys.stdout.buffer.write(output.encode("utf-8", "surrogateescape"))
        sys.stdout.buffer.flush()
        return 0
    try:
        write_file(args.output, output)
    except OSError as error:
        print(f"{args.output}: can't be written: {error.strerror}", file=sys.stderr)
        return 1
    return 0


def convert(text: str, name: str, to: str, problems: Problems) -> str | None:
    """The text of one source in the other syntax, or None when `problems` got an error.

    Args:
        text: the source.
        name: its path; the suffix tells its syntax.
        to: ``"yaml"`` or ``"conf"``.
        problems: gets what is wrong with the source, and what can't be expressed.
    """
    document = source.parse_document(text, name, problems)
    if problems.has_errors:
        return None
    if to == "yaml":
        from gsmtp.config.yaml_printer import to_yaml

        output = to_yaml(document, problems)
    else:
        from gsmtp.config.printer import to_conf

        output = to_conf(document, problems)
    return None if problems.has_errors else output


def write_file(path: str, text: str) -> None:
    """Replace a file's content in one step, keeping its mode if it is there already. Raises OSError."""
    mode = os.stat(path).st_mode & 0o7777 if os.path.exists(path) else 0o666 & ~_umask()
    real = os.path.realpath(path)
    handle, temporary = tempfile.mkstemp(prefix=".gsmtp-convert-", dir=os.path.dirname(real))
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text.encode("utf-8", "surrogateescape"))
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, mode)
        os.replace(temporary, real)
    except BaseException:
        os.unlink(temporary)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
