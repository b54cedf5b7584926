"""One worker process: a whole gateway with its own spool, on sockets that its parent opened.

It says hello, gets its orders by ``start``, answers when it serves, and goes on until it is told to stop or its
parent is gone; either way it drains.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
import sys

import gevent
from gevent.event import AsyncResult, Event

from gsmtp.app import wiring
from gsmtp.app.loading import Loaded, compile_checked
from gsmtp.app.loggers import LogKeeper
from gsmtp.app.process import end_at_once, finish, settle_memory, settle_threads
from gsmtp.app.supervisor import Supervisor
from gsmtp.config.scopes import Configuration, ListenStanza
from gsmtp.config.tree import Tree
from gsmtp.core.errors import ConfigError, GsmtpError
from gsmtp.observe.bridge import install
from gsmtp.observe.logs import LEVELS, EventLog
from gsmtp.observe.writer import LineWriter
from gsmtp.runtime.channel import Channel, ChannelError, Handler, Json, Question
from gsmtp.runtime.native import HubMailbox, NativePool
from gsmtp.runtime.pools import WorkPool
from gsmtp.runtime.shared_counts import SharedCounts
from gsmtp.runtime.sockets import RawSocket
from gsmtp.server.listener import Listener
from gsmtp.server.service import Service
from gsmtp.spool.adopt import spool_of
from gsmtp.workers.questions import QUESTIONS, Answerer
from gsmtp.workers.sockets import InheritedSockets


class Worker(Supervisor):
    """The server in a worker.

    Args:
        path: the configuration file, for messages.
        configuration: to serve.
        events: the log.
        mailbox: brings results of native threads to the hub.
        slot: of the worker, from 1.
        opening: the least generation of its spool.
        counts: that all workers keep together.
    """

    def __init__(
        self,
        path: str,
        configuration: Configuration,
        events: EventLog,
        mailbox: HubMailbox,
        *,
        slot: int,
        opening: int,
        counts: SharedCounts,
    ) -> None:
        super().__init__(path, configuration, events, mailbox)
        self.slot = slot
        self._opening = opening
        self._counts = counts
        self.sockets.beside(slot, counts)

    def _make_logs(self, mailbox: HubMailbox) -> LogKeeper:
        return LogKeeper(self._events, mailbox, is_shared=True, speaks=False)

    def _make_listeners(self) -> InheritedSockets:
        self.sockets = InheritedSockets(self._pools, self._events, _no_console)
        return self.sockets

    @property
    def _shared(self) -> SharedCounts:
        return self._counts

    def _spool_folder(self, base: str) -> str:
        return spool_of(base, self.slot)

    def _first_opening(self, base: str) -> int:
        return self._opening

    def _pidfile_path(self, _path: str) -> str:
        return ""  # it has the parent's number

    def _say_ready(self) -> None:
        self.sockets.watch()
        self._events.event("info", "start", "worker serves", worker=self.slot, pid=os.getpid(), spool=self._spool.base)

    def follow(self, configuration: Configuration) -> None:
        """Serve another configuration. Raises GsmtpError with nothing changed."""
        with self._alone():
            try:
                self._take_effect(configuration, "reloaded")
            finally:
                self.sockets.let_go()

    def _tell_what_stays(self, new: Configuration) -> None:
        """The parent has."""

    def _tell_reload(self, word: str, changes: str) -> None:
        """The parent does."""

    def tell_alone(self) -> None:
        """Say why it ends."""
        self._events.event("critical", "workers", "the parent is gone: draining", worker=self.slot)

    @property
    def _label(self) -> dict[str, object]:
        """What goes with the lines about the end."""
        return {"worker": self.slot}


def serve_worker(path: str, descriptor: int, *, as_json: bool, level: str) -> int:
    """Be a worker at the other end of a channel. Returns the exit code."""
    settle_threads()
    mailbox = HubMailbox()
    process = _Process(path, descriptor, as_json=as_json, level=level, mailbox=mailbox)
    return process.run()


class _Process:
    """The life of the process around the server."""

    def __init__(self, path: str, descriptor: int, *, as_json: bool, level: str, mailbox: HubMailbox) -> None:
        self._path = path
        self._as_json = as_json
        self._level = level
        self._mailbox = mailbox
        self._server: Worker | None = None
        self._writer: LineWriter | None = None
        self._over = Event()
        self._started: AsyncResult[bool] = AsyncResult()
        os.set_inheritable(descriptor, False)
        handlers: dict[str, Handler] = {
            "start": self._start,
            "stop": self._stop,
            "reload": self._reload,
            "reopen": self._reopen,
        }
        handlers.update({kind: self._answerer(function) for kind, function in QUESTIONS.items()})
        self._channel = Channel(socket.socket(fileno=descriptor), handlers, self._alone)

    def run(self) -> int:
        gevent.signal_handler(signal.SIGTERM, self._on_term)
        gevent.signal_handler(signal.SIGINT, end_at_once, signal.SIGINT)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the parent reads configurations
        wiring.load()
        self._channel.start()
        try:
            self._channel.tell("hello")
        except ChannelError:
            return 1
        self._over.wait()
        if self._server is None or self._writer is None:
            return 1
        self._server.stop()
        finish(self._writer)
        return 0

    # --- what the parent asks

    def _start(self, question: Question) -> Json:
        body = question.body
        table, *sockets = question.fds
        turns = _own_description(table)
        counts = SharedCounts(table, body["count"], body["slot"] - 1)
        self._writer = LineWriter(sys.stdout.fileno(), NativePool("log", 1, self._mailbox), turns)
        events = EventLog(self._writer, as_json=self._as_json)
        install(events, LEVELS[self._level])
        server = Worker(
            self._path,
            _configuration(question.raw, body["generation"]),
            events,
            self._mailbox,
            slot=body["slot"],
            opening=body["opening"],
            counts=counts,
        )
        server.sockets.take(body["sockets"], sockets)
        server.start()
        server.sockets.let_go()
        self._server = server
        settle_memory()
        return {"pid": os.getpid(), "spool": server.spool.base, "generation": server.spool.generation}

    def _stop(self, _question: Question) -> None:
        self._over.set()

    def _reload(self, question: Question) -> Json:
        server = self._need()
        server.sockets.take(question.body["sockets"], question.fds)
        server.follow(_configuration(question.raw, question.body["generation"]))
        return {"generation": server.configuration.generation}

    def _reopen(self, _question: Question) -> None:
        self._need().reopen_logs()

    def _need(self) -> Worker:
        if self._server is None:
            raise GsmtpError("it has not started yet")
        return self._server

    def _answerer(self, function: Answerer) -> Handler:
        return lambda question: function(self._need(), question)

    # --- ends

    def _alone(self) -> None:
        """The parent is gone."""
        if self._server is not None:
            self._server.tell_alone()
        self._over.set()

    def _on_term(self) -> None:
        gevent.signal_handler(signal.SIGTERM, end_at_once, signal.SIGTERM)
        self._over.set()


def _configuration(packed: bytes, generation: int) -> Configuration:
    """What the parent handed over. It came over the socket that only our parent has, hence the pickle."""
    tree: Tree = pickle.loads(packed)  # noqa: S301
    loaded: Loaded = compile_checked(tree, generation)
    if loaded.configuration is None:
        raise ConfigError("the configuration has errors")
    return loaded.configuration


def _own_description(table: int) -> int:
    """The table's file opened once more: a lock on it is this process's own. -1 where that can't be."""
    try:
        return os.open(f"/proc/self/fd/{table}", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return -1


def _no_console(service: Service, stanza: ListenStanza, raw: RawSocket, pool: WorkPool) -> Listener:
    raise AssertionError("a worker has no console")
