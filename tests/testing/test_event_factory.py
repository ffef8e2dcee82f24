"""Events that the kit makes are valid, unless a test makes them otherwise."""

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from gennostr import GenNostr, MessageError, Ok
from gennostr.nostr import Event, public_key, verify
from gennostr.testing import (
    PUBLIC_KEY,
    SECRET_KEY,
    FakeRelay,
    ManualClock,
    MemoryRelay,
    Probe,
    event_factory,
    make_event,
)

OTHER = "02" * 32


@pytest.fixture
def without_coincurve(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As if the extra were not installed."""
    monkeypatch.setitem(sys.modules, "coincurve", None)
    for cached in (event_factory._private_key, event_factory._public_key):
        cached.cache_clear()
    yield
    event_factory._private_key.cache_clear()  # it remembers that coincurve is missing


def test_an_event_is_that_of_the_kits_author_and_valid() -> None:
    assert public_key(SECRET_KEY) == PUBLIC_KEY
    event = make_event()
    assert event.pubkey == PUBLIC_KEY
    verify(event)


def test_all_fields_are_those_given_and_what_is_left_out_fits_them() -> None:
    event = make_event(content="x", kind=7, created_at=5, tags=[("e", "1")])
    assert event == Event(event.compute_id(), PUBLIC_KEY, 5, 7, [["e", "1"]], "x", event.sig)
    verify(event)


def test_equal_fields_make_equal_events() -> None:
    assert make_event(content="x", created_at=5) == make_event(content="x", created_at=5)


def test_another_author_signs_with_another_key() -> None:
    event = make_event(secret_key=OTHER)
    assert event.pubkey == public_key(OTHER)
    verify(event)


def test_the_kits_author_can_be_named_as_well() -> None:
    verify(make_event(pubkey=PUBLIC_KEY))


FORGED: dict[str, dict[str, Any]] = {
    "another's key": {"pubkey": "a" * 64},
    "another's signature": {"pubkey": public_key(OTHER), "secret_key": SECRET_KEY},
    "a signature": {"sig": "0" * 128},
    "an id": {"id": "0" * 64},
    "no id": {"id": "nonsense"},
}


@pytest.mark.parametrize("fields", FORGED.values(), ids=FORGED)
def test_a_forged_event_has_the_fields_that_were_given(fields: dict[str, Any]) -> None:
    event = make_event(**fields)
    for name in fields.keys() - {"secret_key"}:
        assert getattr(event, name) == fields[name]
    with pytest.raises(MessageError):
        verify(event)


def test_a_wrong_id_is_signed_as_it_is() -> None:
    event = make_event(id="1" * 64, content="changed")
    with pytest.raises(MessageError, match="the id is wrong"):
        verify(event)
    event_factory_signature = make_event(id="1" * 64, content="another").sig
    assert event.sig == event_factory_signature


def test_what_cannot_be_made_says_why() -> None:
    with pytest.raises(TypeError, match="no argument 'author'"):
        make_event(author="x")  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="secret key"):
        make_event(secret_key="x")
    with pytest.raises(MessageError, match="Unicode"):
        make_event(content="\ud800")
    assert make_event(content="\ud800", id="1" * 64).content == "\ud800"


@pytest.mark.usefixtures("without_coincurve")
def test_without_coincurve_everything_but_the_signature_is_right() -> None:
    event = make_event(content="x")
    assert event.pubkey == PUBLIC_KEY
    assert event.id == event.compute_id()
    assert event.sig == "0" * 128
    with pytest.raises(ImportError, match="coincurve"):
        make_event(secret_key=OTHER)
    with MemoryRelay() as relay:
        assert relay.store().sig == "0" * 128


def test_an_event_is_of_the_time_of_the_installed_clock(manual_clock: ManualClock) -> None:
    before = make_event().created_at
    manual_clock.advance(3600)
    assert make_event().created_at == before + 3600


class Verifying(GenNostr[None]):
    def init(self, init_arg: Any) -> Any:
        self.owner, *urls = init_arg
        for url in urls:
            self.add_relay(url, verify=True)
        self.subscribe({"kinds": [1]}, "feed")
        return Ok(None)

    def handle_event(self, message: Any, relay: Any, state: None) -> None:
        self.owner.send(message.event.content)

    def handle_error(self, reason: Any, relay: Any, state: None) -> None:
        self.owner.send(reason)


def test_a_client_that_verifies_takes_what_the_relays_make(probe: Probe) -> None:
    with FakeRelay() as scripted, MemoryRelay() as memory:
        memory.store(content="stored")
        with Verifying.start((probe.pid, scripted.url, memory.url)):
            assert probe.expect(str) == "stored"
            scripted.accept()
            scripted.expect_req()
            scripted.event("feed", content="scripted")
            assert probe.expect(str) == "scripted"
            scripted.event("feed", content="of another", secret_key=OTHER)
            assert probe.expect(str) == "of another"
            scripted.event("feed", content="forged", sig="0" * 128)
            probe.expect(MessageError)
