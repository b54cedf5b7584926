"""What the comparison leaves: tables for people, pictures, and the raw figures as JSON."""

from __future__ import annotations

import datetime
import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from loadtest.contenders import CONTENDERS
from loadtest.rows import ROWS, Row, Series, ratios

BASELINES = {False: "smtp-sink", True: "postfix"}
_OURS, _OTHERS = "#1f6f8b", "#b8c4c9"


def disk_of(folder: str) -> str:
    """File system and device below a folder, e.g. ``ext4 on /dev/vda1 (SSD)``."""
    best, found = "", "unknown"
    target = os.path.realpath(folder)
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        fields, (kind, device) = left.split(), right.split()[:2]
        mount = fields[4]
        if (target == mount or target.startswith(mount.rstrip("/") + "/")) and len(mount) >= len(best):
            best, found = mount, f"{kind} on {device}{_disk_kind(fields[2])}"
    return found


def _disk_kind(device: str) -> str:
    base = Path("/sys/dev/block") / device
    if base.resolve().name.startswith(("vd", "xvd")):
        return " (virtual disk)"  # says of itself that it turns, whatever is behind it
    for queue in (base / "queue", base.resolve().parent / "queue"):
        try:
            return " (turning disk)" if (queue / "rotational").read_text().strip() == "1" else " (no turning disk)"
        except OSError:
            continue
    return ""


def machine(folder: str) -> dict[str, str]:
    """What the figures depend on."""
    info = Path("/proc/cpuinfo").read_text()
    models = [line.partition(":")[2].strip() for line in info.splitlines() if line.startswith("model name")]
    memory = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal"))
    return {
        "processor": models[0] if models else platform.machine(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{int(memory.split()[1]) / 1024 / 1024:.1f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "disk": disk_of(folder),
        "load before": f"{os.getloadavg()[0]:.2f}",
    }


def _number(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"


def _group(row: Row, series: Sequence[Series], is_durable: bool) -> list[Series]:
    """The servers that share a baseline: sinks or durable ones; where smtp-sink can't take part, all."""
    if row.kind == "starttls":
        return list(series) if is_durable else []
    return [one for one in series if CONTENDERS[one.server].is_durable == is_durable]


def table(row: Row, series: Sequence[Series]) -> list[str]:
    """The table of one row in Markdown."""
    cpu_head = (
        "CPU s per 1,000 | CPU, times the baseline's"
        if row.kind != "idle"
        else "banner p99, ms: median, worst round | held, and got no banner"
    )
    lines = [
        f"| server | {row.unit}, median | slowest to fastest round | times the baseline | {cpu_head} |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for is_durable in (False, True):
        group = _group(row, series, is_durable)
        found = ratios(row, group, BASELINES[is_durable])
        for one in group:
            lines.append(_line(row, one, found))
    return lines


def _line(row: Row, one: Series, found: Mapping[str, tuple[float, float]]) -> str:
    title = CONTENDERS[one.server].title
    if not one.values:
        return f"| {title} | - | {one.problem} | - | - | - |"
    ends = sorted(one.values, reverse=not row.more_is_better)
    times, cpu_times = found.get(one.server, (0.0, 0.0))
    if row.kind == "idle":
        held, without = min(one.notes["held"]), max(one.notes.get("without banner", [0.0]))
        waits = one.notes["banner p99 ms"]
        last = [f"{_number(median(waits))}, {_number(max(waits))}", f"{held:,.0f}, {without:,.0f}"]
    else:
        last = [f"{one.middle_cpu():.3f}", f"{cpu_times:.2f}x" if cpu_times else "-"]
    cells = [title, _number(one.middle()), f"{_number(ends[0])} to {_number(ends[-1])}"]
    return f"| {' | '.join([*cells, f'{times:.2f}x' if times else '-', *last])} |"


def summary(results: Mapping[str, Sequence[Series]]) -> list[str]:
    """One table of all rows and servers: the baselines' figures, and how many times these the others are."""
    servers = [name for name in CONTENDERS if any(one.server == name for row in results.values() for one in row)]
    lines = ["| work | " + " | ".join(CONTENDERS[name].title for name in servers) + " |"]
    lines.append("| --- |" + " --- |" * len(servers))
    for name, series in results.items():
        row, cells = ROWS[name], []
        by_name = {one.server: one for one in series}
        found: dict[str, tuple[float, float]] = {}
        for is_durable in (False, True):
            found.update(ratios(row, _group(row, series, is_durable), BASELINES[is_durable]))
        for server in servers:
            one = by_name.get(server)
            if one is None or not one.values:
                cells.append("-")
            elif server in BASELINES.values() or server not in found:
                cells.append(
                    f"{_number(one.middle())} {row.unit}" + (f", CPU {one.middle_cpu():.3f}" if one.cpu else "")
                )
            else:
                times, cpu = found[server]
                cells.append(f"{times:.2f}x" + (f", CPU {cpu:.2f}x" if cpu else ""))
        lines.append(f"| {name}: {row.title} | {' | '.join(cells)} |")
    return lines


def draw(row: Row, series: Sequence[Series], path: Path) -> None:
    """A picture of one row: bars of the medians with the extremes, and of the processor time."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "gsmtp"
    from matplotlib import pyplot

    shown = [one for one in series if one.values]
    if not shown:
        return
    has_cpu = all(one.cpu for one in shown)
    figure, axes = pyplot.subplots(
        1, 2 if has_cpu else 1, figsize=(9, 0.9 + 0.42 * len(shown)), squeeze=False, sharey=True
    )
    titles = [CONTENDERS[one.server].title for one in shown]
    colours = [_OURS if one.server.startswith("gsmtp") else _OTHERS for one in shown]
    panels: list[tuple[str, list[list[float]]]] = [(row.unit, [one.values for one in shown])]
    if has_cpu:
        panels.append(("server CPU s per 1,000", [one.cpu for one in shown]))
    for axis, (label, values) in zip(axes[0], panels, strict=True):
        middles = [median(rounds) for rounds in values]
        errors = [
            [middle - min(rounds) for middle, rounds in zip(middles, values, strict=True)],
            [max(rounds) - middle for middle, rounds in zip(middles, values, strict=True)],
        ]
        axis.barh(titles, middles, xerr=errors, color=colours, ecolor="#444444", capsize=2)
        axis.set_xlabel(label)
        axis.invert_yaxis() if axis is axes[0][0] else None
        axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"{row.name}: {row.title}", fontsize=11)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    pyplot.close(figure)


def raw(results: Mapping[str, Sequence[Series]], about: Mapping[str, Any]) -> dict[str, Any]:
    """All figures, for JSON."""
    rows = {name: [asdict(one) for one in series] for name, series in results.items()}
    return {"about": dict(about), "rows": rows}


def from_raw(found: Mapping[str, Any]) -> dict[str, list[Series]]:
    """The figures of `raw`. Raises KeyError or TypeError when it isn't that."""
    return {name: [Series(**one) for one in series] for name, series in found["rows"].items()}


def page(results: Mapping[str, Sequence[Series]], about: Mapping[str, Any], pictures: str) -> str:
    """docs/performance.md.

    Args:
        results: by row.
        about: `machine`, versions, rounds, seconds.
        pictures: folder of the pictures, relative to the page.
    """
    lines = [
        "# Performance",
        "",
        f"Measured on {about['date']} by `make compare`, which writes this page anew for your machine. Client and "
        "server share the machine; "
        f"rounds of about {about['seconds']:g} s alternate between all servers of a row, figures are medians of "
        f"{about['rounds']}. Client of W1 to W5 is `smtp-source`, of the others `loadtest/held.py`. Processor time is "
        "that of all processes of a server, per 1,000 messages or sessions. Sinks (baseline smtp-sink) keep nothing; "
        "durable servers (baseline Postfix, which holds what it queued) have each message on disk, synced, before they "
        "say 250, and hand nothing on. *Times the baseline* is the better the more, in rows of milliseconds and memory "
        "too.",
        "",
        "| machine | |",
        "| --- | --- |",
        *(f"| {name} | {value} |" for name, value in about["machine"].items()),
        "",
        "| server | version |",
        "| --- | --- |",
        *(f"| {CONTENDERS[name].title} | {version} |" for name, version in about["versions"].items()),
        "",
        "## Overview",
        "",
        "Baselines in figures, the others as multiples of the baseline of their kind.",
        "",
        *summary(results),
    ]
    for name, series in results.items():
        row = ROWS[name]
        lines += ["", f"## {name}: {row.title}", "", *table(row, series), "", f"![{row.title}]({pictures}/{name}.svg)"]
    lines += ["", f"Raw figures: [{pictures}/raw.json]({pictures}/raw.json).", ""]
    return "\n".join(lines)


def write(results: Mapping[str, Sequence[Series]], about: Mapping[str, Any], path: Path) -> list[Path]:
    """Write page, pictures and JSON; what was written."""
    folder = path.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    for name, series in results.items():
        draw(ROWS[name], series, folder / f"{name}.svg")
    (folder / "raw.json").write_text(json.dumps(raw(results, about), indent=1) + "\n")
    path.write_text(page(results, about, folder.name))
    return [path, folder]


def today() -> str:
    """The date, UTC."""
    return datetime.datetime.now(datetime.UTC).date().isoformat()
