"""Does cost grow in line? Rate and processor time per message as load and configuration grow.

For each of them a gsmtp of its own takes durable 1 KiB messages by `smtp-source` over kept connections, at every
point; rounds alternate between the points, medians are drawn. Leaves a picture of each and the figures as JSON.

examples:
  python -m loadtest.scaling                           all of them, under var/scaling
  python -m loadtest.scaling --of workers,workers-short,workers-sink
  python -m loadtest.scaling --of sessions,peers --rounds 3
  python -m loadtest.scaling --of queue --queued 1000000
  python -m loadtest.scaling --quick                   one short round: does it work here?
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

from loadtest.programs import ROOT, end_on_term, family_cpu_s, find, smtp_source
from tests.support.server import Server, serving

OUT = ROOT / "var" / "scaling"
FEW = 200

CONF = """
hostname = "bench.example.com"
spoolbase = "{folder}/spool"
relay_domains = ( "example.com" )
suspend_delivery = true
server_max_file_descriptors = 20000
ESMTP_Listener {
  smtp_extensions = ( "ENHANCEDSTATUSCODES" )
  listener_sessions = 5000
  service_sessions = 5000
  listen_backlog = 5000
  Listen "127.0.0.1:{port}" { }
  PEERS
}
"""


@dataclass
class Point:
    """One measured place on a curve.

    Args:
        at: how many sessions, queued messages, Peer blocks or recipients.
        rates: messages a second, one a round.
        cpu: processor seconds per 1,000 messages, one a round.
    """

    at: int
    rates: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Curve:
    """What is varied.

    Args:
        name: for ``--of``.
        label: of the axis.
        conf: the configuration at a point.
        sessions, recipients: of the load at a point.
        filled: how many messages are put into the queue first.
        keeps: whether a connection serves for all messages, or for one.
    """

    name: str
    label: str
    conf: Callable[[int], str] = lambda at: CONF.replace("PEERS", "")
    sessions: Callable[[int], int] = lambda at: 20
    recipients: Callable[[int], int] = lambda at: 1
    filled: Callable[[int], int] = lambda at: 0
    keeps: bool = True


def workers(count: int) -> str:
    """A configuration with so many processes."""
    loop = f'EventLoop "all" {{ Concurrency = {count} }}\n'
    return CONF.replace("PEERS", "").replace("ESMTP_Listener {", f'{loop}ESMTP_Listener {{\n  Event_Loop = "all"')


def peers(count: int) -> str:
    """A configuration with so many Peer blocks, of which one is the client's."""
    blocks = ['Peer "127.0.0.0/8" { max_message_size = 20000000 }']
    blocks += [
        f'Peer "10.{number // 250}.{number % 250}.0/24" {{ max_message_size = {10_000_000 + number} }}'
        for number in range(count - 1)
    ]
    return CONF.replace("PEERS", "\n  ".join(blocks))


CURVES = {
    one.name: one
    for one in (
        Curve("sessions", "sessions at one time", sessions=lambda at: at),
        Curve("queue", "messages in the queue", filled=lambda at: at),
        Curve("peers", "Peer blocks", conf=peers),
        Curve("recipients", "recipients a message", recipients=lambda at: at),
        Curve("workers", "workers, 50 sessions", workers, sessions=lambda at: 50),
        Curve("workers-short", "workers, a connection a message", workers, keeps=False),
        Curve(
            "workers-sink",
            "workers, nothing kept",
            lambda at: f'blackhole = "internal"\n{workers(at)}',
            sessions=lambda at: 50,
        ),
        Curve(
            "workers-sink-short",
            "workers, nothing kept, a connection a message",
            lambda at: f'blackhole = "internal"\n{workers(at)}',
            keeps=False,
        ),
    )
}


def say(text: str) -> None:
    """Progress, for people."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def _servers(curve: Curve, points: Sequence[int], folder: Path) -> Iterator[list[Server]]:
    with ExitStack() as stack:
        servers = []
        for at in points:
            place = folder / f"{curve.name}-{at}"
            place.mkdir()
            server = stack.enter_context(serving(place, curve.conf(at)))
            if filled := curve.filled(at):
                say(f"{curve.name}: putting {filled:,} messages into the queue …")
                smtp_source(server.port, messages=filled, sessions=50, length=1024, timeout_s=3600)
            servers.append(server)
        yield servers


def _empty(server: Server) -> None:
    server.stop()
    shutil.rmtree(server.spool)
    server.start()


def measure(curve: Curve, places: Sequence[int], rounds: int, seconds: float, folder: Path) -> list[Point]:
    """The points of one curve. Raises RuntimeError when a message is not taken."""
    points = [Point(at) for at in places]
    with _servers(curve, places, folder) as servers:

        def send(server: Server, at: int, messages: int) -> float:
            sessions, recipients = curve.sessions(at), curve.recipients(at)
            return smtp_source(
                server.port,
                messages=messages,
                sessions=sessions,
                length=1024,
                keeps=curve.keeps,
                recipients=recipients,
            )

        counts = []
        for server, point in zip(servers, points, strict=True):
            few = max(FEW, curve.sessions(point.at) * 2)
            counts.append(max(few, int(few / send(server, point.at, few) * seconds)))
        for number in range(rounds):
            for server, point, count in zip(servers, points, counts, strict=True):
                before = family_cpu_s(server.pid)
                spent = send(server, point.at, count)
                point.rates.append(count / spent)
                point.cpu.append((family_cpu_s(server.pid) - before) / count * 1000)
                say(
                    f"{curve.name} round {number + 1}: {point.at:>9,} {point.rates[-1]:9.0f}/s, CPU {point.cpu[-1]:.3f}"
                )
    return points


def draw(curve: Curve, points: Sequence[Point], path: Path) -> None:
    """Rate and processor time over what is varied."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.2))
    marks = [f"{point.at:,}" for point in points]
    for axis, label, rounds in (
        (axes[0], "messages/s", [point.rates for point in points]),
        (axes[1], "server CPU s per 1,000 messages", [point.cpu for point in points]),
    ):
        axis.plot(marks, [median(values) for values in rounds], marker="o", color="#1f6f8b")
        axis.fill_between(marks, [min(v) for v in rounds], [max(v) for v in rounds], alpha=0.2, color="#1f6f8b")
        axis.set_ylim(bottom=0)
        axis.set_xlabel(curve.label)
        axis.set_ylabel(label)
        axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    pyplot.close(figure)


def table(found: dict[str, list[Point]]) -> list[str]:
    """For people, in Markdown."""
    lines = ["| varied | at | messages/s | CPU s per 1,000 | CPU, times the first |", "| --- | --- | --- | --- | --- |"]
    for name, points in found.items():
        first = median(points[0].cpu)
        for point in points:
            cpu = median(point.cpu)
            times = f"{cpu / first:.2f}x" if first else "-"
            lines.append(f"| {CURVES[name].label} | {point.at:,} | {median(point.rates):,.0f} | {cpu:.3f} | {times} |")
    return lines


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    text, _, examples = (__doc__ or "").partition("examples:\n")
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.scaling",
        description=text,
        epilog="examples:\n" + examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--of", default=",".join(CURVES), help="some of %(default)s")
    parser.add_argument("--rounds", type=int, default=5, help="at each point (%(default)s)")
    parser.add_argument("--seconds", type=float, default=3.0, help="of a round, about (%(default)s)")
    parser.add_argument("--queued", type=int, default=100_000, help="messages in the full queue (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="one short round, 2,000 queued: figures are worth nothing")
    parser.add_argument("--out", type=Path, default=OUT, metavar="DIR", help="for pictures and JSON (var/scaling)")
    parser.add_argument("--dir", metavar="DIR", help="where spools are: the disk that is measured")
    parser.add_argument("--json", action="store_true", help="print the raw figures instead of a table")
    options = parser.parse_args(words)
    options.of = [name.strip() for name in options.of.split(",") if name.strip()]
    wrong = [name for name in options.of if name not in CURVES]
    if wrong or not options.of:
        parser.error(f"--of: no {', '.join(wrong) or 'name'}; there are {', '.join(CURVES)}")
    if options.quick:
        options.rounds, options.seconds, options.queued = 1, 0.5, 2000
    if options.rounds < 1 or options.seconds <= 0 or options.queued < 1:
        parser.error("--rounds, --seconds and --queued are above 0")
    return options


def main(words: Sequence[str] | None = None) -> int:
    """Measure and draw; the exit status."""
    import tempfile

    options = _arguments(words)
    if find("smtp-source") is None:
        say("error: smtp-source is not installed (Debian package postfix)")
        return 2
    places = {"sessions": [1, 20, 200, 1000], "queue": [0, options.queued], "peers": [1, 1000], "recipients": [1, 100]}
    some = sorted({1, 2, os.cpu_count() or 1})
    places |= {"workers": some, "workers-short": some, "workers-sink": some, "workers-sink-short": some}
    found: dict[str, list[Point]] = {}
    for name in options.of:
        with tempfile.TemporaryDirectory(prefix="gsmtp-scaling-", dir=options.dir) as folder:
            try:
                found[name] = measure(CURVES[name], places[name], options.rounds, options.seconds, Path(folder))
            except (RuntimeError, AssertionError, OSError) as error:
                say(f"error: {name}: {error}")
                return 2
        draw(CURVES[name], found[name], options.out / f"{name}.svg")
    raw = json.dumps({name: [asdict(point) for point in points] for name, points in found.items()}, indent=1)
    (options.out / "raw.json").write_text(raw + "\n")
    print(raw if options.json else "\n".join(table(found)))
    say(f"pictures: {options.out}")
    return 0


if __name__ == "__main__":
    end_on_term()
    sys.exit(main())
