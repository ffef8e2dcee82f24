"""Show, copy and pickle arbitrary values safely.

A request, a state or an exit reason can be any value: its repr may raise or be 5 MB long, and it may not be picklable.
Code that reports such values has to work anyway:

- `shown` returns a repr; it never fails, and its result is never long;
- `printable` escapes terminal control characters and line separators, which would start a new line in a log;
- a `Handle` (a pid, a monitor, a timer) refers to something in this process: copying it returns the handle itself, and
  pickling it raises a TypeError that says why;
- a `Record` (an exception, a crash report) describes what happened: it can always be copied and pickled.

User code called from here (a repr, a __reduce__) may raise anything, including SystemExit and RecursionError; all of it
is caught. The one exception is KeyboardInterrupt in the main thread, where it means Ctrl-C: it propagates.
"""

# copy, pickle and dataclasses are imported where they are used: callers have imported them by then anyway, and a
# program that imports only the exceptions does not pay for them.
# ruff: noqa: PLC0415
import reprlib
import threading
from abc import ABCMeta
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NoReturn, Protocol, Self

if TYPE_CHECKING:
    _ProtocolMeta = ABCMeta  # what type checkers take it for
else:
    _ProtocolMeta = type(Protocol)

MOST_SHOWN: Final = 4000
"""The maximum number of characters shown of a value's repr."""
MOST_NESTED: Final = 8
"""The nesting depth up to which records are pickled as records; deeper ones become text. Chains of failed calls are
rarely longer."""
_PACKAGE: Final = __name__.partition(".")[0]
_SET_BY_PYTHON: Final = frozenset(
    {
        "__abstractmethods__",
        "__annotations__",
        "__dict__",
        "__orig_bases__",
        "__parameters__",
        "__weakref__",
        "_abc_impl",
    }
)
"""What Python, abc and typing set on a class; none of it is documentation."""
_DEEPEST: Final = 20
"""The nesting depth up to which a container's items are replaced one by one; deeper ones are replaced as a whole."""


def shown(value: Any, text_of: Callable[[Any], str] = repr, most: int = MOST_SHOWN) -> str:
    """Return the repr of `value`, cut to `most` characters. Never fails.

    `text_of` replaces repr.
    """
    try:
        text = text_of(value)
        return text if len(text) <= most else f"{text[:most]}... ({len(text)} characters)"
    except BaseException as error:  # user code may raise anything, and a report must survive it
        if _is_ctrl_c(error):
            raise
        return f"<{type(value).__name__}, whose {text_of.__name__} raised {type(error).__name__}>"


def printable(text: str) -> str:
    """Return `text` on one line, with unprintable characters escaped.

    The escapes are those of a Python string.

    These are control characters (C0, C1 and DEL), line and paragraph separators, characters that change the direction
    of text, and lone surrogates. Existing escapes stay unchanged.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def brief(value: object) -> str:
    """Return a repr of about one line, like `shown` but shorter.

    Each part of `value` is cut to about 30 characters.
    """
    return shown(value, reprlib.repr)


@reprlib.recursive_repr()
def shown_fields(value: Any) -> str:
    """Return a dataclass's repr with each field passed through `shown`.

    Use as ``__repr__ = shown_fields``.
    """
    from dataclasses import fields

    texts = [f"{each.name}={shown(getattr(value, each.name))}" for each in fields(value) if each.repr]
    return f"{type(value).__qualname__}({', '.join(texts)})"


def _is_ctrl_c(error: BaseException) -> bool:
    return isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread()


class Concise(_ProtocolMeta):
    """The metaclass of classes whose ``help`` leaves out other packages' names.

    A GenServer inherits from pykka, an exception from Exception, a publication from Future. ``help(cls)`` lists
    ``dir(cls)``, which only a metaclass can change. Left out are names that a foreign base of a gennostr class defines,
    unless a class before it defines them too, and what Python sets on each class. gennostr's names are listed, and a
    subclass's own names, mixins and other bases. Only ``dir`` of the class changes: its attributes, and ``dir`` of an
    instance, stay the same.

    It derives from the metaclass of Protocol, and so of ABC: otherwise a subclass could not also inherit from an
    abstract class or a protocol. It uses nothing else of Protocol's metaclass.
    """

    __instancecheck__ = ABCMeta.__instancecheck__
    __subclasscheck__ = ABCMeta.__subclasscheck__

    def __dir__(cls) -> list[str]:  # noqa: N805 - a metaclass
        ours = [base for base in cls.__mro__ if base.__module__.partition(".")[0] == _PACKAGE]
        # Without object: help leaves out its names itself, and mocks look for its special methods.
        foreign = {base for one in ours for base in one.__mro__}.difference(ours, {object})
        listed: set[str] = set()
        hidden = set(_SET_BY_PYTHON)
        for base in cls.__mro__:
            (hidden if base in foreign else listed).update(vars(base).keys() - hidden - listed)
        return list(listed)


class Shared:
    """A value that copying returns unchanged: it is immutable, or it has an identity."""

    __slots__ = ()

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self


class Handle(Shared):
    """A value that refers to something in this process and cannot be pickled."""

    __slots__ = ()

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        kind = type(self).__name__
        raise TypeError(
            f"cannot pickle {shown(self)}: a {kind} refers to an object of this Python process "
            "and has no meaning in another one. Send a name that can be looked up there, or its text, str(...)"
        )


class Text(str):
    """The repr that replaces an unpicklable value in an unpickled `Record`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


class Record:
    """A value that can be pickled and copied, whatever it holds.

    A part that cannot be pickled and unpickled (a pid, a lock, an exception whose __init__ takes other arguments) is
    replaced by its `Text`. In a list, tuple, set or dict only such items are replaced; any other object is replaced as
    a whole. A part that cannot be unpickled in the receiving process, because its class is missing there, is replaced
    by its text too. A deep copy shares the parts that cannot be copied.

    All of this happens when the record is pickled or copied; until then it costs nothing.
    """

    __slots__ = ()

    def __reduce__(self) -> tuple[Any, ...]:
        reduced, nested = _pickling.reduced, _pickling.nested
        if id(self) in reduced:
            return reduced[id(self)][1]
        if nested >= MOST_NESTED:
            return Text, (shown(self),)
        _pickling.nested = nested + 1
        reduced[id(self)] = self, (Text, ("...",))  # for a cycle; keeps `self` alive, so that its id is not reused
        try:
            # One memo for all parts: an object held twice is pickled once and unpickled as one object.
            args, held = _parts(self, partial(_portable, memo={}))
            reduced[id(self)] = self, (_made, (type(self), args, held))
            return reduced[id(self)][1]
        except BaseException:
            del reduced[id(self)]
            raise
        finally:
            _pickling.nested = nested
            if not nested:
                _pickling.reduced = {}

    def __copy__(self) -> Self:
        made: Self = _made(type(self), *_parts(self, _itself))
        return made

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        # In the memo before its parts are copied, as they may refer to it.
        made = memo[id(self)] = type(self).__new__(type(self))
        _fill(made, *_parts(self, partial(_copied, memo=memo)))
        return made


class _Pickling(threading.local):
    """The state of the pickling under way in this thread.

    Each enclosing container is first tried as a whole, which pickles a nested record again. `reduced` caches the
    results within the outermost record's pickling, so that the time is not exponential in the depth.
    """

    def __init__(self) -> None:
        self.nested = 0
        self.reduced: dict[int, tuple[Record, tuple[Any, ...]]] = {}


_pickling = _Pickling()


def _parts(record: Record, each: Callable[[object], Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the parts of `record`, passed through `each`.

    They are the args (of an exception) and the attributes.
    """
    slots: Iterable[str] = (name for kind in type(record).__mro__ for name in getattr(kind, "__slots__", ()))
    held = {name: getattr(record, name) for name in slots if hasattr(record, name)} | getattr(record, "__dict__", {})
    args = record.args if isinstance(record, BaseException) else ()
    return tuple(map(each, args)), {name: each(value) for name, value in held.items()}


def _made(kind: Any, args: tuple[Any, ...], held: Mapping[str, Any]) -> Any:
    """Make a record from its parts.

    Does not call __init__, as a subclass's may take other arguments.
    """
    record = kind.__new__(kind)
    _fill(record, args, held)
    return record


def _fill(record: Record, args: tuple[Any, ...], held: Mapping[str, Any]) -> None:
    if isinstance(record, BaseException):
        record.args = args
    for name, value in held.items():
        object.__setattr__(record, name, value)  # records may be frozen


def _itself(value: object) -> object:
    return value


_ATOMS = frozenset({type(None), bool, int, float, complex, str, bytes})
_CONTAINERS = frozenset({list, tuple, set, frozenset, dict})


class _Parcel:
    """A pickled value, and its text in case the receiving process cannot unpickle it."""

    def __init__(self, value: object) -> None:
        import pickle

        self._data = pickle.dumps(value)
        pickle.loads(self._data)  # noqa: S301 - our own data; some values can be pickled but not unpickled
        self._text = shown(value)

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpacked, (self._data, self._text)


def _unpacked(data: bytes, text: str) -> object:
    import pickle

    try:
        return pickle.loads(data)  # noqa: S301 - part of the data being unpickled
    except BaseException as error:
        if _is_ctrl_c(error):
            raise
        return Text(text)


def _portable(value: Any, memo: dict[int, Any], depth: int = 0) -> Any:
    """Return what to pickle for `value`.

    It is the value itself, a parcel, a container of these, or its text.
    """
    if type(value) in _ATOMS:
        return value
    if id(value) not in memo:
        _keep(value, memo)
        try:
            memo[id(value)] = _Parcel(value)
        except BaseException as error:
            if _is_ctrl_c(error):
                raise
            if type(value) in _CONTAINERS and depth < _DEEPEST:
                memo[id(value)] = Text("...")  # for a cycle; _refilled replaces it if `value` is a list or dict
                memo[id(value)] = _refilled(value, partial(_portable, memo=memo, depth=depth + 1), memo)
            else:
                memo[id(value)] = Text(shown(value))
    return memo[id(value)]


def _copied(value: Any, memo: dict[int, Any], depth: int = 0) -> Any:
    """Return a deep copy of `value` that shares the parts that cannot be copied."""
    import copy

    if type(value) in _ATOMS:
        return value
    if id(value) in memo:
        return memo[id(value)]
    _keep(value, memo)
    known = len(memo)
    try:
        if type(value) not in _CONTAINERS or depth == _DEEPEST:
            return copy.deepcopy(value, memo)
        memo[id(value)] = value  # for a cycle; _refilled replaces it if `value` is a list or dict
        memo[id(value)] = _refilled(value, partial(_copied, memo=memo, depth=depth + 1), memo)
    except BaseException as error:
        if _is_ctrl_c(error):
            raise
        while len(memo) > known:  # drop the copies of its parts, which may be incomplete
            memo.popitem()
        memo[id(value)] = value
    return memo[id(value)]


def _keep(value: object, memo: dict[int, Any]) -> None:
    """Keep `value` alive while its id is in `memo`.

    It goes into the list that copy.deepcopy uses for that.
    """
    memo.setdefault(id(memo), []).append(value)


def _refilled(value: Any, each: Callable[[Any], Any], memo: dict[int, Any]) -> Any:
    """Return a container like `value`, with its items passed through `each`."""
    # Iterates over a copy: another thread, or `each`, may change the original in the meantime.
    if type(value) is dict:
        table: dict[Any, Any] = {}
        memo[id(value)] = table
        for key, item in value.copy().items():
            table[each(key)] = each(item)
        return table
    if type(value) is list:
        items: list[Any] = []
        memo[id(value)] = items
        items.extend(map(each, value.copy()))
        return items
    return type(value)(list(map(each, tuple(value))))
