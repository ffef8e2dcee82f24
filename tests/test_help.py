"""`help` of a public class shows what the class is, not what pykka, Future and Exception bring along."""

import abc
import concurrent.futures
import copy
import inspect
import pickle
import pydoc
from typing import Protocol
from unittest import mock

import pykka
import pytest

import gennostr
from gennostr import GenNostrError, GenServer, NoProcess, Pid, Publication, StartError
from gennostr.values import Concise

CLASSES = [name for name in gennostr.__all__ if inspect.isclass(getattr(gennostr, name))]
FOREIGN = ("inherited from pykka", "inherited from concurrent", "inherited from builtins.BaseException")


@pytest.mark.parametrize("name", CLASSES)
def test_help_leaves_out_what_other_packages_bring(name: str) -> None:
    text = pydoc.plain(pydoc.render_doc(getattr(gennostr, name)))
    assert [each for each in FOREIGN if each in text] == []


@pytest.mark.parametrize("name", CLASSES)
def test_help_of_an_exception_is_short(name: str) -> None:
    value = getattr(gennostr, name)
    if issubclass(value, BaseException):
        entry = len(inspect.getdoc(value).splitlines())  # type: ignore[union-attr]
        assert len(pydoc.plain(pydoc.render_doc(value)).splitlines()) <= entry + 60


class Plain:
    def mixed_in(self) -> int:
        return 1


class Abstract(abc.ABC):
    @abc.abstractmethod
    def code(self) -> int: ...


class Fetcher(Protocol):
    def fetch(self) -> int: ...


class Coded(Plain, GenServer[int], Abstract, Fetcher):
    def code(self) -> int:
        return 2

    def fetch(self) -> int:
        return 3


class FileMissing(StartError, OSError, Abstract):
    def code(self) -> int:
        return 4


def test_a_subclass_lists_what_is_its_own_or_of_its_own_bases() -> None:
    assert {"mixed_in", "code", "fetch", "handle_call", "start"} <= set(dir(Coded))
    assert "on_start" not in dir(Coded)
    assert {"code", "filename"} <= set(dir(FileMissing))
    assert "with_traceback" not in dir(FileMissing)


def test_a_class_can_be_combined_with_abstract_classes_and_protocols() -> None:
    class Unfinished(GenServer[None], Abstract):
        pass

    with pytest.raises(TypeError, match="abstract"):
        Unfinished.start()
    with Coded.start(5) as server:
        assert server.get_state() == 5
    with pytest.raises(OSError, match="init failed: 'reason'"):
        raise FileMissing("reason")
    assert isinstance(FileMissing("reason"), Abstract)
    assert not isinstance(ValueError(), GenNostrError)


def test_instances_list_everything() -> None:
    assert "with_traceback" in dir(NoProcess("name"))
    with Coded.start(5) as server:
        assert set(dir(server)) >= set(dir(pykka.ActorRef)) | {"actor_urn"}


def test_what_is_left_out_is_still_there() -> None:
    assert GenServer.on_start is pykka.ThreadingActor.on_start
    assert copy.deepcopy(GenServer) is GenServer
    assert pickle.loads(pickle.dumps(GenServer)) is GenServer
    assert isinstance(pickle.loads(pickle.dumps(NoProcess("name"))), NoProcess)
    assert GenServer[int].start is not None


def test_mocks_have_what_users_call() -> None:
    pid = mock.create_autospec(Pid, instance=True)
    for used in (pid.call, pid.tell, pid.ask, pid.proxy, pid.stop):
        used.assert_not_called()
    publication = mock.create_autospec(Publication, instance=True)
    for name in ("done", "cancelled", "running", "add_done_callback", "result", "exception", "cancel"):
        assert callable(getattr(concurrent.futures.Future, name))
        getattr(publication, name).assert_not_called()


def test_the_metaclass_is_only_for_classes_with_foreign_bases() -> None:
    assert {type(each) for each in (GenServer, Pid, Publication, GenNostrError)} == {Concise}
    assert {type(each) for each in (gennostr.Ok, gennostr.ChildSpec)} == {type}
