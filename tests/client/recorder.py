"""A client that records its callbacks, so that tests can wait for them."""

import queue
import time
from typing import Any, NamedTuple, Self

from gennostr import GenNostr, Ok, Relay, Reply
from gennostr.client.options import RelayOptions


class Callback(NamedTuple):
    """One callback: its name without ``handle_``, its first argument, the relay, and when it ran."""

    name: str
    value: Any
    relay: Relay
    at: float


class Recorder(GenNostr[Any]):
    """init_arg: {"urls": [...], "options": {...}, "reconnect": True, callback: function(client, relay), ...}."""

    def init(self, init_arg: Any) -> Any:
        self.seen: queue.SimpleQueue[Callback] = init_arg.setdefault("seen", queue.SimpleQueue())
        self.script = init_arg
        for url in init_arg.get("urls", ()):
            # A fake relay that does not answer a close frame must not cost each test a second.
            self.add_relay(url, **({"close_timeout": 0.05} | init_arg.get("options", {})))
        return Ok(init_arg)

    def _record(self, name: str, value: Any, relay: Relay) -> Any:
        self.seen.put(Callback(name, value, relay, time.monotonic()))
        action = self.script.get(name)
        return None if action is None else action(self, relay)

    def handle_call(self, request: Any, from_: Any, state: Any) -> Any:
        return Reply(request)

    def handle_connect(self, relay: Relay, state: Any) -> Any:
        return self._record("connect", None, relay)

    def handle_disconnect(self, reason: Any, relay: Relay, state: Any) -> Any:
        outcome = self._record("disconnect", reason, relay)
        if self.script.get("reconnect", True):
            super().handle_disconnect(reason, relay, state)
        return outcome

    def handle_error(self, reason: Any, relay: Relay, state: Any) -> Any:
        return self._record("error", reason, relay)

    def handle_event(self, message: Any, relay: Relay, state: Any) -> Any:
        return self._record("event", message, relay)

    def handle_eose(self, message: Any, relay: Relay, state: Any) -> Any:
        return self._record("eose", message, relay)

    def handle_ok(self, message: Any, relay: Relay, state: Any) -> Any:
        return self._record("ok", message, relay)

    def handle_notice(self, message: Any, relay: Relay, state: Any) -> Any:
        return self._record("notice", message, relay)

    def handle_auth(self, message: Any, relay: Relay, state: Any) -> Any:
        return self._record("auth", message, relay)

    def handle_closed(self, message: Any, relay: Relay, state: Any) -> Any:
        return self._record("closed", message, relay)

    def handle_count(self, message: Any, relay: Relay, state: Any) -> Any:
        return self._record("count", message, relay)

    def handle_unknown(self, message: Any, relay: Relay, state: Any) -> Any:
        return self._record("unknown", message, relay)


class Recording:
    """A running recorder and what it has seen: ``with Recording(urls=[...]) as client``."""

    def __init__(self, client: type[Recorder] = Recorder, **script: Any) -> None:
        self.script = script
        self.feed = client.start(script)
        self.seen: queue.SimpleQueue[Callback] = script["seen"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.feed.stop(block=True)

    def next(self, timeout: float = 5.0) -> Callback:
        """Return the next callback."""
        return self.seen.get(timeout=timeout)

    def expect(self, *names: str, timeout: float = 5.0) -> Callback:
        """Check that the next callbacks are these, in this order; return the last."""
        for name in names:
            callback = self.next(timeout)
            assert callback.name == name, f"{callback} where {name} should be"
        return callback

    def expect_nothing(self, within: float = 0.2) -> None:
        """Check that no callback runs within `within` seconds."""
        try:
            raise AssertionError(f"unexpected {self.seen.get(timeout=within)}")
        except queue.Empty:
            pass


FAST: RelayOptions = {"reconnect": [0.05], "ping_interval": 30.0}


def note(content: str = "hello") -> dict[str, Any]:
    """Return an unsigned event as a dict."""
    return {
        "id": "0" * 64,
        "pubkey": "1" * 64,
        "created_at": 1,
        "kind": 1,
        "tags": [],
        "content": content,
        "sig": "2" * 128,
    }
