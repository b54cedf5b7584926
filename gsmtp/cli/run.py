"""`gsmtp run CONF`: the server in the foreground.

The process was monkey-patched by `gsmtp.__main__` before this module was imported.
"""

from __future__ import annotations

import argparse

EXAMPLES = """\
examples:
  gsmtp run conf/dev.conf
  gsmtp run /etc/gsmtp/ecelerity.conf --log-format json
  gsmtp run conf/dev.conf --workers 4

signals:
  TERM   stop accepting, let transactions end within Drain_Time (4 s), then exit 0; again: end at once
  INT    end at once; nothing that got its 250 is lost
  HUP    read the file again; if it has errors the old configuration stays and the log says why
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser(
        "run",
        help="run the server in the foreground",
        description="Run the server in the foreground.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("conf", metavar="CONF", help="an ecelerity.conf, or the same tree in YAML")
    parser.add_argument("--log-format", choices=("text", "json"), default="text", help="how log lines look")
    parser.add_argument(
        "--log-level",
        choices=("debug", "info", "warning", "error"),
        default="info",
        help="the least level of rare events that is logged",
    )
    parser.add_argument(
        "--workers",
        type=_count,
        metavar="N",
        help="how many processes serve; without it what EventLoop says, or this one alone",
    )
    parser.add_argument("--worker", type=int, metavar="FD", help=argparse.SUPPRESS)
    parser.set_defaults(run=run)


def _count(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 512:
        raise argparse.ArgumentTypeError("a number from 1 to 512")
    return number


def run(args: argparse.Namespace) -> int:
    """Serve until told to stop. 0 after TERM, 1 when the server can't start."""
    if args.worker is not None:
        from gsmtp.workers.worker import serve_worker

        return serve_worker(args.conf, args.worker, as_json=args.log_format == "json", level=args.log_level)
    from gsmtp.workers.serve import serve

    return serve(args.conf, as_json=args.log_format == "json", level=args.log_level, workers=args.workers)
