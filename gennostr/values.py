"""How values are shown, copied and pickled, whatever they hold.

A request, a state or an exit reason is any value: its repr may raise or be 5 MB long, and pickle may refuse it. What
reports such values must work all the same. Three kinds:

- text: `shown` is the repr that never fails and is never long;
- a `Handle` stands for something in this process: its copy is itself, and pickle refuses it with the reason;
- a `Record` says what happened (an exception, a crash report): it can always be pickled and copied.

Ctrl-C is never swallowed: KeyboardInterrupt passes through in the main thread, the only one in which Python raises
it. Anything else that user code raises here, SystemExit and RecursionError included, is caught.
"""

# copy, pickle and dataclasses are imported where they are used: whoever copies, pickles or has a dataclass has them
# already, and a program that imports the exceptions alone does not need them.
# ruff: noqa: PLC0415
import reprlib
import threading
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final, NoReturn, Self

MOST_SHOWN: Final = 4000
"""Characters of one value that a text shows."""
MOST_NESTED: Final = 8
"""Records within records that are pickled as such. A chain of calls that failed is seldom longer."""
_DEEPEST: Final = 20
"""Containers within containers in which a part is replaced; deeper ones are replaced as a whole."""


def shown(value: Any, text_of: Callable[[Any], str] = repr, most: int = MOST_SHOWN) -> str:
    """Return the repr of `value`, or what `text_of` gives, cut to `most` characters; never fail."""
    try:
        text = text_of(value)
        return text if len(text) <= most else f"{text[:most]}... ({len(text)} characters)"
    except BaseException as error:  # it is user code, and a report must not die of it
        if _is_ctrl_c(error):
            raise
        return f"<{type(value).__name__}, whose {text_of.__name__} raised {type(error).__name__}>"


def brief(value: object) -> str:
    """Return `shown`, cut to a line or so: each part of `value` to some 30 characters."""
    return shown(value, reprlib.repr)


@reprlib.recursive_repr()
def shown_fields(value: Any) -> str:
    """Return a dataclass's repr in which each field is `shown`. For the class body: ``__repr__ = shown_fields``."""
    from dataclasses import fields

    texts = [f"{each.name}={shown(getattr(value, each.name))}" for each in fields(value) if each.repr]
    return f"{type(value).__qualname__}({', '.join(texts)})"


def _is_ctrl_c(error: BaseException) -> bool:
    return isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread()


class Shared:
    """A value whose copy, deep copies included, is itself: it does not change, or there can be only one of it."""

    __slots__ = ()

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self


class Handle(Shared):
    """A value that stands for something in this process, and for nothing in another."""

    __slots__ = ()

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        kind = type(self).__name__
        raise TypeError(
            f"cannot pickle {shown(self)}: a {kind} stands for something that lives in this Python process and means "
            "nothing in another one. Send a name or a key that can be looked up there, or the text of it"
        )


class Text(str):
    """What stands in a `Record` from another process for a value that could not come with it: its repr."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


class Record:
    """A value that can be pickled and copied, whatever it holds.

    What pickle refuses (a pid, a lock, an exception that cannot be made again) is pickled as its `Text`; the rest of
    the list, tuple, set or dict that holds it stays as it is. What cannot be read in the other process, because a
    class is missing there, is its text as well. A deep copy shares what cannot be copied.

    Each value is pickled and read once for trial, when its record is pickled; nothing is done before.
    """

    __slots__ = ()

    def __reduce__(self) -> tuple[Any, ...]:
        reduced, nested = _pickling.reduced, _pickling.nested
        if id(self) in reduced:
            return reduced[id(self)][1]
        if nested >= MOST_NESTED:
            return Text, (shown(self),)
        _pickling.nested = nested + 1
        reduced[id(self)] = self, (Text, ("...",))  # for a circle; it keeps `self`, and with it the id, alive too
        try:
            # One memo for all: what is held twice is pickled once, and is one object again.
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
        # Known before its parts are copied, for they may refer to it.
        made = memo[id(self)] = type(self).__new__(type(self))
        _fill(made, *_parts(self, partial(_copied, memo=memo)))
        return made


class _Pickling(threading.local):
    """What this thread is pickling. A record within others is tried with each of them, and is to be pickled once."""

    def __init__(self) -> None:
        self.nested = 0
        self.reduced: dict[int, tuple[Record, tuple[Any, ...]]] = {}


_pickling = _Pickling()


def _parts(record: Record, each: Callable[[object], Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return what `record` holds, put through `each`: an exception's args, and the attributes."""
    slots: Iterable[str] = (name for kind in type(record).__mro__ for name in getattr(kind, "__slots__", ()))
    held = {name: getattr(record, name) for name in slots} | getattr(record, "__dict__", {})
    args = record.args if isinstance(record, BaseException) else ()
    return tuple(map(each, args)), {name: each(value) for name, value in held.items()}


def _made(kind: Any, args: tuple[Any, ...], held: Mapping[str, Any]) -> Any:
    """Make a record of its parts, without its __init__: a subclass may want other arguments."""
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
    """A value that is pickled already, and its text in case that it cannot be read where it arrives."""

    def __init__(self, value: object) -> None:
        import pickle

        self._data = pickle.dumps(value)
        pickle.loads(self._data)  # noqa: S301 - our own; some values are pickled and cannot be made again
        self._text = shown(value)

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpacked, (self._data, self._text)


def _unpacked(data: bytes, text: str) -> object:
    import pickle

    try:
        return pickle.loads(data)  # noqa: S301 - a part of what is being unpickled here
    except BaseException as error:
        if _is_ctrl_c(error):
            raise
        return Text(text)


def _portable(value: Any, memo: dict[int, Any], depth: int = 0) -> Any:
    """Return what can be pickled in the place of `value`: it, a parcel, a container of such, or its text."""
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
                memo[id(value)] = Text("...")  # for a circle; a list or dict puts itself there
                memo[id(value)] = _refilled(value, partial(_portable, memo=memo, depth=depth + 1), memo)
            else:
                memo[id(value)] = Text(shown(value))
    return memo[id(value)]


def _copied(value: Any, memo: dict[int, Any], depth: int = 0) -> Any:
    """Return a deep copy of `value` in which what cannot be copied is shared."""
    import copy

    if type(value) in _ATOMS:
        return value
    if id(value) in memo:
        return memo[id(value)]
    _keep(value, memo)
    if type(value) in _CONTAINERS and depth < _DEEPEST:
        memo[id(value)] = value  # for a circle through a tuple
        memo[id(value)] = _refilled(value, partial(_copied, memo=memo, depth=depth + 1), memo)
        return memo[id(value)]
    known = len(memo)
    try:
        return copy.deepcopy(value, memo)
    except BaseException as error:
        if _is_ctrl_c(error):
            raise
        while len(memo) > known:  # what it has copied of its parts is not complete
            memo.popitem()
        memo[id(value)] = value
        return value


def _keep(value: object, memo: dict[int, Any]) -> None:
    """Keep `value` alive as long as its id is in `memo`; copy.deepcopy has its list in the same place."""
    memo.setdefault(id(memo), []).append(value)


def _refilled(value: Any, each: Callable[[Any], Any], memo: dict[int, Any]) -> Any:
    """Return a container like `value`, of what `each` makes of its items."""
    # Its items are taken in one step first: another thread, or `each`, may change it meanwhile.
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
