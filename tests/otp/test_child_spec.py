"""Child specifications and flags: an invalid one raises an error that names the field, and affects nothing else."""

import math
from functools import partial
from typing import Any

import pytest

import gennostr as g
from gennostr import ChildSpec, DynamicSupervisor, Ok, Supervisor
from tests.otp.actors import Driven, Log, Member, Trapping, log_of, member, outcome_of, pids_of, settle, started, within

NAN = float("nan")


def each(field: str, values: list[Any]) -> list[tuple[str, Any]]:
    return [(field, value) for value in values]


BAD_FIELDS = [
    *each("id", [[], {}, (1, [])]),
    *each("start", [3, None, "start", (Driven, "start_link", [])]),
    *each("restart", ["always", "often", "Permanent", "", None, True, 1, []]),
    *each("shutdown", [-1, -0.1, NAN, -math.inf, "kill", "soon", "infinity", "5", True, False, []]),
    *each("type", ["actor", "boss", "Worker", None, 1, []]),
    *each("significant", [1, 0, None, "yes", "maybe", []]),
]

BAD_INTENSITIES = [
    *each("max_restarts", [-1, 1.5, 3.0, "3", None, True, math.inf, NAN, []]),
    *each("max_seconds", [0, 0.0, -1, -0.1, NAN, "5", "long", None, True, []]),
]

BAD_FLAGS = [
    *each("strategy", ["one_for_two", "none", "simple_one_for_one", "", None, 1, []]),
    *BAD_INTENSITIES,
    *each("auto_shutdown", ["sometimes", "maybe", "", None, True, []]),
]

BAD_DYNAMIC_FLAGS = [
    *each("max_children", [-1, 1.5, "1", True, math.inf, []]),
    *each("extra_arguments", ["ab", 3, None, {"a": 1}, {"a"}]),
    *BAD_INTENSITIES,
]


def named(error: BaseException, field: str, value: object) -> bool:
    """Whether the message of `error` begins with the field, and contains the value."""
    return str(error).startswith(f"{field} ") and repr(value) in str(error)


# Child specifications.


@pytest.mark.parametrize("make", [ChildSpec, partial(Driven.child_spec, None)], ids=["spec", "default spec"])
@pytest.mark.parametrize(("field", "value"), BAD_FIELDS, ids=repr)
def test_a_bad_field_is_rejected_naming_field_and_value(make: Any, field: str, value: Any) -> None:
    fields: dict[str, Any] = {"id": 0, "start": Driven.start_link} | {field: value}
    with pytest.raises((TypeError, ValueError)) as caught:
        make(**fields)
    assert named(caught.value, field, value)


def test_a_field_that_there_is_not_is_rejected_naming_it() -> None:
    with pytest.raises(TypeError, match="modules"):
        Driven.child_spec(modules=[])  # type: ignore[call-arg]


@pytest.mark.parametrize("fields", [{}, {"restart": "permanent"}], ids=str)
def test_a_permanent_child_cannot_be_significant(fields: Any) -> None:
    with pytest.raises(ValueError, match=r"significant .*permanent"):
        ChildSpec(0, Driven.start_link, significant=True, **fields)


@pytest.mark.parametrize("value", [0, 0.5, 5, 10**9, math.inf, "brutal_kill"], ids=repr)
def test_shutdown_is_seconds_or_infinity_or_brutal_kill(value: Any) -> None:
    assert ChildSpec(0, Driven.start_link, shutdown=value).shutdown == value


def test_the_fields_that_may_be_left_out_have_defaults() -> None:
    spec = ChildSpec(0, Driven.start_link)
    assert (spec.restart, spec.type, spec.significant) == ("permanent", "worker", False)


@pytest.mark.parametrize(("kind", "shutdown"), [("worker", 5), ("supervisor", math.inf)])
def test_shutdown_is_5_seconds_by_default_and_for_supervisors_infinity(kind: Any, shutdown: float) -> None:
    assert ChildSpec(0, Driven.start_link, type=kind).shutdown == shutdown
    assert ChildSpec(0, Driven.start_link, type=kind, shutdown=None).shutdown == shutdown
    assert ChildSpec(0, Driven.start_link, type=kind, shutdown=1).shutdown == 1


@pytest.mark.parametrize("id_", [None, 0, "id", Driven, (1, "a"), frozenset({1}), 1.5], ids=repr)
def test_an_id_is_anything_that_can_be_a_key(id_: Any) -> None:
    with Supervisor.start([ChildSpec(id_, Driven.start_link)]) as supervisor:
        assert list(pids_of(supervisor)) == [id_]
        supervisor.terminate_child(id_)
        assert pids_of(supervisor) == {id_: None}


@pytest.mark.parametrize("cls", [Supervisor, DynamicSupervisor])
def test_the_child_spec_of_a_supervisor_says_that_it_is_one(cls: Any) -> None:
    spec = cls.child_spec()
    assert (spec.id, spec.type, spec.restart, spec.shutdown) == (cls, "supervisor", "permanent", math.inf)
    assert cls.child_spec(restart="transient", shutdown=3, id="own").shutdown == 3


def test_a_child_is_a_spec_or_a_class_or_a_class_with_its_argument() -> None:
    class Other(Driven):
        pass

    with Supervisor.start([ChildSpec("spec", Driven.start_link), Driven, (Other, "argument")]) as supervisor:
        pids = pids_of(supervisor)
        assert list(pids) == ["spec", Driven, Other]
        assert pids[Driven].get_state() is None
        assert pids[Other].get_state() == "argument"


NO_CHILDREN: list[Any] = [
    "nonsense",
    3,
    None,
    (),
    [Driven],
    {"id": 0, "start": Driven.start_link},
    (Driven, 1, 2),
    ("Driven", 1),
    object,
    Driven.start_link,
    (Driven.start_link, 1),
]


@pytest.mark.parametrize("child", NO_CHILDREN, ids=repr)
@pytest.mark.parametrize("start", [Supervisor.start, DynamicSupervisor.start], ids=["supervisor", "dynamic"])
def test_what_is_no_child_is_rejected_in_the_caller_and_the_supervisor_is_unharmed(start: Any, child: Any) -> None:
    with start() as supervisor:
        one = supervisor.start_child(Driven)
        before = supervisor.which_children()
        with pytest.raises(TypeError, match="child") as caught:
            supervisor.start_child(child)
        assert repr(child) in str(caught.value)
        assert supervisor.which_children() == before
        assert one.is_alive()


@pytest.mark.parametrize("child", NO_CHILDREN, ids=repr)
def test_what_is_no_child_keeps_a_supervisor_from_being_started(child: Any) -> None:
    story = Log()
    with pytest.raises(TypeError, match="child") as caught:
        Supervisor.start([member(0, story), child])
    assert repr(child) in str(caught.value)
    assert story.now() == []


def test_what_child_spec_returns_must_be_one() -> None:
    class Strange(Driven):
        @classmethod
        def child_spec(cls, init_arg: Any = None, **overrides: Any) -> Any:
            return init_arg or "nonsense"

    with Supervisor.start([]) as supervisor:
        for child in (Strange, (Strange, 3)):
            with pytest.raises(TypeError, match="child"):
                supervisor.start_child(child)
        supervisor.start_child((Strange, member(0, Log())))
        assert list(pids_of(supervisor)) == [0]


# The flags of a supervisor.


@pytest.mark.parametrize("make", [Supervisor.start, Supervisor.start_link, Supervisor.children])
@pytest.mark.parametrize(("field", "value"), BAD_FLAGS, ids=repr)
def test_a_bad_flag_is_rejected_naming_field_and_value(make: Any, field: str, value: Any) -> None:
    story = Log()
    with pytest.raises((TypeError, ValueError)) as caught:
        make([member(0, story)], **{field: value})
    assert named(caught.value, field, value)
    assert story.now() == []


@pytest.mark.parametrize("start", [Supervisor.start, Supervisor.start_link])
def test_a_flag_that_there_is_not_is_rejected_naming_it(start: Any) -> None:
    with pytest.raises(TypeError, match="nonsense"):
        start([], nonsense=1)


@pytest.mark.parametrize("start", [Supervisor.start_link, DynamicSupervisor.start_link], ids=["supervisor", "dynamic"])
def test_a_bad_flag_harms_no_parent(start: Any) -> None:
    with Driven.start() as parent:
        error = within(parent, lambda self: outcome_of(lambda: start(max_restarts=-1)))
        assert named(error, "max_restarts", -1)
        settle(parent)
        assert parent.is_alive()


def test_the_flags_have_defaults() -> None:
    flags = Supervisor.children([])
    assert (flags.strategy, flags.max_restarts, flags.max_seconds) == ("one_for_one", 3, 5)
    assert flags.auto_shutdown == "never"


@pytest.mark.parametrize("fields", [{"max_restarts": 0}, {"max_seconds": 0.5}, {"max_seconds": math.inf}], ids=str)
def test_an_intensity_may_be_zero_or_without_end(fields: Any) -> None:
    for start in (partial(Supervisor.start, []), DynamicSupervisor.start):
        with start(**fields) as supervisor:
            assert supervisor.is_alive()


@pytest.mark.parametrize(
    "ids", [("same", "same"), (1, 1.0), (1, True), ("same", "between", "same"), (None, None)], ids=repr
)
def test_duplicate_ids_are_refused_and_nothing_starts(ids: Any) -> None:
    story = Log()
    with pytest.raises(ValueError, match=f"ids.*{ids[-1]!r}"):
        Supervisor.start([member(id_, story) for id_ in ids])
    assert story.now() == []


@pytest.mark.parametrize("restart", ["transient", "temporary"])
def test_a_significant_child_needs_an_auto_shutdown(restart: Any) -> None:
    story = Log()
    significant = member("mine", story, restart=restart, significant=True)
    with pytest.raises(ValueError, match=r"significant .*'mine'"):
        Supervisor.start([member(0, story), significant])
    assert story.now() == []
    with Supervisor.start([member(0, story)]) as supervisor:
        before = supervisor.which_children()
        with pytest.raises(ValueError, match=r"significant .*'mine'"):
            supervisor.start_child(significant)
        assert supervisor.which_children() == before
        assert started(story) == [0]


@pytest.mark.parametrize("children", [3, None, Driven], ids=repr)
def test_children_must_be_many(children: Any) -> None:
    with pytest.raises(TypeError):
        Supervisor.start(children)


def test_children_may_be_any_iterable() -> None:
    story = Log()
    with Supervisor.start(member(number, story) for number in range(3)) as supervisor:
        assert list(pids_of(supervisor)) == [0, 1, 2]


# A supervisor that is a class: its init says how it supervises.


class Own(Supervisor):
    def init(self, init_arg: Any) -> Any:
        return init_arg(self)


def test_the_init_of_a_class_returns_children_and_flags() -> None:
    story = Log()
    init = lambda self: self.children([member(0, story), member(1, story)], strategy="one_for_all")  # noqa: E731
    with Own.start(init, name="own") as supervisor:
        assert g.whereis("own") is supervisor
        assert list(pids_of(supervisor)) == [0, 1]


@pytest.mark.parametrize(("field", "value"), [("strategy", "none"), ("max_restarts", -1), ("auto_shutdown", 1)])
def test_a_bad_flag_in_the_init_of_a_class_is_a_start_error_naming_it(field: str, value: Any) -> None:
    with pytest.raises(g.StartError) as caught:
        Own.start(lambda self: self.children([], **{field: value}), name="own")
    assert isinstance(caught.value.reason, ValueError)
    assert named(caught.value.reason, field, value)
    assert g.whereis("own") is None


def test_the_init_of_a_class_may_ignore() -> None:
    assert Own.start(lambda self: g.IGNORE, name="own") is g.IGNORE
    assert g.whereis("own") is None


def test_the_init_of_a_class_may_stop() -> None:
    with pytest.raises(g.StartError) as caught:
        Own.start(lambda self: g.Stop("why"))
    assert caught.value.reason == "why"


@pytest.mark.parametrize("value", [None, 3, Ok(), [], ()], ids=repr)
def test_the_init_of_a_class_that_returns_another_value_is_a_bad_return_value(value: Any) -> None:
    with pytest.raises(g.StartError) as caught:
        Own.start(lambda self: value)
    assert isinstance(caught.value.reason, g.BadReturnValue)
    assert caught.value.reason.value is value


def test_a_class_with_an_init_takes_no_flags_from_start() -> None:
    for start in (Own.start, Own.start_link):
        with pytest.raises(TypeError, match="strategy"):
            start(lambda self: self.children([]), strategy="one_for_all")


# The flags of a dynamic supervisor.


@pytest.mark.parametrize("start", [DynamicSupervisor.start, DynamicSupervisor.start_link])
@pytest.mark.parametrize(("field", "value"), BAD_DYNAMIC_FLAGS, ids=repr)
def test_a_bad_flag_of_a_dynamic_supervisor_is_rejected_naming_field_and_value(
    start: Any, field: str, value: Any
) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        start(**{field: value})
    assert named(caught.value, field, value)


@pytest.mark.parametrize("start", [DynamicSupervisor.start, DynamicSupervisor.start_link])
def test_a_flag_that_a_dynamic_supervisor_has_not_is_rejected_naming_it(start: Any) -> None:
    for flag in ("strategy", "nonsense"):
        with pytest.raises(TypeError, match=flag):
            start(**{flag: "one_for_one"})


def test_the_argument_of_a_dynamic_supervisors_child_spec_is_its_flags() -> None:
    with Supervisor.start([(DynamicSupervisor, {"max_children": 0, "name": "pool"})]) as supervisor:
        pool: Any = g.whereis("pool")
        assert pids_of(supervisor) == {DynamicSupervisor: pool}
        with pytest.raises(g.MaxChildren):
            pool.start_child(Driven)


def test_a_bad_spec_made_in_a_process_ends_only_that_process() -> None:
    """It is rejected where it is made: the supervisor never receives it."""
    with Supervisor.start([]) as supervisor:
        caller = Trapping.start()
        log = log_of(caller)
        caller.cast(lambda self, state: supervisor.start_child(Member.child_spec(None, shutdown=-1)))
        kind, reason = log.next()
        assert kind == "terminate"
        assert named(reason, "shutdown", -1)
        assert supervisor.which_children() == []
