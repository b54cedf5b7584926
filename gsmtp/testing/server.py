"""A server without sockets, for tests of policy: a configuration, hooks, and a spool that forgets."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType, TracebackType
from typing import Any

from gsmtp.app import wiring
from gsmtp.app.loading import compile_checked
from gsmtp.app.resources import Resources, Surroundings, give_up, prepare
from gsmtp.config.diagnostics import Problems
from gsmtp.config.render import render
from gsmtp.config.source import read_text
from gsmtp.core.clock import SystemClock
from gsmtp.core.errors import ConfigError
from gsmtp.core.ids import IdMaker
from gsmtp.core.records import Record
from gsmtp.observe.logs import EventLog
from gsmtp.policy.chain import HOOKS, Chain
from gsmtp.policy.handles import as_text
from gsmtp.policy.headers import Headers, split_head
from gsmtp.policy.hook import NATIVE_POOL, Hook, Manner
from gsmtp.policy.loader import LoadError, load_script
from gsmtp.policy.scripts import Installed, Scripts
from gsmtp.policy.settings import Settings
from gsmtp.runtime.calls import Calls
from gsmtp.runtime.deadline import DeadlineWheel
from gsmtp.runtime.native import HubMailbox, NativePool
from gsmtp.server.service import Service
from gsmtp.spool.memory import MemorySpool
from gsmtp.testing.client import PolicyClient

Policy = str | ModuleType | type[Hook] | Hook

_BASE = 'Hostname = "mx.test"\nRelay_Domains = ( "*" )\nESMTP_Listener {{ Listen "127.0.0.1:25" {{ }} }}\n{}\n'
_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class AcceptedMessage:
    """A message as it is in the spool.

    Args:
        id: as the 250 said it.
        sender: without angle brackets.
        recipients: addresses that it will be delivered to.
        refused: addresses that policy refused after the text came, and their replies.
        raw: the message, byte for byte.
        conn: connection variables that were kept.
        mess: message variables that were kept.
    """

    id: str
    sender: str
    recipients: list[str]
    refused: dict[str, str]
    raw: bytes
    conn: dict[str, str]
    mess: dict[str, str]

    @property
    def headers(self) -> Headers:
        """Its header fields."""
        return Headers(self.raw[: split_head(self.raw)])

    @property
    def body(self) -> bytes:
        """What comes behind the blank line."""
        return self.raw[split_head(self.raw) :]


class _Nowhere:
    """Takes log lines and forgets them."""

    def write(self, line: bytes) -> None:
        """Forget."""


class _Records:
    """Keeps the records of logs."""

    def __init__(self) -> None:
        self.all: list[Record] = []

    def record(self, record: Record) -> None:
        """Keep one."""
        self.all.append(record)


class PolicyServer:
    """Plays sessions. Use it in a ``with`` block, or `close` it.

    Args:
        policy: a module, its name or the path of its file (as a script's ``source``), a Hook class, or a Hook object.
        config: what the script's stanza would set: values for `init`, and timeout, fail_open and thread.
        conf: more configuration, e.g. ``'Max_Message_Size = 1000'`` or module stanzas. Relay_Domains is ``*``.
        name: of the script.
        folder: where a path and the modules of a name are looked for.

    Attributes:
        records: what would be logged, as `gsmtp.core.records` has it.
        hooks: the hook objects.

    Raises:
        ConfigError: the policy can't be loaded, or the configuration has errors.
    """

    def __init__(
        self,
        policy: Policy | None = None,
        *,
        config: Mapping[str, object] | None = None,
        conf: str = "",
        name: str = "test",
        folder: str = ".",
    ) -> None:
        wiring.load()
        problems = Problems()
        tree = read_text(_BASE.format(conf), os.path.join(folder, "test.conf"), problems)
        loaded = compile_checked(tree, 1)
        if problems.has_errors or loaded.configuration is None:
            raise ConfigError(render(problems if problems.has_errors else loaded.problems, tree))
        self._configuration = loaded.configuration
        self._mailbox = HubMailbox()
        events = EventLog(_Nowhere())
        self._around = Surroundings(events, NativePool("IO", 2, self._mailbox), self._mailbox)
        self._resources: Resources = prepare(self._configuration, None, self._around)
        if policy is not None:
            try:
                self._resources.scripts.installed.append(_install(policy, dict(config or {}), name, folder))
            except BaseException:
                self.close()
                raise
        scripts: Scripts = self._resources.scripts
        self.hooks = [hook for one in scripts.installed for hook in one.hooks]
        self._journal = _Records()
        self._spool = MemorySpool()
        clock = SystemClock()
        self._service = Service(
            configuration=self._configuration,
            spool=self._spool,
            chain=Chain((*HOOKS, *scripts.hooks(Calls(self._around.pools)))),
            tls=self._resources.tls,
            wheel=DeadlineWheel(),
            events=events,
            journal=self._journal,
            ids=IdMaker(0, 0),
            hostname="mx.test",
            clock=clock,
            accepted=lambda envelope: None,
            authenticator=self._resources.authenticator,
            native=self._around.native,
        )

    def connect(self, ip: str = "192.0.2.1", port: int = 40000, local_ip: str = "192.0.2.25") -> PolicyClient:
        """A client that has just connected; its banner is its first reply."""
        return PolicyClient(self._service, ip, port, local_ip)

    @property
    def accepted(self) -> list[AcceptedMessage]:
        """The messages that were accepted and kept, in order."""
        found = []
        for message in self._spool.messages():
            envelope = message.envelope
            stored = self._spool.body(envelope.message_id)
            found.append(
                AcceptedMessage(
                    envelope.message_id,
                    envelope.reverse_path,
                    [one.address for one in envelope.recipients if not one.failure],
                    {one.address: one.failure for one in envelope.recipients if one.failure},
                    stored.data or b"",
                    envelope.conn,
                    envelope.mess,
                )
            )
        return found

    @property
    def records(self) -> list[Record]:
        """What would be logged."""
        return self._journal.all

    def close(self) -> None:
        """Call `deinit` and let go of all threads."""
        give_up(self._resources)
        self._around.close()
        self._around.native.close()
        self._mailbox.close()

    def __enter__(self) -> PolicyServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _install(policy: Policy, config: dict[str, object], name: str, folder: str) -> Installed:
    """What a script's stanza would give."""
    title = f'script "{name}"'
    lowered = {key.lower(): value for key, value in config.items()}
    timeout = lowered.pop("timeout", _TIMEOUT_S)
    fail_open = as_text(lowered.pop("fail_open", False)) == "true"
    thread = as_text(lowered.pop("thread", False))
    pool = {"true": NATIVE_POOL, "false": None}.get(thread, thread)
    settings = Settings.of(lowered)
    hooks: list[Hook] = []
    for one in _classes(policy, folder):
        hook = one() if isinstance(one, type) else one
        answer: Any = hook.init(settings)
        if answer is not True:
            raise ConfigError(f"init of {type(hook).__name__} returned {answer!r}: it has to return True")
        hook.name = hook.name or name
        hooks.append(hook)
    return Installed(title, hooks, fail_open=fail_open, manner=Manner(pool, float(as_text(timeout))))


def _classes(policy: Policy, folder: str) -> list[Any]:
    if isinstance(policy, (Hook, type)):
        return [policy]
    source = policy.__name__ if isinstance(policy, ModuleType) else policy
    try:
        return list(load_script(source, os.path.abspath(folder)).classes)
    except LoadError as error:
        raise ConfigError(str(error)) from error
