"""inbound_audit: counts connections, receptions and rejections by client in windows of time (`gsmtp.policy.audit`).

A reception is a message that was accepted, a rejection what the rejectlog shows. With `Serialize_Dir` the counts
outlive a restart. The console shows them: ``inbound_audit show ip 192.0.2.0/24``.

Source: reference/policy-and-context.md section 4 (inbound_audit); reference/console-and-logs.md section 4.
"""

from __future__ import annotations

import logging
import os
import re
from typing import TYPE_CHECKING

from gsmtp.api import Conn, Ctx, Hook, Verdict, never_waits
from gsmtp.config import kinds
from gsmtp.config.kinds import Kind
from gsmtp.config.module import declare_module
from gsmtp.config.option import Option, declare
from gsmtp.config.stanza import Name
from gsmtp.config.tree import Value
from gsmtp.core.clock import SystemClock
from gsmtp.core.records import Reception, Record, Rejection
from gsmtp.policy import audit
from gsmtp.policy.module import Building, policy_module

if TYPE_CHECKING:
    from gsmtp.runtime.periodic import Periodic

log = logging.getLogger("gsmtp.inbound_audit")

_SCOPES = ("inbound_audit",)
_SOURCE = "Momentum: inbound_audit module"
_FILE = "inbound_audit.json"

ENABLED = declare_module(
    "inbound_audit", "Counts connections, receptions and rejections by client in windows of time.", Name.OPTIONAL
)


def _monitors(value: Value) -> tuple[str, ...]:
    texts = kinds.item_texts(value)
    for text in texts:
        match = re.fullmatch(r"\s*([0-9]{1,9})\s*,\s*([0-9]{1,4})\s*", text)
        if not match or not int(match[1]) or not int(match[2]):
            raise ValueError('expected "SECONDS,WINDOWS" such as "300,6"')
    return texts


MONITORS: Option[tuple[str, ...]] = declare(
    Option(
        name="Monitors",
        aliases=("Monitor",),
        kind=Kind("list of windows", _monitors, 'a list of "SECONDS,WINDOWS", such as ( "300,6" "1800,4" )'),
        default=(),
        scopes=_SCOPES,
        doc="Windows of time: how long each is, and how many are kept.",
        source=_SOURCE,
    )
)

SERIALIZE_DIR: Option[str] = declare(
    Option(
        name="Serialize_Dir",
        kind=kinds.path,
        default="/var/log/ecelerity/audit_series_persist",
        scopes=_SCOPES,
        doc="Directory in which the counts are kept over a restart, if it exists.",
        source=_SOURCE,
    )
)

LOG_DIR: Option[str] = declare(
    Option(
        name="Log_Dir",
        kind=kinds.path,
        default="/var/log/ecelerity/audit_series_logs",
        scopes=_SCOPES,
        doc="Directory of named series.",
        source=_SOURCE,
        unserved="there are no named series, only those of Monitors",
    )
)

MAINTENANCE_INTERVAL: Option[int] = declare(
    Option(
        name="Maintenance_Interval",
        kind=kinds.integer_between(1),
        default=300,
        scopes=_SCOPES,
        unit="seconds",
        doc="How often old windows are dropped and the counts are written to Serialize_Dir.",
        source=_SOURCE,
    )
)


@never_waits
class InboundAudit(Hook):
    """Counts.

    Args:
        counts: where.
        folder: for keeping them, "" for nowhere.
        interval_s: between two writes.
    """

    name = "inbound_audit"

    def __init__(self, counts: audit.Audit, folder: str, interval_s: float) -> None:
        from gsmtp.runtime.native import HubMailbox, NativePool
        from gsmtp.runtime.periodic import Periodic

        self.counts = counts
        self._path = os.path.join(folder, _FILE) if folder and os.path.isdir(folder) else ""
        self._native = NativePool("inbound_audit", 1, HubMailbox())
        self._timer: Periodic = Periodic(interval_s, self._maintain)
        audit.begin(counts)

    def connect(self, conn: Conn, ctx: Ctx) -> Verdict | None:
        """Count a connection."""
        self.counts.add("connections", conn.client_ip)
        return None

    def record(self, record: Record) -> None:
        """Count what has become of it."""
        if isinstance(record, Reception):
            self.counts.add("receptions", _address(record.peering.remote))
        elif isinstance(record, Rejection):
            self.counts.add("rejections", _address(record.peering.remote))

    def deinit(self) -> bool:
        """Keep the counts and let go."""
        audit.end(self.counts)
        self._timer.stop()
        self._native.close()
        if self._path:
            _tell(_write(self._path, self.counts.saved()))
        return True

    def restore(self) -> None:
        """Go on with what was kept."""
        try:
            with open(self._path, encoding="ascii") as file:
                self.counts.restore(file.read())
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as error:
            log.error("%s is not read: %s", self._path, error)

    def _maintain(self) -> None:
        self.counts.forget_old()
        if self._path:
            _tell(self._native.call(_write, self._path, self.counts.saved()))


def _address(remote: str) -> str:
    """The address of ``ip:port`` or ``[ip]:port``, "" of a Unix socket's "".

    >>> _address("192.0.2.1:25"), _address("[2001:db8::1]:25")
    ('192.0.2.1', '2001:db8::1')
    """
    return remote.rpartition(":")[0].strip("[]")


def _write(path: str, saved: audit.Saved) -> str:
    """Write a file whole; the trouble, "" for none. Runs in a native thread, or when the server stops."""
    try:
        with open(f"{path}.new", "w", encoding="ascii") as file:
            file.write(audit.as_json(saved))
        os.replace(f"{path}.new", path)
    except OSError as error:
        return f"{path} is not written: {error.strerror or error}"
    return ""


def _tell(trouble: str) -> None:
    if trouble:
        log.error("%s", trouble)


@policy_module("inbound_audit")
def build(building: Building) -> Hook | None:
    """The hook of the stanza; where the monitors are the same the counts of the running one go on."""
    view = building.view
    if not view[ENABLED]:
        return None
    pairs = [text.split(",") for text in view[MONITORS]]
    monitors = tuple((int(seconds), int(windows)) for seconds, windows in pairs)
    old = building.old
    running = old.counts if isinstance(old, InboundAudit) and old.counts.monitors == monitors else None
    counts = running or audit.Audit(monitors, SystemClock())
    made = InboundAudit(counts, view[SERIALIZE_DIR], float(view[MAINTENANCE_INTERVAL]))
    if running is None and not isinstance(old, InboundAudit):
        made.restore()
    return made
