"""One connection to one broker node, with one channel on which it confirms: the only file that knows pika.

pika's gevent adapter runs on the hub's loop: its callbacks run on the hub, in no green thread, and publishing puts
frames into a buffer that is sent when the socket takes it. So nothing here blocks but `open`, and nothing is called
from other threads. All links share one adapter of the loop: each makes a pipe that is never closed.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Protocol

import gevent
from gevent.event import AsyncResult

from gsmtp.core.surrogates import clean
from gsmtp.delivery.amqp.message import BrokerMessage
from gsmtp.delivery.amqp.settings import Broker, Settings

if TYPE_CHECKING:
    from gevent.hub import Hub

_PERSISTENT = 2
_CLOSE_S = 5.0  # for the broker's last word
_REFUSALS = (402, 403, 404, 530)  # INVALID_PATH, ACCESS_REFUSED, NOT_FOUND, NOT_ALLOWED
_shared: list[tuple[Hub, Any]] = []


class LinkError(Exception):
    """A link couldn't be opened.

    Args:
        text: why.
        is_refusal: whether the broker answered and didn't want to.
    """

    def __init__(self, text: str, *, is_refusal: bool = False) -> None:
        super().__init__(text)
        self.is_refusal = is_refusal


class UnfitMessage(Exception):
    """AMQP can't carry a message as it is; the link is as good as before."""


class LinkUser(Protocol):
    """Who is told what happens on a link that was opened. Called on the hub; must not block."""

    def confirmed(self, tag: int, multiple: bool, is_ack: bool) -> None:
        """The broker took, or refused, the publication with that delivery tag; `multiple`: and all before it."""

    def returned(self, message_id: str, reason: str) -> None:
        """No queue takes the message. Its confirm follows."""

    def blocked(self, link: Link, reason: str) -> None:
        """The broker takes nothing now; "" when it does again. May come before `open` has returned."""

    def lost(self, link: Link, text: str, code: int) -> None:
        """The link is over, once. `code` is that with which the broker closed the channel, 0 for a lost connection."""


class Link:
    """A connection and its channel.

    Args:
        broker: the node.
        settings: of the stanza.
        user: told of what happens.
        context: an ``ssl.SSLContext`` for a broker with TLS.

    Attributes:
        block: why the broker takes nothing now, "" when it does.
    """

    def __init__(self, broker: Broker, settings: Settings, user: LinkUser, context: Any = None) -> None:
        self.broker = broker
        self.block = ""
        self._settings = settings
        self._user = user
        self._context = context
        self._ready: AsyncResult[str] = AsyncResult()
        self._connection: Any = None
        self._channel: Any = None
        self._tag = 0
        self._is_over = False
        self._refusal = (0, "")

    @property
    def is_over(self) -> bool:
        """Whether it was closed or lost."""
        return self._is_over

    # --- opening

    def open(self) -> None:
        """Connect, log in, open the channel, ask for confirms, look for the exchange. Blocks the green thread.

        Raises LinkError; nothing is left open then.
        """
        from pika.adapters.gevent_connection import (  # type: ignore[import-untyped,import-not-found,unused-ignore]
            GeventConnection,
        )

        limit_s = self._settings.connect_s
        self._connection = GeventConnection(
            self._parameters(limit_s),
            on_open_callback=self._opened,
            on_open_error_callback=self._failed,
            on_close_callback=self._closed,
            custom_ioloop=_loop_services(),
        )
        try:
            self._ready.get(timeout=limit_s + 1)  # pika's own limit comes first where it has one
        except gevent.Timeout:
            self._is_over = True
            self._abort()
            raise LinkError(f"no answer within {limit_s:g} s") from None
        except BaseException:
            self._is_over = True
            self._abort()
            raise

    def _parameters(self, limit_s: float) -> Any:
        import pika

        broker = self.broker
        more: dict[str, Any] = {}
        if broker.uses_tls:
            more["ssl_options"] = pika.SSLOptions(self._context, broker.host)
        return pika.ConnectionParameters(
            host=broker.host,
            port=broker.port,
            virtual_host=broker.vhost,
            credentials=pika.PlainCredentials(broker.user, broker.password),
            heartbeat=self._settings.heartbeat_s,
            connection_attempts=1,
            socket_timeout=limit_s,
            stack_timeout=limit_s,
            blocked_connection_timeout=None,
            client_properties={"connection_name": f"gsmtp {self._settings.name}"},
            **more,
        )

    def _opened(self, connection: Any) -> None:
        if self._is_over:
            return
        connection.add_on_connection_blocked_callback(
            lambda _, method: self._on_block(method.method.reason or "an alarm")
        )
        connection.add_on_connection_unblocked_callback(lambda *_: self._on_block(""))
        connection.channel(on_open_callback=self._channel_opened)

    def _channel_opened(self, channel: Any) -> None:
        if self._is_over:
            return
        self._channel = channel
        channel.add_on_close_callback(self._channel_closed)
        channel.add_on_return_callback(self._on_return)
        channel.confirm_delivery(self._on_confirm, self._confirming)

    def _confirming(self, _frame: Any) -> None:
        if self._is_over:
            return
        if self._settings.exchange:  # passive: a wrong name is found before mail comes
            self._channel.exchange_declare(self._settings.exchange, passive=True, callback=self._found)
        else:
            self._found(None)

    def _found(self, _frame: Any) -> None:
        if not self._ready.ready():
            self._ready.set("")

    # --- the end

    def _failed(self, _connection: Any, error: BaseException) -> None:
        if not self._ready.ready():
            self._ready.set_exception(LinkError(describe(error), is_refusal=_is_refusal(error)))

    def _channel_closed(self, _channel: Any, error: BaseException) -> None:
        code = int(getattr(error, "reply_code", 0) or 0)
        if _is_closed_by_broker(error):
            text = f"{code} {getattr(error, 'reply_text', '')}"
            self._refusal = (code, text)
            if not self._ready.ready():
                self._ready.set_exception(LinkError(text, is_refusal=True))
        self._over(describe(error))
        self._abort()

    def _closed(self, _connection: Any, error: BaseException) -> None:
        self._failed(_connection, error)
        self._over(describe(error))

    def _over(self, text: str) -> None:
        if not self._is_over and self._ready.successful():
            self._is_over = True
            code, refusal = self._refusal
            self._user.lost(self, refusal or text, code)

    def close(self) -> None:
        """End it politely; nothing is told any more."""
        self._is_over = True
        self._abort()

    def _abort(self) -> None:
        connection = self._connection
        if connection is None or connection.is_closed:
            return
        if not connection.is_closing:
            connection.close()
        if not connection.is_closed:  # a broker that doesn't answer must not keep it, however alive it is
            connection._adapter_call_later(_CLOSE_S, self._break_off)

    def _break_off(self) -> None:
        import pika.exceptions

        if not self._connection.is_closed:
            self._connection._terminate_stream(pika.exceptions.ConnectionClosedByClient(200, "no answer to the close"))

    # --- work

    def publish(self, message: BrokerMessage) -> int:
        """Put a message on its way; its delivery tag. Raises LinkError when the link is over, UnfitMessage."""
        import pika

        settings = self._settings
        properties = pika.BasicProperties(
            content_type=message.content_type,
            headers=message.headers,
            delivery_mode=_PERSISTENT,
            message_id=message.message_id,
            timestamp=int(message.received_wall),
            app_id="gsmtp",
        )
        try:
            self._channel.basic_publish(
                settings.exchange, settings.routing_key, message.body, properties, mandatory=True
            )
        except Exception as error:
            if self._channel.is_open:  # frames are made before the first is sent
                raise UnfitMessage(clean(describe(error))[:200]) from error
            raise LinkError(describe(error)) from error
        self._tag += 1
        return self._tag

    # While it closes, what the broker had sent before still comes: the tags of this link mean others on the next.

    def _on_confirm(self, frame: Any) -> None:
        method = frame.method
        if not self._is_over:
            self._user.confirmed(method.delivery_tag, method.multiple, method.NAME == "Basic.Ack")

    def _on_return(self, _channel: Any, method: Any, properties: Any, _body: bytes) -> None:
        if not self._is_over:
            self._user.returned(properties.message_id or "", f"{method.reply_code} {method.reply_text}")

    def _on_block(self, reason: str) -> None:
        self.block = reason
        if not self._is_over:
            self._user.blocked(self, reason)


def describe(error: BaseException) -> str:
    """An exception of pika's in words: the innermost that says something."""
    inner = getattr(error, "exceptions", None) or [getattr(error, "exception", None)]
    if isinstance(inner[-1], BaseException):
        return describe(inner[-1])
    if error.args and isinstance(error.args[-1], BaseException):
        return describe(error.args[-1])
    code, text = getattr(error, "reply_code", None), getattr(error, "reply_text", None)
    if code and text:
        return f"{code} {text}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    said = " ".join(str(argument) for argument in error.args if argument)
    if "Timeout while setting up" in said:  # pika's words for it are about itself
        return "connected, but no answer in time"
    if "TCP connection attempt timed out" in said:
        return "can't be connected to in time"
    name = type(error).__name__
    return f"{name}: {said}" if said else name


def _is_closed_by_broker(error: BaseException) -> bool:
    import pika.exceptions

    return isinstance(error, pika.exceptions.ChannelClosedByBroker)


def _is_refusal(error: BaseException) -> bool:
    """Whether the broker said that it doesn't want us: a wrong password, no such virtual host, no permission.

    Not what pika calls probable: a connection that is lost while we log in looks the same.
    """
    import pika.exceptions

    return isinstance(error, pika.exceptions.ConnectionClosedByBroker) and error.reply_code in _REFUSALS


def _loop_services() -> Any:
    """pika's view of this hub's loop."""
    from pika.adapters import (  # type: ignore[attr-defined,unused-ignore]
        gevent_connection,
    )

    hub = gevent.get_hub()
    for known, services in _shared:
        if known is hub:
            return services
    pika_log = logging.getLogger("pika")
    if pika_log.level == logging.NOTSET:  # what goes wrong is told by the publisher, in one line
        pika_log.setLevel(logging.CRITICAL)
    services = gevent_connection._GeventSelectorIOServicesAdapter(gevent_connection._GeventSelectorIOLoop(hub))
    _shared[:] = [(hub, services)]
    return services
