"""The connection: one actor, one thread, one WebSocket, one attempt.

    dialling ──▶ open ──▶ closing ──▶ ended
        └──────────┴─── sent Ended ───▶┘

Its thread alone dials, reads, writes, pings and closes, and never blocks on the socket: it waits for its mailbox and
its socket at once (`SocketMailbox`). What one read returns is cut into frames, decoded, and sent to the client as one
batch. When the client has too many unhandled bytes, the socket is not read until the client has caught up, and TCP
slows the relay down.

The client gets `Connected` once, then batches, then the end once: as `Ended` from here or, if this actor crashes or is
killed, from the watch that ``init`` set before anything could happen. When the end has been sent, the url is free for
the next attempt; a close handshake continues after that, in state closing, for ``close_timeout`` at most.

Where the time goes while one relay floods, in microseconds per event of 864 bytes: 1.5 to decode it, 1.0 to cut it out
and check its UTF-8, 0.3 to read it, 0.6 in the client's thread with a callback that counts; everything done once per
read, including the wake-ups, is 0.4, for a read has 150 events. Eight relays at once take a third more, most of it in
the garbage collector. Live, with one event per read, nearly all is waking up: this thread, and then the client's.
"""

import gc
import socket
import ssl
import threading
from collections.abc import Sequence
from dataclasses import replace
from enum import Enum
from queue import Empty
from typing import Any, Final

from gennostr.client.compression import THRESHOLD, Deflater, Inflater
from gennostr.client.connection_events import (
    Batch,
    Connected,
    ConnectionWatch,
    Credit,
    Ended,
    Resume,
)
from gennostr.client.copies import Copies, CopyFilter
from gennostr.client.dial import Dial
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
from gennostr.client.seen_events import SeenEvents
from gennostr.client.socket_mailbox import WRITABLE, SocketMailbox, SocketReady
from gennostr.client.verification import verify_events
from gennostr.exceptions import (
    ConnectionLost,
    ConnectTimeout,
    HandshakeError,
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
from gennostr.otp.system_limits import explained
from gennostr.otp.timers import send_after
from gennostr.values import shown

STABLE_AFTER: Final = 30.0
"""Seconds after which a connection counts as stable, and the reconnect counter is reset."""
CLOSE_ENOUGH: Final = 0.001
"""Seconds that a timer may be early, by rounding. Rescheduled for so little, it could be due at once, for ever."""
SAME_TIME: Final = 5.0
"""Seconds by which two correct clocks can seem to differ: a date has whole seconds, and takes time to arrive."""
READ_SIZE: Final = 128 * 1024
WRITE_SIZE: Final = 64 * 1024
MESSAGE_SIZE: Final = 256
"""Extra bytes that each message counts: a message of two bytes on the wire may become an exception here."""
MAX_WAITS: Final = 4
"""How often an event waits for another connection's copy; then it is delivered, whatever claims there are."""
STOP_TIMEOUT: Final = 1.0
"""Seconds that a stop waits for the relay to answer the close frame; ``close_timeout`` may be shorter."""


INFLATING: Final = threading.Lock()
"""Held while a read is inflated. zlib releases the interpreter's lock for each message, a few microseconds: connections
that inflate at once would pass it around, and eight of them take twice the time.

Only for speed: it protects nothing, so a thread that does not get it within TURN inflates anyway. In a process forked
while it was held, it stays held.
"""
TURN: Final = 0.1
"""Seconds to wait for other connections' reads to be inflated; one takes 3 ms."""


class Command(Enum):
    """The commands that a client sends to its connections."""

    READY = "handle_connect has run"
    REMOVE = "close: the relay was removed"


class Tick(Enum):
    """The messages that a connection's timers send to it."""

    CONNECT = "connect_timeout is over"
    DIAL = "the dial's next step is due"
    KEEPALIVE = "time to look at the silence"
    CLOSE = "close_timeout is over"
    GARBAGE = "time to collect garbage"


class More(Enum):
    """The type of MORE."""

    MORE = "more"


MORE: Final = More.MORE
"""Continue with the rest of a read. A connection sends it to itself, if more can be inflated after what else waits in
its mailbox; its client sends it when events that the rest waits for have been handled (`gennostr.client.copies`)."""


class _Engine(Engine):
    """Waits for messages and the socket at once."""

    create_mailbox = staticmethod(SocketMailbox)
    server: "Connection"

    def on_suspend(self) -> None:
        """Stop watching the socket: it would be ready at every poll."""
        self.server.mailbox.watch(None)

    def on_resume(self) -> None:
        """Watch the socket again."""
        self.queue_ahead(WRITABLE)

    def activity(self) -> str:
        """Return the phase."""
        return self.server.phase

    def at_rest(self) -> bool:
        """Whether nothing is left to do, to read or to write."""
        return super().at_rest() and not self.server.mailbox.ready()

    def on_thread_end(self) -> None:
        """Close the descriptors."""
        self.server.close_socket()
        self.server.mailbox.close()


class Connection(GenServer[Any], engine=_Engine):
    """The actor of one connection.

    Start with ``start_link((client, registry, relay, outbox, counters, seen), name=via(registry, url, outbox))``.
    """

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

    def init(
        self, init_arg: tuple[Process, RegistryPid, Relay, Outbox, RelayCounters, SeenEvents], /
    ) -> InitOutcome[Any]:
        """Make sure that the client learns of the end, whatever happens; then dial."""
        self._client, self._registry, self._relay, self._outbox, counters, seen = init_arg
        self._options = self._relay.options
        self.phase = "dialling"
        self._end_reported = False
        self._out = bytearray()  # what was sent is removed from its front, without moving the rest
        self._reader = FrameReader(self._options.max_message_size)
        self._deflater: Deflater | None = None
        self._copies = CopyFilter(seen, self._process, self._outbox) if self._options.verify else None
        # The rest of a read: its first event waits until the client has handled another connection's copy of it.
        self._parked: list[Received] = []
        # How often it has waited in vain.
        self._waits = 0
        # How the stream failed after a read that is not yet delivered as a whole: handled when that is.
        self._failure: Exception | None = None
        self._credit = Credit(self._process)
        self._opened_at: float | None = None
        self._last_read = 0.0
        self._pinged = False
        self._pings = Pings()
        # Before the client learns of the death, the counts of the attempt are added to the totals.
        self._counted = counters.begin(self._relay.url, self._process, self._outbox, self._credit)
        self._process.watch(ConnectionWatch(self._client, self._outbox))
        if self._client.dead:
            return Stop(NORMAL)
        return Ok(None, continue_="dial")

    def handle_continue(self, argument: str, state: Any, /) -> CallbackOutcome[Any]:
        """Start to dial."""
        del argument, state
        try:
            self.mailbox.open()
            for task, seconds in self._options.tasks.items():
                assert task == "garbage_collector"  # noqa: S101 - Options knows no other
                self._schedule(Tick.GARBAGE, seconds)
            self._schedule(Tick.CONNECT, self._options.connect_timeout)
        except (OSError, RuntimeError) as error:  # the system refused descriptors, or a thread for the timers
            return self._fail(error)
        self._dial = Dial(self._relay, lambda: self._process.deliver(Tick.DIAL))
        if telemetry.handlers:
            counter = {"reconnect_counter": self._relay.reconnect_counter}
            telemetry.emit("connection.attempt", counter, {"relay": self._relay})
        return self._go_on(self._dial)

    def on_cancel(self) -> None:
        """Wake the thread: whatever `terminate` waits for ends with the socket."""
        sock = self._sock
        if sock is not None:
            _shut_down(sock)
        self._cancel_timers()

    # Messages.

    def handle_cast(self, request: Command, state: Any, /) -> CallbackOutcome[Any]:
        """Execute a command of the client."""
        del state
        if request is Command.READY:
            self._outbox.ready()
            return None
        # REMOVE: the client has reported the end to itself and released the name.
        self._end_reported = True
        if self._sock is None:
            return Stop(NORMAL)
        return self._begin_closing(encode_close(1000))

    def handle_info(self, message: Any, state: Any, /) -> CallbackOutcome[Any]:
        """Continue with the socket, the dial or a timer."""
        match message:
            case SocketReady():
                return self._socket_ready(message)
            case Flush():
                return self._write()
            case Resume():
                if self.phase == "open":
                    self._credit.spent()
                    self._watch()
                    return self._continue_read()
                return None
            case More():
                return self._continue_read()
            case Tick():
                self._timers.pop(message, None)
                return self._tick(message)
            case Exit(pid, reason):
                return self._exit(pid, reason)
        return super().handle_info(message, state)

    def _exit(self, pid: object, reason: object) -> CallbackOutcome[Any]:
        if pid is self._registry:  # the name is released: another attempt could run beside this one
            return self._fail(ConnectionLost(f"the connection registry ended: {shown(reason)}"))
        return None

    # Opening.

    def _go_on(self, dial: Dial) -> CallbackOutcome[Any]:
        """Take the next step of the dial."""
        try:
            wait = dial.step()
        except Exception as error:  # whatever it is (an option that the system refuses, say), the attempt failed
            return self._fail(error)
        self._cancel(Tick.DIAL)
        if wait is not None:
            self.mailbox.watch_any(wait.readable, wait.writable)
            if wait.until is not None:
                self._schedule(Tick.DIAL, max(0.0, wait.until - clock().monotonic()))
            return None
        self.mailbox.watch(None)
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
        agreement = dial.agreement
        if agreement is not None:
            inflater = Inflater(
                agreement.server_max_window_bits, no_context_takeover=agreement.server_no_context_takeover
            )
            self._reader = FrameReader(self._options.max_message_size, inflater)
            self._deflater = Deflater(
                agreement.client_max_window_bits, no_context_takeover=agreement.client_no_context_takeover
            )
        self._outbox.relay = self._relay
        self._report(Connected(self._process, self._relay, self._outbox))
        self._outbox.open(lambda: self._process.deliver(FLUSH))
        self._schedule(Tick.KEEPALIVE, self._options.ping_interval)
        self._watch()
        rest, failure = _rest(sock, dial.rest)
        return self._received(rest, failure) if rest or failure else None

    # The socket.

    def _is_behind(self) -> bool:
        """Whether there is something to do before the socket is read.

        The client has to catch up, or the last read is not all inflated or delivered. Reading only then bounds what is
        held: one read, and what it inflates to up to `INFLATED` and a message.
        """
        return self._credit.paused or self._reader.pending or bool(self._parked)

    def _watch(self) -> None:
        read = not self._is_behind() or self.phase == "closing"
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
        if self._reader.pending or self._parked:
            # What was read before is delivered first. Nothing can be sent any more, and a poll for it would not wait.
            self._failure = error
            self._out.clear()
            self._watch()
            return None
        return self._fail(error)

    def _received(self, data: bytes, failure: Exception | None = None) -> CallbackOutcome[Any]:
        """Deliver what `data` completes, then handle `failure` of the stream.

        A failure after the stream has ended is ignored.
        """
        self._last_read = clock().monotonic()
        self._pinged = False
        self._counted.bytes_received += len(data)
        return self._deliver(data, failure)

    def _continue_read(self) -> CallbackOutcome[Any]:
        """Continue with the rest of a read.

        If the client has to catch up first, this is called again by Resume.
        """
        if self.phase != "open" or self._credit.paused or not (self._parked or self._reader.pending):
            return None
        failure, self._failure = self._failure, None
        if self._parked:
            parked, self._parked = self._parked, []
            self._waits += 1
            size = sum(len(each) for each in parked if type(each) is bytes)
            outcome = self._handle(parked, size, failure, waited=self._waits >= MAX_WAITS)
            if len(self._parked) < len(parked):
                self._waits = 0
        else:
            outcome = self._deliver(b"", failure)
        if outcome is None:
            self._watch()
        return outcome

    def _deliver(self, data: bytes, failure: Exception | None) -> CallbackOutcome[Any]:
        """See `_received`; of a read that inflates to very much, deliver the first part."""
        received = self._reader.receive(data) if self._deflater is None else self._inflate(data)
        return self._handle(received, len(data) + self._reader.inflated, failure)

    def _handle(
        self, received: list[Received], size: int, failure: Exception | None, *, waited: bool = False
    ) -> CallbackOutcome[Any]:
        """Deliver what a read of `size` bytes has completed.

        `waited`: it was left for later, and has waited long enough.
        """
        end: Close | ProtocolError | None = None
        copies = self._copies
        needed: Sequence[Received | Copies] = received
        if copies is not None and self.phase == "open":
            needed, size = self._without_copies(copies, received, size, waited=waited)
        messages: list[RelayMessage | MessageError | Copies]
        if self._reader.large:
            messages, end = self._sort(needed)
        else:
            try:
                # Nearly always, all are text messages of known types: then no line of Python runs for each.
                messages = list(map(decode_known, needed))  # type: ignore[arg-type]
            except Exception:  # whatever failed, and wherever: taken one by one, it is found again
                messages, end = self._sort(needed)
        if self.phase == "closing":
            while end is None and self._reader.pending:  # a read becomes at most about a thousand times its bytes
                _, end = self._sort(self._reader.receive(b""))
            return None if end is None and failure is None else Stop(NORMAL)
        if messages:
            if copies is not None:
                verify_events(messages)
            self._counted.messages_received += (
                len(messages) if copies is None else sum(type(each) is not Copies for each in messages)
            )
            size += MESSAGE_SIZE * len(messages)
            if self._credit.give(size):
                self._watch()
            batch = Batch(self._process, self._relay, messages, size, self._credit)
            if copies is not None:
                self._complete_batch(copies, batch)
            # Last of all: the client, once awake, needs the interpreter's lock, which this thread releases at its next
            # wait.
            self._report(batch)
        if end is not None:
            return self._ended(end)
        if self._reader.pending or self._parked:
            self._failure = failure or self._failure
            self._watch()
            if not self._credit.paused and (
                not self._parked or (copies is not None and copies.is_waiting_over(self._parked))
            ):
                self._process.deliver(MORE)
        elif failure is not None:
            return self._lost(failure)
        return self._write() if self._out else None

    def _without_copies(
        self, copies: CopyFilter, received: list[Received], size: int, *, waited: bool
    ) -> tuple[list[Received | Copies], int]:
        """Return what must be decoded now, and its size; park what must wait."""
        machine = clock()
        time = machine.time() + (self._relay.clock_offset or 0.0)
        needed, self._parked = copies.sort(received, machine.monotonic(), time, waited=waited)
        if copies.count:
            self._counted.messages_received += copies.count
            self._counted.copies += copies.count
            copies.count = 0
        if len(needed) < len(received):
            size = sum(len(each) for each in needed if type(each) is bytes)
        return needed, size

    def _complete_batch(self, copies: CopyFilter, batch: Batch) -> None:
        """Add to a batch what the client has to know of copies."""
        batch.claims, copies.claimed = copies.claimed, []
        if any(isinstance(each, MessageError) for each in batch.messages):
            copies.distrust()
        batch.messages += copies.take()

    def _inflate(self, data: bytes) -> list[Received]:
        """Cut a read whose messages may be compressed, while no other connection does."""
        has_turn = INFLATING.acquire(timeout=TURN)
        try:
            return self._reader.receive(data)
        finally:
            if has_turn:
                INFLATING.release()

    def _sort(
        self, received: Sequence[Received | Copies]
    ) -> tuple[list[RelayMessage | MessageError | Copies], Close | ProtocolError | None]:
        """Return the messages, and the end of the stream if it was reached; answer pings."""
        messages: list[RelayMessage | MessageError | Copies] = []
        end: Close | ProtocolError | None = None
        # The errors for texts of at most two bytes, which are not messages: one read has tens of thousands, so equal
        # ones share an error.
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
                    # Without the frames in which it was raised, which are twice its size: thousands may wait.
                    error.__traceback__ = error.__context__ = None
                    messages.append(error)
                    if len(item) <= 2:
                        tiny[item] = error
            elif isinstance(item, Ping):
                # One pong at a time: a relay that pings endlessly and does not read must not fill our memory.
                if len(self._out) < WRITE_SIZE:
                    self._out += encode_frame(PONG, item.payload)
            elif isinstance(item, Pong):
                latency = self._pings.answered(item.payload, self._last_read)
                if latency is not None:
                    self._counted.latency = latency
            elif isinstance(item, Copies):
                messages.append(item)
            else:
                assert isinstance(item, Close | ProtocolError)  # noqa: S101
                end = item
        return messages, end

    def _ended(self, end: Close | ProtocolError) -> CallbackOutcome[Any]:
        """Answer the relay's close frame or protocol violation."""
        if isinstance(end, ProtocolError):
            self._take_messages()  # what was sent before the violation was handled goes before our close frame
            self._report_end(end, error=end)
            return self._begin_closing(encode_close(end.code, end.reason))
        self._report_end(end)
        return self._begin_closing(encode_close(1000 if end.code is None else end.code))

    def _write(self) -> CallbackOutcome[Any]:
        """Send what waits, as far as the socket accepts it."""
        sock = self._sock
        if sock is None:
            return None
        try:
            while True:
                self._take_messages()
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

    def _take_messages(self) -> None:
        """Take what the client has sent, unless much waits for the socket already."""
        if len(self._out) < WRITE_SIZE and self.phase == "open":
            payloads = self._outbox.take(WRITE_SIZE)
            if self._outbox.take_ping():
                self._ping()
            for payload in payloads:
                self._out += self._frame(payload)
            self._counted.messages_sent += len(payloads)

    def _frame(self, payload: bytes) -> bytes:
        """Return the frame of a message, compressed if that was agreed and pays."""
        if self._deflater is not None and len(payload) >= THRESHOLD:
            compressed = self._deflater.message(payload)
            if compressed is not None:
                return encode_frame(TEXT, compressed, compressed=True)
        return encode_frame(TEXT, payload)

    # The end.

    def _report_end(self, reason: object, *, error: object = None) -> None:
        """Send the end to the client, once, and free the url."""
        if self._end_reported:
            return
        self._end_reported = True
        self._counted.end(error)
        relay = self._relay
        if self._copies is not None and (dropped := self._copies.take()):
            # Their client counts them, so that the relay is read on from behind them.
            self._credit.give(0)
            self._report(Batch(self._process, relay, list(dropped), 0, self._credit))
        if self._opened_at is not None and clock().monotonic() - self._opened_at >= STABLE_AFTER:
            relay = replace(relay, reconnect_counter=0)
        if isinstance(error, HandshakeError) and error.retry_after is not None:
            relay = replace(relay, retry_after=error.retry_after)
        self._registry.table.release(relay.url, self._process)
        # Atomic for a killer: a connection that was killed before it sent its end is restarted.
        with self._process.lock:
            if not self._process.dead:
                self._outbox.over = True
                self._report(Ended(self._process, relay, reason, error))

    def _report(self, event: Connected | Batch | Ended) -> None:
        """Send an event to the client, unless this connection was killed.

        The end of a killed connection must stay its last event.
        """
        self._client.put_from(self._process, event)

    def _fail(self, error: BaseException) -> CallbackOutcome[Any]:
        error = explained(error)
        self._report_end(error, error=error)
        self.phase = "ended"
        return Stop(NORMAL)

    def _begin_closing(self, close_frame: bytes) -> CallbackOutcome[Any]:
        """Send the close frame and wait for the relay's, or for the end of the stream."""
        self.phase = "closing"
        self._cancel(Tick.KEEPALIVE)
        self._out += close_frame
        self._schedule(Tick.CLOSE, self._options.close_timeout)
        outcome = self._write()
        if outcome is None and self._reader.over:
            self._half_close()  # the relay's close frame was read: nothing follows it
        return outcome

    def _half_close(self) -> None:
        if self._sock is not None and not self._out and not isinstance(self._sock, ssl.SSLSocket):
            try:
                self._sock.shutdown(socket.SHUT_WR)
            except OSError:
                pass

    def terminate(self, reason: Any, state: Any, /) -> None:
        """Close in an orderly way if the connection is still open."""
        del state
        self._cancel_timers()
        if self.phase == "open":
            self._out += encode_close(1000)
            self.phase = "closing"
            if self._write() is None and is_clean(reason):
                self._await_end()
        self.close_socket()

    def _await_end(self) -> None:
        """Read until the relay's close frame or the end, briefly.

        A reset would destroy our close frame.
        """
        deadline = clock().monotonic() + min(self._options.close_timeout, STOP_TIMEOUT)
        inbox = SocketMailbox()
        inbox.open_with(self.mailbox)  # so that a stop needs no descriptor
        try:
            # In a flood there is always something to read: so the deadline is checked each time.
            while self._sock is not None and clock().monotonic() < deadline:
                inbox.watch(self._sock, read=True, write=bool(self._out))
                ready = clock().take(inbox, deadline)
                assert isinstance(ready, SocketReady)  # noqa: S101
                if self._socket_ready(ready) is not None:
                    return
        except Empty:  # it did not answer in time
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
        if self._process.is_dead():  # killed meanwhile: on_cancel may have missed this timer
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
                within = f"not connected within {self._options.connect_timeout} s"
                return self._fail(ConnectTimeout(f"{redact(self._relay.url)}: {within}: {self._dial.stage}"))
            case Tick.DIAL:
                return None if self._dial is None else self._go_on(self._dial)
            case Tick.KEEPALIVE:
                return self._keep_alive()
            case Tick.CLOSE:
                return Stop(NORMAL)
            case _:
                seconds = self._options.tasks["garbage_collector"]
                _collect_garbage(seconds)
                self._schedule(Tick.GARBAGE, seconds)
                return None

    def _keep_alive(self) -> CallbackOutcome[Any]:
        """Ping a relay that is silent; give up one that stays silent."""
        options = self._options
        silence = clock().monotonic() - self._last_read
        if self._pinged and not self._is_behind():
            return self._fail(PingTimeout(f"nothing received for {silence:.1f} s, and no answer to a ping"))
        # A socket that is not read because the client lags shows nothing about the relay.
        wait = options.ping_interval if self._is_behind() else options.ping_interval - silence
        if wait > CLOSE_ENOUGH:
            self._schedule(Tick.KEEPALIVE, wait)
            return None
        self._pinged = True
        if self._deflater is not None:
            self._deflater.rest()
        self._ping()
        self._schedule(Tick.KEEPALIVE, options.ping_timeout)
        return self._write()

    def _ping(self) -> None:
        self._out += encode_frame(PING, self._pings.send(clock().monotonic()))


# By which clock garbage was last collected, and when: a test has one of its own.
_collected: tuple[object, float] = (None, 0.0)


def _collect_garbage(seconds: float) -> None:
    """Collect garbage, unless another connection has done so recently.

    That is within the last half of `seconds`. All share one heap: thousands of connections, whose timers are due at
    nearly the same time, collect it once.
    """
    # No lock: two that come here at the same moment may both collect.
    global _collected  # noqa: PLW0603
    machine = clock()
    by, at = _collected
    now = machine.monotonic()
    if by is machine and now - at < seconds / 2:
        return
    _collected = (machine, now)
    gc.collect()


def _clock_offset(date: float | None, time: float) -> float | None:
    """Return by how many seconds the relay's clock is ahead of ours.

    0.0 if a slow response explains the difference.
    """
    if date is None:
        return None
    offset = date - time
    return offset if abs(offset) > SAME_TIME else 0.0


def _rest(sock: socket.socket, data: bytes) -> tuple[bytes, Exception | None]:
    """Return `data` and what can be read at once, up to about READ_SIZE.

    Also returns how the stream then failed or ended.

    TLS returns one record at a time, 16 KiB at most, and poll does not see what it has already decrypted. Nor does poll
    see a failure that was read: it is returned, because what came before it must be delivered first.
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
    """Wake a thread that is blocked on `sock`, without closing it."""
    try:
        # Not SSLSocket's own shutdown: that drops its TLS object first, and data could then be sent unencrypted.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
    except OSError:
        pass  # no longer connected
