"""The functions of a cluster's handle: the client's, for all shards."""

import threading
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final, Unpack

from gennostr.client.attempt import PublishOutcome
from gennostr.client.functions import Filters, checked_event, checked_relay, url_of, urls_of
from gennostr.client.options import Relay, RelayOptions
from gennostr.client.publications import Count, CountRequest, PendingAnswers, Publication
from gennostr.client.relay_statistics import RelayStatistics
from gennostr.client.subscriptions import new_id
from gennostr.cluster.messages import packed
from gennostr.cluster.requests import (
    AddRelay,
    AddSubscription,
    Forward,
    ListShards,
    MonitorShards,
    RemoveRelay,
    RemoveSubscription,
    Represent,
    Resize,
    Routes,
    ShardInfo,
)
from gennostr.exceptions import CallExit, CallTimeout, NoProcess
from gennostr.nostr.encoding import encode
from gennostr.nostr.event import Event
from gennostr.nostr.filters import checked_filters
from gennostr.otp.calls import PendingReply
from gennostr.otp.calls import call as _call
from gennostr.otp.calls import call_async as _call_async
from gennostr.otp.child_spec import check_count
from gennostr.otp.clock import clock
from gennostr.otp.outcomes import check_seconds
from gennostr.otp.pid import Pid
from gennostr.otp.process import check_may_act, require_process
from gennostr.otp.reasons import NOCONNECTION
from gennostr.values import shown

_LATE: Final = 1.0
"""Seconds that a shard has, beyond a publication's or count's own timeout, to report its outcomes."""


class ClusterPid(Pid):
    """The handle of a cluster: the functions of a client for all its shards.

    `Cluster.start` returns it. Any thread or actor may use it. The names are a client's. Arguments are checked in the
    caller, as the client's functions do; what goes to a shard is pickled there too, and a TypeError says what cannot
    be.

    >>> from gennostr import GenNostr
    >>> from gennostr.cluster import Cluster, InProcess
    >>> from gennostr.testing import MemoryRelay
    >>> with MemoryRelay() as relay, Cluster.start(GenNostr, engine=InProcess()) as cluster:
    ...     cluster.add_relay(relay.url)
    ...     cluster.count({"kinds": [1]}).result().count
    0
    """

    routes: Routes

    # Relays and messages.

    def add_relay(self, relay: str | Relay, **options: Unpack[RelayOptions]) -> None:
        """Connect to a relay, in the shard that its url is assigned to.

        Returns when the cluster has recorded it: a shard that is restarted connects to it again.

        Args:
            relay: a ws:// or wss:// url, or a `Relay` with its options.
            options: those of `RelayOptions`, which replace the ones of a `Relay`.

        Raises:
            TypeError, ValueError: the url or an option is invalid, or cannot be pickled.
            ImportError: as for a client's `add_relay`.
            NoProcess: the cluster is dead.

        """
        wanted = checked_relay(relay, options)
        packed(wanted, "the relay")
        _call(self, AddRelay(wanted), None)

    def remove_relay(self, relay: str | Relay) -> None:
        """Close the connection to a relay that was added here, and forget it.

        Args:
            relay: its url, or a `Relay`.

        Raises:
            RelayNotFound: it was not added by the cluster's `add_relay`, or was removed.
            TypeError, ValueError: `relay` is not a relay.
            NoProcess: the cluster is dead.

        """
        _call(self, RemoveRelay(url_of(relay)), None)

    def list_relays(self, timeout: float | None = 5.0) -> list[str]:
        """Return the urls of all connections of all shards.

        As a client's `list_relays`: relays in backoff, and those of a shard that is down, are not among them.

        Args:
            timeout: seconds to wait for the shards; None waits forever. Default 5.0.

        Raises:
            NoProcess, CallTimeout: the cluster is dead; a shard has not answered in time.

        """
        return [url for urls in self._all("list_relays", (), timeout).values() for url in urls]

    def relay_statistics(self, timeout: float | None = 5.0) -> dict[str, RelayStatistics]:
        """Return each relay's status and counters, by url.

        The counters begin when its shard adds it: after a restart of the shard, or a move, they begin again. A relay
        whose shard is down has the state "backoff".

        Args:
            timeout: seconds to wait for the shards; None waits forever. Default 5.0.

        Raises:
            NoProcess, CallTimeout: the cluster is dead; a shard has not answered in time.

        """
        found: dict[str, RelayStatistics] = {}
        for part in self._all("relay_statistics", (), timeout).values():
            found |= part
        for url in self.routes.relays.copy():
            if url not in found:
                found[url] = RelayStatistics(url=url, state="backoff")
        return found

    def send_message(self, message: str | list[Any], relay: str | Relay, timeout: float | None = 5.0) -> None:
        """Send a message to one relay; see a client's `send_message`.

        Args:
            message: a list or JSON text; see `gennostr.nostr.encode`.
            relay: its url, or a `Relay`.
            timeout: seconds to wait for the shard; None waits forever. Default 5.0.

        Raises:
            RelayNotFound, Overflow, TypeError, ValueError: as a client's `send_message`.
            NoProcess, CallExit, CallTimeout: as for `call`.

        """
        text, url = encode(message).decode(), url_of(relay)
        self._one(self._owner(url), "send_message", (text, url), timeout)

    def broadcast_message(self, message: str | list[Any], timeout: float | None = 5.0) -> list[str]:
        """Send a message to every connection; return the urls for which it was queued.

        Args:
            message: a list or JSON text; see `gennostr.nostr.encode`.
            timeout: seconds to wait for the shards; None waits forever. Default 5.0.

        Raises:
            TypeError, ValueError: it is not a message (`MessageError`).
            NoProcess, CallTimeout: the cluster is dead; a shard has not answered in time.

        """
        parts = self._all("broadcast_message", (encode(message).decode(),), timeout)
        return [url for urls in parts.values() for url in urls]

    # Subscriptions.

    def subscribe(self, filters: Filters, id: str | None = None, relays: Sequence[str] | None = None) -> str:  # noqa: A002
        """Request events from relays until `unsubscribe`; return the subscription's id.

        Each shard's client subscribes, and so does a shard that is restarted; handle_eose_all is called in each shard
        when its own relays have reached it.

        Args:
            filters: as for a client's `subscribe`.
            id: 1 to 64 characters; None (the default): a new one. With a store in the shards, give one: it is saved.
            relays: a list of urls; None (the default): every relay.

        Raises:
            TypeError, ValueError: an argument is invalid.
            NoProcess: the cluster is dead.

        """
        if id is None:
            id = new_id("sub")  # noqa: A001
        wanted, urls = checked_filters(filters), urls_of(relays)
        encode(["REQ", id, *wanted])
        arguments = packed((list(wanted), id, None if urls is None else sorted(urls)), "the subscription")
        _call(self, AddSubscription(id, arguments), None)
        return id

    def unsubscribe(self, id: str) -> None:  # noqa: A002
        """Close a subscription in all shards. An unknown id is ignored.

        Args:
            id: as returned by `subscribe`.

        Raises:
            TypeError: `id` is not a str.
            NoProcess: the cluster is dead.

        """
        if not isinstance(id, str):
            raise TypeError(f"a subscription id is a text, not {shown(id)}")
        _call(self, RemoveSubscription(id), None)

    # Publications and counts.

    def publish(
        self, event: Event | Mapping[str, Any], relays: Sequence[str] | None = None, timeout: float = 10.0
    ) -> Publication:
        """Send an event to relays; return a future for their outcomes.

        As a client's `publish`, in all shards. A relay whose shard is lost meanwhile has the outcome "disconnected".

        Args:
            event: as `gennostr.nostr.sign` returns it, or a mapping with its fields.
            relays: a list of urls; None (the default): all that the shards have now.
            timeout: seconds for all relays together, 10 by default.

        Raises:
            TypeError, ValueError: an argument is invalid.
            NoProcess: the cluster is dead.

        """
        event = checked_event(event)
        urls = urls_of(relays)
        publication = Publication(self.process, event, urls, check_seconds("timeout", timeout))
        _Parts(self, publication, "publish", event, urls).send()
        return publication

    def count(self, filters: Filters, relays: Sequence[str] | None = None, timeout: float = 10.0) -> CountRequest:
        """Request the number of matching events from relays (NIP-45); return a future.

        As a client's `count`, in all shards.

        Args:
            filters: as for `subscribe`.
            relays: a list of urls; None (the default): all that the shards have now.
            timeout: seconds for all relays together, 10 by default.

        Returns:
            A future of a `Count`: the answers of all relays, merged as a client merges them.

        Raises:
            TypeError, ValueError: an argument is invalid.
            NoProcess: the cluster is dead.

        """
        wanted, urls = checked_filters(filters), urls_of(relays)
        counting = CountRequest(self.process, new_id("count"), wanted, urls, check_seconds("timeout", timeout))
        _Parts(self, counting, "count", list(wanted), urls).send()
        return counting

    # The shards' clients.

    def call(self, request: object, timeout: float | None = 5.0, *, shard: int = 0) -> Any:
        """Send `request` to ``handle_call`` of one shard's client and return the reply.

        A shard that is starting answers when it has started.

        Args:
            request: any value that can be pickled.
            timeout: seconds to wait for the reply; None waits forever. Default 5.0.
            shard: the shard's number. Default 0.

        Raises:
            CallExit: the shard was lost before it replied (NOCONNECTION), or its client ended, with its reason.
            CallTimeout: no reply within `timeout`.
            NoProcess: the cluster is dead.
            LookupError: there is no such shard.
            TypeError: the request or the reply cannot be pickled.
            BaseException: what the client passed to `reply_error`; as text, in a RuntimeError, if it cannot cross.

        """
        return self._one(shard, "call", (request,), timeout)

    def send_request(self, request: object, *, shard: int = 0) -> PendingReply:
        """Send `request` to ``handle_call`` of one shard's client; do not wait.

        Args:
            request: any value that can be pickled.
            shard: the shard's number. Default 0.

        Returns:
            A `PendingReply`; its ``wait`` returns the reply or raises, as `call` does.

        Raises:
            LookupError: there is no such shard.
            NoProcess: the cluster is dead.
            TypeError: the request cannot be pickled.

        """
        return PendingReply(self._pid(shard), Forward("call", packed((request,), "the request")))

    async def call_async(
        self,
        request: object,
        timeout: float | None = 5.0,  # noqa: ASYNC109
        *,
        shard: int = 0,
    ) -> Any:
        """Like `call`, but for coroutines: the event loop keeps running.

        Args:
            request: any value that can be pickled.
            timeout: seconds to wait for the reply; None waits forever. Default 5.0.
            shard: the shard's number. Default 0.

        Raises:
            CallExit, CallTimeout, NoProcess, LookupError, TypeError, BaseException: as for `call`.

        """
        pid = self._pid(shard)
        try:
            return await _call_async(pid, Forward("call", packed((request,), "the request")), timeout)
        except NoProcess:
            raise CallExit(NOCONNECTION, pid) from None

    def call_all(self, request: object, timeout: float | None = 5.0) -> dict[int, Any]:
        """Send `request` to ``handle_call`` of every client; return the replies by shard.

        Args:
            request: any value that can be pickled.
            timeout: seconds for all shards together; None waits forever. Default 5.0.

        Raises:
            CallExit, CallTimeout, NoProcess, TypeError, BaseException: as for `call`, of the first shard that fails.

        """
        return self._all("call", (request,), timeout, lost_too=True)

    def cast(self, request: object, *, shard: int = 0) -> None:
        """Send `request` to ``handle_cast`` of one shard's client.

        Do nothing if the shard is down.

        Args:
            request: any value that can be pickled.
            shard: the shard's number. Default 0.

        Raises:
            LookupError: there is no such shard.
            TypeError: the request cannot be pickled.

        """
        forward = Forward("cast", packed((request,), "the request"))
        self._pid(shard).cast(forward)

    def cast_all(self, request: object) -> None:
        """Send `request` to ``handle_cast`` of every shard's client.

        Args:
            request: any value that can be pickled.

        Raises:
            TypeError: the request cannot be pickled.

        """
        forward = Forward("cast", packed((request,), "the request"))
        self._check()
        for pid in self.routes.current().values():
            pid.cast(forward)

    def client(self, shard: int = 0) -> Pid:
        """Return a pid of one shard's client: of this incarnation of it.

        It is an ordinary pid: call, cast, send, stop, exit, `gennostr.monitor` and `gennostr.link` work, in each with
        values that can be pickled. It is the pid of an actor here that stands for the client: it ends when the client
        does, with the same reason, and with NOCONNECTION when the shard is lost.

        Args:
            shard: the shard's number. Default 0.

        Raises:
            CallExit: the shard is down (NOCONNECTION).
            LookupError: there is no such shard.
            NoProcess: the cluster is dead.

        """
        return self._represent(shard, None)

    def whereis(self, name: str, shard: int = 0) -> Pid | None:
        """Return a pid of the actor that is registered under `name` in a shard, or None.

        It is such a pid as `client` returns.

        Args:
            name: a name there, for example of an actor that the client's init has started.
            shard: the shard's number. Default 0.

        Raises:
            TypeError: `name` is not a str.
            CallExit, LookupError, NoProcess: as for `client`.

        """
        if not isinstance(name, str):
            raise TypeError(f"a name in a shard is a text, not {shown(name)}")
        return self._represent(shard, name) if self._one(shard, "actor", (name, "exists", None), None) else None

    def _represent(self, shard: int, name: str | None) -> Pid:
        pid = self._pid(shard)
        try:
            return _call(pid, Represent(name), None)  # type: ignore[return-value]
        except NoProcess:  # it is about to be restarted
            raise CallExit(NOCONNECTION, pid) from None

    # The shards.

    def list_shards(self) -> list[ShardInfo]:
        """Return a `ShardInfo` of each shard, by number.

        Raises:
            NoProcess: the cluster is dead.

        """
        return _call(self, ListShards(), None)  # type: ignore[return-value]

    def monitor_shards(self) -> dict[int, int]:
        """Receive an info message when a shard has started or ended.

        These are `ShardUp` and `ShardDown`. For actors and probes; until the caller ends.

        Returns:
            The epochs of the shards that are up now, by number.

        Raises:
            RuntimeError: called in a plain thread.
            NoProcess: the cluster is dead.

        """
        pid = require_process("monitor_shards").pid
        return _call(self, MonitorShards(pid), None)  # type: ignore[return-value]

    def resize(self, shards: int) -> int:
        """Change the number of shards; return how many relays have moved.

        Only the relays move that are assigned to another shard now, with one disconnect each: with one shard more, the
        new shard's share; with one shard less, those of the last one, which is stopped. New shards are started first.
        Their ``self.shard.of`` is the new number; running shards keep theirs. Shards that were given up are started
        again. What a relay has stored is requested again by its new shard.

        Args:
            shards: how many; at least 1.

        Raises:
            TypeError, ValueError: `shards` is not a number of shards.
            StartError: a new shard did not start; nothing has moved.
            RuntimeError: another resize is under way.
            NoProcess: the cluster is dead.

        """
        return _call(self, Resize(check_shards(shards)), None)  # type: ignore[return-value]

    # Requests to shards.

    def _owner(self, url: str) -> int:
        self._check()
        return self.routes.owner(url)

    def _check(self) -> None:
        check_may_act()
        if self.process.dead:
            raise NoProcess(self)

    def _pid(self, number: int) -> Pid:
        self._check()
        pid = self.routes.pids.get(number)
        if pid is None:
            raise LookupError(f"the cluster has no shard {shown(number)}: its shards are {self.routes.numbers}")
        return pid

    def _one(self, number: int, function: str, arguments: tuple[Any, ...], timeout: float | None) -> Any:
        pid = self._pid(number)
        try:
            return _call(pid, Forward(function, packed(arguments, "the request")), timeout)
        except NoProcess:  # it is about to be restarted
            raise CallExit(NOCONNECTION, pid) from None

    def _all(
        self, function: str, arguments: tuple[Any, ...], timeout: float | None, *, lost_too: bool = False
    ) -> dict[int, Any]:
        """Call a function in all shards; return the results by shard.

        Those that are lost are left out; with `lost_too`, they are an error.
        """
        self._check()
        if timeout is not None:
            check_seconds("timeout", timeout)
        forward = Forward(function, packed(arguments, "the request"))
        pending = {number: PendingReply(pid, forward) for number, pid in self.routes.current().items()}
        deadline = None if timeout is None else clock().monotonic() + timeout
        replies: dict[int, Any] = {}
        for number, each in pending.items():
            try:
                replies[number] = each.wait(None if deadline is None else max(0.0, deadline - clock().monotonic()))
            except CallTimeout:
                assert timeout is not None  # noqa: S101
                raise CallTimeout(each.target, function, timeout) from None
            except (NoProcess, CallExit) as error:
                if lost_too:
                    raise CallExit(NOCONNECTION, each.target) if isinstance(error, NoProcess) else error from None
        return replies


class _Parts:
    """The parts of a publication or a count, one for each shard.

    The last one ends it.
    """

    def __init__(
        self, cluster: ClusterPid, future: PendingAnswers[Any], function: str, what: object, urls: frozenset[str] | None
    ) -> None:
        self._cluster = cluster
        self._future = future
        self._function = function
        self._what = what
        self._urls = urls
        self._lock = threading.RLock()
        self._missing: dict[int, list[str] | None] = {}

    def send(self) -> None:
        """Send the parts."""
        cluster, future, routes = self._cluster, self._future, self._cluster.routes
        check_may_act()
        if not cluster.process.watch(future, waits=True):
            raise NoProcess(cluster)
        pids = routes.current()
        if self._urls is None:
            self._missing = dict.fromkeys(pids)
        else:
            for url in sorted(self._urls):
                urls = self._missing.setdefault(routes.owner(url), [])
                assert urls is not None  # noqa: S101
                urls.append(url)
        parts = list(self._missing.items())
        if not parts:
            future.finish()
            return
        timer = clock().call_at(clock().monotonic() + future.timeout + _LATE, self._expire)
        future.add_done_callback(lambda _: timer.cancel())
        for number, urls in parts:
            forward = Forward(self._function, packed((self._what, urls, future.timeout), "the request"))
            pid = pids.get(number)
            if pid is None:  # it is being removed
                self._end(number, None, PublishOutcome("not_sent", None, "its shard is down"))
                continue
            pending = PendingReply(pid, forward)
            pending.completion.listen(partial(self._arrived, number, pending))

    def _arrived(self, number: int, pending: PendingReply) -> None:
        """Take the answers of a shard; called in the thread that has them."""
        try:
            result: Any = None if pending.request is None else pending.request.result(pending.target)
        except Exception as error:
            self._end(number, None, PublishOutcome("disconnected", None, f"its shard has failed: {shown(error, str)}"))
        else:
            answers = result.by_relay if isinstance(result, Count) else result
            self._end(number, answers, PublishOutcome("not_sent", None, "its shard is down"))

    def _expire(self) -> None:
        for number in list(self._missing):
            self._end(number, None, PublishOutcome("timeout", None, "its shard does not answer"))

    def _end(self, number: int, answers: Mapping[str, Any] | None, otherwise: PublishOutcome | None = None) -> None:
        with self._lock:
            if number not in self._missing:
                return
            urls = self._missing.pop(number)
            if answers is None:
                answers = dict.fromkeys(self._cluster.routes.relays_of(number) if urls is None else urls, otherwise)
            self._future.answers |= answers
            last = not self._missing
        if last:
            self._future.finish()


def check_shards(shards: object) -> int:
    """Return `shards`, or raise TypeError or ValueError if it is invalid."""
    check_count("shards", shards)
    if isinstance(shards, bool) or not isinstance(shards, int) or shards < 1:
        raise ValueError(f"shards must be at least 1, not {shown(shards)}")
    return shards
