"""The futures `Publication` (EVENT) and `CountRequest` (COUNT).

Each is one future for all its relays: `result` waits for it in a thread, ``await`` in a coroutine. Its part at one
relay is an `Attempt`.
"""

from _thread import allocate_lock
from collections.abc import Generator, Mapping
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from gennostr.client.attempt import Attempt, PublishOutcome
from gennostr.client.timer_queue import Deadline
from gennostr.exceptions import CallExit, CallingSelf
from gennostr.nostr.encoding import encode
from gennostr.nostr.event import Event
from gennostr.nostr.hyperloglog import HyperLogLog
from gennostr.nostr.messages import CountResult
from gennostr.otp.outcomes import check_seconds
from gennostr.otp.process import Process, check_may_act, current_process
from gennostr.otp.waits import Completion
from gennostr.values import Concise, Handle

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Count:
    """How many events match, by all relays that have answered (NIP-45).

    The result of a `CountRequest`.

    >>> from gennostr import GenNostr
    >>> from gennostr.testing import MemoryRelay
    >>> with MemoryRelay() as relay, GenNostr.start() as client:
    ...     connection = client.add_relay(relay.url)
    ...     found = client.count({"kinds": [1]}).result()
    >>> found.count, found.approximate
    (0, False)
    """

    count: int
    """The estimate from the merged registers, or the greatest number from one relay if that is more.

    Relays share events, so numbers without registers cannot be added up.
    """
    approximate: bool
    """Whether `count` is an estimate: False for the exact number of a single relay."""
    hll: HyperLogLog | None
    """The registers of all relays that sent them, merged; None if no relay did."""
    by_relay: Mapping[str, CountResult | PublishOutcome] = field(hash=False)
    """By url: each relay's own answer, or a `PublishOutcome` that says why it is missing."""


class PendingAnswers(Handle, Future, Generic[T], metaclass=Concise):  # type: ignore[type-arg]
    """A future for the combined answers of several relays.

    The functions of a client make them.
    """

    key: str
    """The id by which a relay's answer refers to it."""
    payload: bytes
    """The encoded message."""
    is_event: bool
    durable = False

    # Future's own, named here because `help` lists a class's own names; see `gennostr.values.Concise`.
    done = Future.done
    cancelled = Future.cancelled
    running = Future.running
    add_done_callback = Future.add_done_callback

    def __init__(self, client: Process, relays: frozenset[str] | None, timeout: float) -> None:
        super().__init__()
        check_seconds("timeout", timeout)
        self.relays = relays
        """The urls; None: those that the client has when it handles the command."""
        self.timeout = timeout
        self._client = client
        # If a callback of the client requested it, the client also gets a message when it is done.
        self.notifies = current_process() is client
        # By url, for the relays that it goes to; used by the client's thread only.
        self.answers: dict[str, Any] = {}
        self.open: dict[str, Attempt] = {}
        self.deadline: Deadline[Any] | None = None
        # Threads and coroutines wait for this: a done callback of the future itself could not be removed.
        completion = self._completion = Completion()
        self.add_done_callback(completion.end)
        # Acquired by the one cancellation that notifies.
        self._cancellation = allocate_lock()

    def cancel(self) -> bool:
        """Cancel it, unless it has ended; see `concurrent.futures.Future.cancel`.

        `concurrent.futures.wait` and `as_completed` then count it as done, since no executor has to take note first.
        """
        cancelled = super().cancel()
        if cancelled and self._cancellation.acquire(False):  # noqa: FBT003
            self.set_running_or_notify_cancel()
        return cancelled

    def result(self, timeout: float | None = None) -> T:
        """Return the result; wait until it is there.

        Args:
            timeout: seconds, at least 0. None (the default): until there is a result; the future's own timeout ensures
                that there will be.

        Raises:
            TimeoutError: there is no result yet.
            CallExit: the client ended first.
            CallingSelf: called in a callback of its own client, which would wait for itself.
        """
        self._wait(timeout)
        try:
            value: T = super().result(0)
        except CallExit:
            self._client.end_known = True
            raise
        return value

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return the exception that `result` would raise, or None.

        Waits as `result` does, with the same errors.
        """
        self._wait(timeout)
        return super().exception(0)

    def _wait(self, timeout: float | None) -> None:
        if not self.done():
            self._wait_for(self._completion, timeout, "no result")

    def _wait_for(self, completion: Completion, timeout: float | None, missing: str) -> None:
        if timeout is not None:
            check_seconds("timeout", timeout)
        check_may_act()
        if current_process() is self._client:
            raise CallingSelf(self._client.pid)
        if not completion.wait(self._client, timeout):
            raise TimeoutError(f"{missing} within {timeout} s")

    def __await__(self) -> Generator[Any, None, T]:
        return self._result_async().__await__()

    async def _result_async(self) -> T:
        import asyncio  # noqa: PLC0415 - slow to import, and a coroutine has it

        if not self.done():
            check_may_act()
            if current_process() is self._client:
                raise CallingSelf(self._client.pid)
            try:
                await self._completion.wait_async(self._client)
            except asyncio.CancelledError:  # cancels the future with the task, as asyncio.wrap_future does
                self.cancel()
                raise
        return self.result(0)

    def down(self, process: Process, reason: object) -> None:
        """End it with the client's exit; see `gennostr.otp.process.Watcher`."""
        try:
            self.set_exception(CallExit(reason, process.pid))
        except InvalidStateError:  # it has ended already
            pass

    def finish(self) -> None:
        """End it with the answers; called in the client's thread."""
        try:
            self.set_result(self.merge())
        except InvalidStateError:  # cancelled by its user, or ended by a kill of the client
            pass
        self._client.unwatch(self)

    def merge(self) -> T:
        """Return the result that the answers make up."""
        raise NotImplementedError


class Publication(PendingAnswers[dict[str, PublishOutcome]]):
    """An event being published: a future of ``{url: PublishOutcome}``.

    `publish` returns it. It is a `concurrent.futures.Future`: ``result()`` waits in a thread, ``await`` in a coroutine.

    >>> from gennostr import GenNostr
    >>> from gennostr.nostr import generate_key, sign
    >>> from gennostr.testing import MemoryRelay
    >>> with MemoryRelay() as relay, GenNostr.start() as client:
    ...     connection = client.add_relay(relay.url)
    ...     publication = client.publish(sign(generate_key(), kind=1, content="hello"))
    ...     all(publication.result(timeout=5).values())  # an outcome is true if the relay has the event
    True
    """

    is_event = True

    def __init__(
        self,
        client: Process,
        event: Event,
        relays: frozenset[str] | None,
        timeout: float,
        *,
        durable: bool = False,
        expires: float | None = None,
    ) -> None:
        super().__init__(client, relays, timeout)
        self.event = event
        self.key = event.id
        self.payload = encode(["EVENT", event])
        self.durable = durable
        self.expires = expires
        # Other futures for the same event, which end with this one.
        self.followers: list[Publication] = []
        self.is_saved = False
        # Ended when it is saved, or has ended without. The lock is acquired by the one that ends it.
        self._saved = Completion()
        self._saving = allocate_lock()
        if durable:
            self.add_done_callback(self._end_saving)

    def __repr__(self) -> str:
        return f"<Publication of {self.event.id[:8]}: {'done' if self.done() else 'pending'}>"

    @property
    def outcomes(self) -> dict[str, PublishOutcome]:
        """The outcomes so far, by url; of a durable publication, the final ones."""
        return self.answers.copy()

    def wait_saved(self, timeout: float | None = None) -> None:
        """Wait until the store has a durable publication.

        From then on, the death of the program cannot lose it.

        Args:
            timeout: seconds, at least 0. None (the default): any time.

        Raises:
            ValueError: it is not durable.
            TimeoutError: it is not saved yet.
            CallExit: the client ended first.
            CallingSelf: called in a callback of its own client: it is saved when that has returned.

        >>> from gennostr import GenNostr
        >>> from gennostr.nostr import generate_key, sign
        >>> from gennostr.store import MemoryStore
        >>> class Writer(GenNostr[None]):
        ...     store = MemoryStore()
        >>> with Writer.start() as client:
        ...     event = sign(generate_key(), kind=1, content="hello")
        ...     publication = client.publish(event, ["wss://relay.example"], durable=True)
        ...     publication.wait_saved(timeout=5)
        ...     [each.event.content for each in client.publications()]
        ['hello']
        """
        if not self.durable:
            raise ValueError(f"not a durable publication: {self!r}")
        if not self.is_saved:
            self._wait_for(self._saved, timeout, "not saved")
            if not self.is_saved:
                self.result(0)  # raises

    def was_saved(self) -> None:
        """Record that it is saved; called in the client's thread."""
        self.is_saved = True
        self._end_saving()

    def _end_saving(self, future: object = None) -> None:
        """Let those resume that wait for it to be saved.

        Called by the future too, when it ends without.
        """
        del future
        if self._saving.acquire(False):  # noqa: FBT003
            self._saved.end()

    def merge(self) -> dict[str, PublishOutcome]:
        """Return a copy of the answers."""
        return dict(self.answers)


class CountRequest(PendingAnswers[Count]):
    """A count being requested: a future of a `Count`.

    `count` returns it. It is a `concurrent.futures.Future`: ``result()`` waits in a thread, ``await`` in a coroutine.

    >>> from gennostr import GenNostr
    >>> from gennostr.testing import MemoryRelay
    >>> with MemoryRelay() as relay, GenNostr.start() as client:
    ...     connection = client.add_relay(relay.url)
    ...     client.count([{"kinds": [1]}, {"kinds": [7]}]).result(timeout=5).count
    0
    """

    is_event = False

    def __init__(
        self,
        client: Process,
        id_: str,
        filters: list[dict[str, Any]],
        relays: frozenset[str] | None,
        timeout: float,
    ) -> None:
        super().__init__(client, relays, timeout)
        self.key = id_
        self.filters = filters
        self.payload = encode(["COUNT", id_, *filters])

    def __repr__(self) -> str:
        return f"<CountRequest of {self.filters!r:.80}: {'done' if self.done() else 'pending'}>"

    def merge(self) -> Count:
        """Merge the registers, and take the greatest of the numbers."""
        results = [each for each in self.answers.values() if isinstance(each, CountResult)]
        hll: HyperLogLog | None = None
        for result in results:
            registers = _registers(result)
            if registers is not None:
                hll = registers if hll is None else hll.merge(registers)
        greatest = max((result.count for result in results), default=0)
        count = greatest if hll is None else max(hll.estimate(), greatest)
        # Exact only if a single relay was queried and its number is exact: what several have cannot be added up.
        exact = len(self.answers) == 1 and len(results) == 1 and not results[0].approximate and hll is None
        return Count(count, not exact, hll, dict(self.answers))


def _registers(result: CountResult) -> HyperLogLog | None:
    if result.hll is None:
        return None
    try:
        return HyperLogLog.from_hex(result.hll)
    except ValueError:  # a relay may send anything; its number still counts
        return None


@dataclass(frozen=True, slots=True)
class PublicationDone:
    """The info message to a client whose callback has published.

    ``publication.result()`` does not block then.

    >>> from queue import SimpleQueue
    >>> from gennostr import GenNostr, PublicationDone
    >>> from gennostr.nostr import generate_key, sign
    >>> from gennostr.testing import MemoryRelay
    >>> received = SimpleQueue()
    >>> class Greeter(GenNostr[None]):
    ...     def handle_connect(self, relay, state):
    ...         self.publish(sign(generate_key(), kind=1, content="hello"))
    ...
    ...     def handle_info(self, message, state):
    ...         if isinstance(message, PublicationDone):
    ...             received.put([outcome.kind for outcome in message.publication.result().values()])
    >>> with MemoryRelay() as relay, Greeter.start() as client:
    ...     connection = client.add_relay(relay.url)
    ...     received.get(timeout=5)
    ['accepted']
    """

    publication: Publication
    """As `publish` returned it; it is done."""


@dataclass(frozen=True, slots=True)
class CountDone:
    """The info message to a client whose callback has requested a count.

    ``counting.result()`` does not block then.

    >>> from queue import SimpleQueue
    >>> from gennostr import CountDone, GenNostr
    >>> from gennostr.testing import MemoryRelay
    >>> received = SimpleQueue()
    >>> class Statistician(GenNostr[None]):
    ...     def handle_connect(self, relay, state):
    ...         self.count({"kinds": [1]})
    ...
    ...     def handle_info(self, message, state):
    ...         if isinstance(message, CountDone):
    ...             received.put(message.counting.result().count)
    >>> with MemoryRelay() as relay, Statistician.start() as client:
    ...     connection = client.add_relay(relay.url)
    ...     received.get(timeout=5)
    0
    """

    counting: CountRequest
    """As `count` returned it; it is done."""
