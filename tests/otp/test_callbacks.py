"""What a class of servers may not be is said when the class is made, by name."""

import functools
from collections.abc import Callable
from typing import Any
from unittest.mock import Mock

import pykka
import pytest

from gennostr import DynamicSupervisor, GenNostr, GenServer, Ok, Registry, Reply, Supervisor
from gennostr.otp.callbacks import PYKKAS

SERVERS = ["init", "handle_call", "handle_cast", "handle_info", "handle_continue", "terminate", "format_status"]
CLIENTS = ["connect", "disconnect", "error", "event", "eose", "eose_all", "ok", "notice", "auth", "closed", "count"]
CASES = [
    *[(GenServer, name) for name in [*SERVERS, "on_cancel"]],
    *[(GenNostr, f"handle_{name}") for name in [*CLIENTS, "unknown"]],
    (Supervisor, "init"),
    (Registry, "handle_info"),
]


async def coroutine(*_: Any) -> None: ...


async def asynchronous_generator(*_: Any) -> Any:
    yield


def generator(*_: Any) -> Any:
    yield


def refused(base: type, name: str, value: object) -> str:
    """Return the message of the TypeError that such a class is."""
    with pytest.raises(TypeError) as caught:
        type("Mine", (base,), {name: value})
    return str(caught.value)


@pytest.mark.parametrize(("base", "name"), CASES, ids=lambda value: getattr(value, "__name__", value))
def test_a_callback_must_be_a_plain_function_that_takes_its_arguments(base: type, name: str) -> None:
    for function in (coroutine, asynchronous_generator, generator):
        for value in (function, staticmethod(function), classmethod(function)):
            assert refused(base, name, value).startswith(f"Mine.{name} must be a plain function")
    for other in (lambda: None, lambda self, one, two, three, four: None, lambda self, *, state: None):
        if name != "on_cancel" or other.__code__.co_argcount:
            assert refused(base, name, other).startswith(f"Mine.{name} must be callable as {name}(self")
    assert refused(base, name, 42).startswith(f"Mine.{name} is a callback and must be a function")


def test_a_callback_that_is_inherited_is_checked_too() -> None:
    """It need not stand in the class: a mixin's is found where Python would find it."""
    mixin = type("Mixin", (), {"terminate": coroutine})
    with pytest.raises(TypeError, match=r"Mine\.terminate"):
        type("Mine", (mixin, GenServer), {})


def test_arguments_may_have_other_names_and_more_of_them_defaults() -> None:
    class Mine(GenServer[int]):
        def init(self, start: int = 3, more: str = "") -> Any:
            return Ok(start)

        @staticmethod
        def handle_call(question: Any, who: Any, number: int) -> Any:
            return Reply(number)

        @classmethod
        def handle_cast(cls, *anything: Any) -> None: ...

        handle_info = functools.partialmethod(lambda self, extra, message, state: None, 1)
        terminate = Mock()

        def handle_me_is_no_callback(self) -> None: ...

    with Mine.start(7) as server:
        server.cast("x")
        server.send("y")
        assert server.call("z") == 7


@pytest.mark.parametrize(
    ("base", "name"), [(Supervisor, "handle_call"), (DynamicSupervisor, "handle_cast"), (DynamicSupervisor, "init")]
)
def test_a_callback_that_would_never_be_called_is_refused(base: type, name: str) -> None:
    assert "would never be called" in refused(base, name, lambda *_: None)


@pytest.mark.parametrize("name", sorted(PYKKAS))
@pytest.mark.parametrize("make", [lambda: 42, lambda: lambda *_: None], ids=["value", "method"])
def test_pykkas_private_names_stay_pykkas(name: str, make: Callable[[], object]) -> None:
    assert refused(GenServer, name, make()) == f"Mine.{name}: pykka uses this name internally; choose another one"


def test_the_private_names_are_those_of_pykka() -> None:
    private = {
        name for name in dir(pykka.ThreadingActor) if name.startswith("_") and not name.startswith(("__", "_abc"))
    }
    assert private <= PYKKAS
    assert "_actor_ref" in PYKKAS


def test_an_init_that_returns_nothing_leaves_the_state_none() -> None:
    class Mine(GenServer[None]):
        def init(self, _: Any) -> None: ...

    with Mine.start() as server:
        assert server.get_state() is None


def test_a_class_in_a_module_of_the_library_is_checked_too() -> None:
    """As in an example of a docstring."""
    for module in ("gennostr", "gennostr.otp.gen_server"):
        with pytest.raises(TypeError, match=r"Mine\.handle_call must be a plain function"):
            type("Mine", (GenServer,), {"handle_call": coroutine, "__module__": module})
