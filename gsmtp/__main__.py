"""The process's entry point, for ``python -m gsmtp`` and the console script alike.

The server's process is monkey-patched before anything else is imported: a module that was imported before keeps the
blocking sockets and SSLContext for ever. Other subcommands don't pay for gevent.
"""

import sys

if sys.argv[1:2] == ["run"]:
    from gevent import monkey

    monkey.patch_all()


def main() -> int:
    """Run the command line of this process; returns its exit status."""
    from gsmtp.cli.main import main as run_command

    return run_command()


if __name__ == "__main__":
    sys.exit(main())
