"""The connection: one actor, one thread, one WebSocket, one attempt.

    dialling ──▶ open ──▶ closing ──▶ gone
        └──────────┴─── told Ended ───▶┘

Its thread alone dials, reads, writes, pings and closes, and never blocks in it: it waits for its mailbox and its
socket at once (`SocketMailbox`). A read is cut into frames, decoded, and told to the client as one
batch; when the client has too much of that unhandled, the socket is not read until it has caught up, and TCP
slows the relay down.

The client is told `Connected` once, batches, and the end once: by `Ended` from here, or, where this actor crashes
or is killed, by the watch that ``init`` put on it before anything could happen. When the end has been told, the url is
free for the next attempt; a close handshake goes on behind that, in state closing, for ``close_timeout`` at most.

Where the time goes while one relay floods, in microseconds an event of 864 bytes: 1.5 to decode it, 1.0 to cut it out
and check its UTF-8, 0.3 to read it, 0.6 in the client's thread with a callback that counts; all that is done once for a
read, the wake-ups included, is 0.4, for there are 150 events in it. Eight relays at once take a third more, most of it
the garbage collector's. Live, one event a read, nearly all is waking up: this thread, and then the client's.
"""

import gc
import socket
import ssl
from dataclasses import replace
from enum import Enum
from queue import Empty
from typing import Any, Final

from gennostr.client.connection_events import (
    Batch,
    Connected,
    ConnectionWatch,
    Credit,
    Ended,
    Resume,
)
from gennostr.client.dial import Dial, Resolved, Want
from gennostr.client.frames import (
    PING,
    PONG,
    TEXT,
    Close,
    FrameReader,
    Ping,
    Pong,
    Received,
    encode_close,
    encode_frame,
)
from gennostr.client.options import Relay
from gennostr.client.outbox import FLUSH, Flush, Outbox
from gennostr.client.relay_statistics import Pings, RelayCounters
from gennostr.client.socket_mailbox import WRITABLE, SocketMailbox, SocketReady
from gennostr.client.verification import verify_events
from gennostr.exceptions import (
    ConnectionLost,
    ConnectTimeout,
    MessageError,
    PingTimeout,
    ProtocolError,
)
from gennostr.nostr.messages import RelayMessage, decode, decode_known
from gennostr.nostr.relay_url import redact
from gennostr.otp import telemetry
from gennostr.otp.clock import ScheduledCall, clock
from gennostr.otp.engine import Engine
from gennostr.otp.gen_server import GenServer
from gennostr.otp.outcomes import CallbackOutcome, InitOutcome, Ok, Stop
from gennostr.otp.process import Process
from gennostr.otp.reasons import NORMAL, is_clean
from gennostr.otp.registry import RegistryPid
from gennostr.otp.signals import Exit
from gennostr.otp.timers import send_after
from gennostr.values import shown

STABLE_AFTER: Final = 30.0
"""Seconds after which a connection counts as stable, and the reconnect counter starts over."""
CLOSE_ENOUGH: Final = 0.001
"""Seconds that a timer may come early, by rounding. Set anew for so little, it could be due at once, for ever."""
SAME_TIME: Final = 5.0
"""Seconds by which two clocks that are right can seem to differ: a date is in whole seconds, and takes its way."""
READ_SIZE: Final = 128 * 1024
WRITE_SIZE: Final = 64 * 1024
MESSAGE_SIZE: Final = 256
"""Bytes that a message counts besides its own: one of two bytes on the wire may be an exception here."""
STOP_TIMEOUT: Final = 1.0
"""Seconds that a stop waits for the relay to answer the close frame; ``close_timeout`` may be shorter."""


class Command(Enum):
    """What a client tells its connections."""

    READY = "handle_connect has run"
    REMOVE = "close: the relay was removed"


class Tick(Enum):
    """What a connection's timers tell it."""

    CONNECT = "connect_timeout is over"
    KEEPALIVE = "time to look at the silence"
    CLOSE = "close_timeout is over"
    GARBAGE = "time to collect garbage"


class _Engine(Engine):
    """Waits for messages and the socket at once."""

    create_mailbox = staticmethod(SocketMailbox)
    server: "Connection"

    def on_suspend(self) -> None:
        """Look at the socket no more: it would be ready at every look."""
        self.server.mailbox.watch(None)

    def on_resume(self) -> None:
        """Look at the socket again."""
        self.then(WRITABLE)

    def activity(self) -> str:
        """Return the phase."""
        return self.server.phase

    def at_rest(self) -> bool:
        """Whether nothing is left to do, nor to be read or written."""
        return super().at_rest() and not self.server.mailbox.ready()

    def left(self) -> None:
        """Give the descriptors back."""
        self.server.close_socket()
        self.server.mailbox.close()


class Connection(GenServer[Any], engine=_Engine):
    """Start with ``start_link((client, registry, relay, outbox, counters), name=via(registry, url, outbox))``."""

    trap_exit = True

    def __init__(self) -> None:
        super().__init__()
        inbox: Any = self.actor_inbox
        self.mailbox: SocketMailbox = inbox
        self.phase = "starting"
        self._process = self.pid.process
        self._sock: socket.socket | None = None
        self._dial: Dial | None = None
        self._timers: dict[Tick, ScheduledCall] = {}

    def init(self, init_arg: tuple[Process, RegistryPid, Relay, Outbox, RelayCounters], /) -> InitOutcome[Any]:
        """Have the client told of the end, whatever comes; then dial."""
        self._client, self._registry, self._relay, self._outbox, counters = init_arg
        self._options = self._relay.options
        self.phase = "dialling"
        self._told = False
        self._out = bytearray()  # takes from its front what was sent, without moving the rest
        self._reader = FrameReader(self._options.max_message_size)
        self._credit = Credit(self._process)
        self._opened_at: float | None = None
        self._last_read = 0.0
        self._pinged = False
        self._pings = Pings()
        # Before the client learns of the death, what the attempt has counted is added up.
        self._counted = counters.begin(self._relay.url, self._process, self._outbox, self._credit)
        self._process.watch(ConnectionWatch(self._client, self._outbox))
        if self._client.dead:
            return Stop(NORMAL)
        return Ok(None, continue_="dial")

    def handle_continue(self, argument: str, state: Any, /) -> CallbackOutcome[Any]:
        """Begin to dial."""
        del argument, state
        try:
            self.mailbox.open()
            for task, seconds in self._options.tasks.items():
                assert task == "garbage_collector"  # noqa: S101 - Options knows no other
                self._schedule(Tick.GARBAGE, seconds)
            self._schedule(Tick.CONNECT, self._options.connect_timeout)
        except (OSError, RuntimeError) as error:  # the system refused descriptors, or the timers their thread
            return self._fail(error)
        self._dial = Dial(self._relay, self._process)
        if telemetry.handlers:
            counter = {"reconnect_counter": self._relay.reconnect_counter}
            telemetry.emit("connection.attempt", counter, {"relay": self._relay})
        return self._go_on(self._dial)

    def on_cancel(self) -> None:
        """Wake the thread: what it may be waiting for, in `terminate`, ends with the socket."""
        sock = self._sock
        if sock is not None:
            _shut_down(sock)
        self._cancel_timers()

    # Messages.

    def handle_cast(self, request: Command, state: Any, /) -> CallbackOutcome[Any]:
        """Do what the client commands."""
        del state
        if request is Command.READY:
            self._outbox.ready()
            return None
        # REMOVE: the client has told itself the end, and has taken the name away.
        self._told = True
        if self._sock is None:
            return Stop(NORMAL)
        return self._begin_closing(encode_close(1000))

    def handle_info(self, message: Any, state: Any, /) -> CallbackOutcome[Any]:
        """Go on with the socket, the dial or a timer."""
        match message:
            case SocketReady():
                return self._socket_ready(message)
            case Flush():
                return self._write()
            case Resume():
                if self.phase == "open":
                    self._credit.spent()
                    self._watch()
                return None
            case Resolved():
                return self._resolved(message)
            case Tick():
                self._timers.pop(message, None)
                return self._tick(message)
            case Exit(pid, reason):
                return self._exit(pid, reason)
        return super().handle_info(message, state)

    def _exit(self, pid: object, reason: object) -> CallbackOutcome[Any]:
        if pid is self._registry:  # the name is gone: another attempt could run beside this one
            return self._fail(ConnectionLost(f"the connection registry ended: {shown(reason)}"))
        if reason is NORMAL or self._dial is None or pid is not self._dial.resolver:
            return None
        return self._fail(ConnectionLost(f"the resolver ended: {shown(reason)}"))

    # Opening.

    def _resolved(self, resolved: Resolved) -> CallbackOutcome[Any]:
        dial = self._dial
        if dial is None or resolved.dial is not dial:
            return None
        dial.resolved(resolved.answer)
        return self._go_on(dial)

    def _go_on(self, dial: Dial) -> CallbackOutcome[Any]:
        """Take the next step of the dial."""
        try:
            wanted = dial.step()
        except Exception as error:  # whatever it is (an option that the system refuses, say), the attempt has failed
            return self._fail(error)
        if wanted is not None:
            self.mailbox.watch(dial.sock, read=wanted is Want.READABLE, write=wanted is Want.WRITABLE)
            return None
        self._cancel(Tick.CONNECT)
        sock, dial.sock = dial.sock, None
        assert sock is not None  # noqa: S101
        self._dial = None
        self._sock = sock
        self.phase = "open"
        now = clock().monotonic()
        self._opened_at = self._last_read = now
        self._counted.connects = 1
        time = clock().time()
        self._relay = replace(self._relay, connected_at=time, up_since=now, clock_offset=_clock_offset(dial.date, time))
        if telemetry.handlers:
            telemetry.emit("connection.up", {"duration": now - self._process.started}, {"relay": self._relay})
        self._outbox.relay = self._relay
        self._tell(Connected(self._process, self._relay, self._outbox))
        self._outbox.open(lambda: self._process.deliver(FLUSH))
        self._schedule(Tick.KEEPALIVE, self._options.ping_interval)
        self._watch()
        rest, failure = _rest(sock, dial.rest)
        return self._received(rest, failure) if rest or failure else None

    # The socket.

    def _watch(self) -> None:
        read = not self._credit.paused or self.phase == "closing"
        self.mailbox.watch(self._sock, read=read, write=bool(self._out))

    def _socket_ready(self, ready: SocketReady) -> CallbackOutcome[Any]:
        """Continue the dial, or write and read."""
        if self._dial is not None:
            return self._go_on(self._dial)
        if self._sock is None:
            return None
        if ready.writable:
            outcome = self._write()
            if outcome is not None:
                return outcome
        return self._read(self._sock) if ready.readable else None

    def _read(self, sock: socket.socket) -> CallbackOutcome[Any]:
        try:
            data = sock.recv(READ_SIZE)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None
        except OSError as error:
            return self._lost(error)
        if not data:
            return self._lost(_no_close_frame())
        return self._received(*_rest(sock, data)) if isinstance(sock, ssl.SSLSocket) else self._received(data)

    def _lost(self, error: Exception) -> CallbackOutcome[Any]:
        if self.phase == "closing":
            return Stop(NORMAL)
        return self._fail(error)

    def _received(self, data: bytes, failure: Exception | None = None) -> CallbackOutcome[Any]:
        """Deliver what `data` completes; then `failure`, if the stream failed behind it, unless it had ended before."""
        self._last_read = clock().monotonic()
        self._pinged = False
        self._counted.bytes_received += len(data)
        received = self._reader.receive(data)
        end: Close | ProtocolError | None = None
        messages: list[RelayMessage | MessageError]
        if self._reader.large:
            messages, end = self._sort(received)
        else:
            try:
                # Nearly always there are text messages of known types only: then no line of Python runs for each.
                messages = list(map(decode_known, received))  # type: ignore[arg-type]
            except Exception:  # whatever it is, and whichever it is: taken one by one, it is found again
                messages, end = self._sort(received)
        if self.phase == "closing":
            return None if end is None and failure is None else Stop(NORMAL)
        if messages:
            if self._options.verify:
                verify_events(messages)
            self._counted.messages_received += len(messages)
            size = len(data) + MESSAGE_SIZE * len(messages)
            if self._credit.give(size):
                self._watch()
            # Last of all: the client, once awake, wants the interpreter's lock, which the next wait gives free.
            batch = Batch(self._process, self._relay, messages, size, self._credit)
            self._client.put_from(self._process, batch)  # unless this connection was killed meanwhile: see `_tell`
        if end is not None:
            return self._ended(end)
        if failure is not None:
            return self._lost(failure)
        return self._write() if self._out else None

    def _sort(self, received: list[Received]) -> tuple[list[RelayMessage | MessageError], Close | ProtocolError | None]:
        """Return the messages, and the end of the stream where there is one; answer pings."""
        messages: list[RelayMessage | MessageError] = []
        end: Close | ProtocolError | None = None
        # The errors of texts of two bytes at most, which are no messages: tens of thousands fit into one read, so those
        # that are the same share one.
        tiny: dict[bytes, MessageError] = {}
        for item in received:
            if type(item) is bytes:
                known = tiny.get(item)
                if known is not None:
                    messages.append(known)
                    continue
                try:
                    messages.append(decode(item))
                except MessageError as error:
                    # Without the frames that it was raised in, which are twice its size: thousands may wait.
                    error.__traceback__ = error.__context__ = None
                    messages.append(error)
                    if len(item) <= 2:
                        tiny[item] = error
            elif isinstance(item, Ping):
                # One pong at a time: a relay that pings without end and does not read must not fill our memory.
                if len(self._out) < WRITE_SIZE:
                    self._out += encode_frame(PONG, item.payload)
            elif isinstance(item, Pong):
                latency = self._pings.answered(item.payload, self._last_read)
                if latency is not None:
                    self._counted.latency = latency
            else:
                assert isinstance(item, Close | ProtocolError)  # noqa: S101
                end = item
        return messages, end

    def _ended(self, end: Close | ProtocolError) -> CallbackOutcome[Any]:
        """Answer the relay's close frame, or its violation."""
        if isinstance(end, ProtocolError):
            self._tell_end(end, error=end)
            return self._begin_closing(encode_close(end.code, end.reason))
        self._tell_end(end)
        return self._begin_closing(encode_close(1000 if end.code is None else end.code))

    def _write(self) -> CallbackOutcome[Any]:
        """Send what waits, as far as the socket takes it."""
        sock = self._sock
        if sock is None:
            return None
        try:
            while True:
                if len(self._out) < WRITE_SIZE and self.phase == "open":
                    payloads = self._outbox.take(WRITE_SIZE)
                    if self._outbox.take_ping():
                        self._ping()
                    for payload in payloads:
                        self._out += encode_frame(TEXT, payload)
                    self._counted.messages_sent += len(payloads)
                if not self._out:
                    break
                sent = sock.send(self._out)
                self._counted.bytes_sent += sent
                del self._out[:sent]
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except OSError as error:
            return self._lost(error)
        self._watch()
        return None

    # The end.

    def _tell_end(self, reason: object, *, error: object = None) -> None:
        """Tell the client the end, once, and free the url."""
        if self._told:
            return
        self._told = True
        self._counted.end(error)
        relay = self._relay
        if self._opened_at is not None and clock().monotonic() - self._opened_at >= STABLE_AFTER:
            relay = replace(relay, reconnect_counter=0)
        self._registry.table.release(relay.url, self._process)
        # One step as seen by a killer: a connection that was killed before it told its end is restarted.
        with self._process.lock:
            if not self._process.dead:
                self._outbox.over = True
                self._tell(Ended(self._process, relay, reason, error))

    def _tell(self, event: Connected | Batch | Ended) -> None:
        """Tell the client, unless this connection was killed meanwhile: then its end has been told, and is the last."""
        self._client.put_from(self._process, event)

    def _fail(self, error: BaseException) -> CallbackOutcome[Any]:
        self._tell_end(error, error=error)
        self.phase = "ended"
        return Stop(NORMAL)

    def _begin_closing(self, close_frame: bytes) -> CallbackOutcome[Any]:
        """Send the close frame and wait for the relay's, or for the end."""
        self.phase = "closing"
        self._cancel(Tick.KEEPALIVE)
        self._out += close_frame
        self._schedule(Tick.CLOSE, self._options.close_timeout)
        outcome = self._write()
        if outcome is None and self._reader.over:
            self._half_close()  # the relay's close frame was read: nothing is to come
        return outcome

    def _half_close(self) -> None:
        if self._sock is not None and not self._out and not isinstance(self._sock, ssl.SSLSocket):
            try:
                self._sock.shutdown(socket.SHUT_WR)
            except OSError:
                pass

    def terminate(self, reason: Any, state: Any, /) -> None:
        """Close in good order where there is still somebody to close to."""
        del state
        self._cancel_timers()
        if self.phase == "open":
            self._out += encode_close(1000)
            self.phase = "closing"
            if self._write() is None and is_clean(reason):
                self._await_end()
        self.close_socket()

    def _await_end(self) -> None:
        """Read until the relay's close frame or end, for a short time: a reset would destroy our close frame."""
        deadline = clock().monotonic() + min(self._options.close_timeout, STOP_TIMEOUT)
        inbox = SocketMailbox()
        try:
            inbox.open()
            # A flood is always there to be read: the deadline is looked at each time.
            while self._sock is not None and clock().monotonic() < deadline:
                inbox.watch(self._sock, read=True, write=bool(self._out))
                ready = clock().take(inbox, deadline)
                assert isinstance(ready, SocketReady)  # noqa: S101
                if self._socket_ready(ready) is not None:
                    return
        except (Empty, OSError):  # it did not answer in time, or there is no descriptor to wait with
            pass
        finally:
            inbox.close()

    def close_socket(self) -> None:
        """Close the socket, or the dial's."""
        self.mailbox.watch(None)
        sock, self._sock = self._sock, None
        if sock is not None:
            sock.close()
        dial, self._dial = self._dial, None
        if dial is not None:
            dial.close()

    # Time.

    def _schedule(self, tick: Tick, delay: float) -> None:
        timer = self._timers[tick] = send_after(delay, self.pid, tick)
        if self._process.is_dead():  # killed meanwhile: on_cancel may have missed this one
            timer.cancel()

    def _cancel(self, tick: Tick) -> None:
        timer = self._timers.pop(tick, None)
        if timer is not None:
            timer.cancel()

    def _cancel_timers(self) -> None:
        for timer in list(self._timers.values()):
            timer.cancel()
        self._timers.clear()

    def _tick(self, tick: Tick) -> CallbackOutcome[Any]:
        match tick:
            case Tick.CONNECT:
                if self._dial is None:
                    return None
                seconds = self._options.connect_timeout
                url = redact(self._relay.url)
                return self._fail(ConnectTimeout(f"{url}: not connected within {seconds} s"))
            case Tick.KEEPALIVE:
                return self._keep_alive()
            case Tick.CLOSE:
                return Stop(NORMAL)
            case _:
                gc.collect()
                self._schedule(Tick.GARBAGE, self._options.tasks["garbage_collector"])
                return None

    def _keep_alive(self) -> CallbackOutcome[Any]:
        """Ping a relay that has been silent; give up one that stays so."""
        options = self._options
        silence = clock().monotonic() - self._last_read
        if self._pinged and not self._credit.paused:
            return self._fail(PingTimeout(f"nothing received for {silence:.1f} s, and no answer to a ping"))
        # A socket that is not read because the client lags says nothing about the relay.
        wait = options.ping_interval if self._credit.paused else options.ping_interval - silence
        if wait > CLOSE_ENOUGH:
            self._schedule(Tick.KEEPALIVE, wait)
            return None
        self._pinged = True
        self._ping()
        self._schedule(Tick.KEEPALIVE, options.ping_timeout)
        return self._write()

    def _ping(self) -> None:
        self._out += encode_frame(PING, self._pings.send(clock().monotonic()))


def _clock_offset(date: float | None, time: float) -> float | None:
    """Return by how much the relay's clock is ahead of ours; a difference that a slow answer explains is none."""
    if date is None:
        return None
    offset = date - time
    return offset if abs(offset) > SAME_TIME else 0.0


def _rest(sock: socket.socket, data: bytes) -> tuple[bytes, Exception | None]:
    """Return `data` and what follows at once, up to about READ_SIZE, and how the stream failed or ended behind it.

    TLS gives one record at a time, 16 KiB at most, and what it has decrypted already poll does not see; nor does poll
    see a failure that was read: it is kept, for what came before must be told first.
    """
    if not isinstance(sock, ssl.SSLSocket):
        return data, None
    parts, size = [data], len(data)
    failure: Exception | None = None
    try:
        while size < READ_SIZE:
            data = sock.recv(READ_SIZE)
            if not data:
                failure = _no_close_frame()
                break
            parts.append(data)
            size += len(data)
    except (ssl.SSLWantReadError, ssl.SSLWantWriteError):  # nothing more yet
        pass
    except OSError as error:
        failure = error
    return b"".join(parts), failure


def _no_close_frame() -> ConnectionLost:
    return ConnectionLost("the relay ended the connection without a close frame")


def _shut_down(sock: socket.socket) -> None:
    """Wake whoever is blocked on `sock`; it stays open."""
    try:
        # Not SSLSocket's own shutdown: that drops its TLS object first, and a send would go out in the clear.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
    except OSError:
        pass  # not connected any more
