"""`gsmtp run`: reads the configuration and decides whether this process serves, or has workers that do."""

from __future__ import annotations

import sys

from gsmtp.app import wiring
from gsmtp.app.loading import load
from gsmtp.app.process import settle_threads
from gsmtp.app.serve import log_to, run, serve_alone
from gsmtp.config.render import render
from gsmtp.workers.count import workers_of


def serve(path: str, *, as_json: bool = False, level: str = "info", workers: int | None = None) -> int:
    """Run the server that a configuration file describes. Returns the exit code: 0 after TERM, 1 if it can't start.

    Args:
        path: conf or YAML.
        as_json: JSON log lines.
        level: the least level of `logging` records that is shown.
        workers: how many processes serve; None for what the configuration says.
    """
    settle_threads()
    wiring.load()
    loaded = load(path, 1)
    configuration = loaded.configuration
    if configuration is None:
        sys.stderr.write(render(loaded.problems, loaded.tree) + "\n")
        return 1
    count = workers_of(configuration, workers)
    if count == 1:
        return serve_alone(path, loaded, configuration, as_json=as_json, level=level)

    from gsmtp.workers.crew import command
    from gsmtp.workers.parent import Parent, make_writer

    table, mailbox, writer = make_writer(count)
    events = log_to(writer, as_json=as_json, level=level)
    parent = Parent(
        path, configuration, events, mailbox, asked=workers, count=count, table=table,
        command=command(path, as_json=as_json, level=level),
    )  # fmt: skip
    parent.report(loaded.problems)
    return run(parent, writer)
