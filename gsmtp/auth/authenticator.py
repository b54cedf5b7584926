"""Who asks the stores: look-ups in threads of their own, so that a login storm stalls nobody.

A look-up waits for one of a few native threads (those of ``ThreadPool "Auth"``, else four); stores that wait for
Datasources get a green thread instead, as many at once. What waits is bounded, and nothing waits longer than
`LOOK_UP_S`: then the answer is ERROR (454), whatever a back end may say later. Passwords are in the jobs only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final

from gsmtp.auth.store import OpenedStores, Store
from gsmtp.core.errors import ConfigError
from gsmtp.runtime.later import Later
from gsmtp.runtime.native import NativePool
from gsmtp.runtime.pools import WorkPool
from gsmtp.sasl.need import Answer, Need, Status

POOL: Final = "Auth"
THREADS: Final = 4
"""Without a ThreadPool "Auth": two cores are kept busy by two, and an argon2 hash takes 64 MiB each."""

MOST_WAITING: Final = 1000
LOOK_UP_S: Final = 30.0

Done = Callable[[Answer], object]

_CROWDED: Final = Answer(Status.ERROR, reason="too many logins wait")
_LATE: Final = Answer(Status.ERROR, reason=f"no answer within {LOOK_UP_S:.0f} s")


class SharedPool:
    """Native threads that several configurations have used one after the other; the last one to go closes them."""

    def __init__(self, pool: NativePool) -> None:
        self.pool = pool
        self.users = 1

    def release(self) -> None:
        """One user less."""
        self.users -= 1
        if not self.users:
            self.pool.close()


class Authenticator:
    """The stores of one configuration, and the threads in which they are asked.

    Args:
        stores: opened ones.
        shared: threads for stores and for password hashes; given up by `close`.
        green: green threads for stores that wait on the hub.

    Attributes:
        native: the threads.
        waiting: look-ups that are under way.
    """

    def __init__(self, stores: OpenedStores, shared: SharedPool, green: WorkPool) -> None:
        self.stores = stores
        self.native = shared.pool
        self.green = green
        self.waiting = 0
        self._shared = shared

    def share(self) -> SharedPool:
        """The threads, for the authenticator of a configuration that follows."""
        self._shared.users += 1
        return self._shared

    def close(self) -> None:
        """Close the stores; look-ups that are under way end."""
        self.stores.close()
        self._shared.release()

    def ask(
        self, parameters: Mapping[str, str], mechanism: str, need: Need, done: Done, hostname: str = ""
    ) -> Answer | None:
        """Have a need answered.

        Args:
            parameters: the dictionary of the mechanism's option.
            mechanism: in upper case.
            need: what to ask.
            done: called once with the answer, on the hub, never from within this call.
            hostname: the default realm, "" for the machine's.

        Returns:
            The answer where it is known at once; then `done` isn't called.
        """
        if self.waiting >= MOST_WAITING:
            return _CROWDED
        try:
            store = self.stores.open(parameters, mechanism, hostname)
        except ConfigError as error:  # a session of an older configuration, whose scheme is gone
            return Answer(Status.ERROR, reason=str(error))
        self.waiting += 1
        look_up = _LookUp(self, done)
        deadline_mono = time.monotonic() + LOOK_UP_S
        if store.is_green:
            self.green.submit(look_up.run_green, store, need, deadline_mono)
        else:
            self.native.submit(_look_up, store, need, deadline_mono, done=look_up.returned)
        look_up.timer.arm()
        return None


class _LookUp:
    """One look-up: whichever comes first, the answer or the deadline, is passed on."""

    __slots__ = ("_authenticator", "_done", "timer")

    def __init__(self, authenticator: Authenticator, done: Done) -> None:
        self._authenticator = authenticator
        self._done: Done | None = done
        self.timer = Later(LOOK_UP_S, self._late)

    def run_green(self, store: Store, need: Need, deadline_mono: float) -> None:
        """In a green thread."""
        try:
            answer = _look_up(store, need, deadline_mono)
        except Exception as error:  # noqa: BLE001 - a store's bug costs one login
            self.returned(None, error)
        else:
            self.returned(answer, None)

    def returned(self, answer: Answer | None, error: BaseException | None) -> None:
        """The store has answered, or raised."""
        self._authenticator.waiting -= 1
        self.timer.disarm()
        if answer is None:
            # the exception's text may hold what was looked up
            answer = Answer(Status.ERROR, reason=f"the store failed: {type(error).__name__}")
        self._pass_on(answer)

    def _late(self) -> None:
        self._pass_on(_LATE)

    def _pass_on(self, answer: Answer) -> None:
        done, self._done = self._done, None
        if done is not None:
            done(answer)


def _look_up(store: Store, need: Need, deadline_mono: float) -> Answer:
    if time.monotonic() >= deadline_mono:  # it waited all the time for a thread
        return _LATE
    return store.answer(need, deadline_mono)
