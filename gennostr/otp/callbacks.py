"""Checks of server classes, made at the class definition, where the mistake is."""

import inspect
from collections.abc import Container
from typing import Any, Final

import pykka

CALLBACKS: Final = frozenset({"init", "terminate", "format_status", "on_cancel"})
"""The callbacks whose names do not begin with ``handle_``."""

# Without the names that ABCMeta sets on each class.
PYKKAS: Final = frozenset(
    name
    for cls in (pykka.ThreadingActor, pykka.Actor)
    for name in (*vars(cls), *cls.__annotations__)
    if name.startswith("_") and not name.startswith(("__", "_abc_"))
)


def check_class(cls: type, root: type, own: Container[type], never_called: frozenset[str]) -> None:
    """Check a subclass of `root`, the library's server class.

    `own` are the library's classes with callbacks.

    Raises:
        TypeError: a callback is a coroutine or generator function, cannot be called with its arguments, or is in
            `never_called`; or one of pykka's private names is overridden. The message names it.

    """
    for name in PYKKAS:
        if inspect.getattr_static(cls, name, None) is not inspect.getattr_static(root, name, None):
            raise TypeError(f"{cls.__qualname__}.{name}: pykka uses this name internally; choose another one")
    for name in dir(cls):
        if name in CALLBACKS or name.startswith("handle_"):
            given = inspect.getattr_static(cls, name)
            default = _default(cls, name, own)
            if default is not None and given is not default:
                if name in never_called:
                    raise TypeError(f"{cls.__qualname__}.{name} would never be called: its base class does this itself")
                _check_callback(cls, name, given, default)


def _default(cls: type, name: str, own: Container[type]) -> object:
    """Return the library's definition of a callback.

    None if `name` is not a callback of the library.
    """
    for base in cls.__mro__:
        # Not by the module's name: a class in an example of a library's module is the user's.
        if base in own and name in vars(base):
            return vars(base)[name]
    return None


def _check_callback(cls: type, name: str, given: object, default: Any) -> None:
    function: Any = given.__func__ if isinstance(given, staticmethod | classmethod) else given
    where = f"{cls.__qualname__}.{name}"
    if not callable(function) and not hasattr(function, "__get__"):
        raise TypeError(f"{where} is a callback and must be a function, not {type(given).__name__}")
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"{where} must be a plain function, not async: nothing would await its result")
    if inspect.isgeneratorfunction(function):
        raise TypeError(f"{where} must be a plain function, without yield: nothing would iterate over its result")
    if not inspect.isfunction(function):
        return  # another kind of callable, or a descriptor that returns one: its arguments cannot be checked
    arguments = list(inspect.signature(default).parameters)
    if isinstance(given, staticmethod):
        del arguments[0]
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError as error:
        wanted = ", ".join(arguments)
        raise TypeError(f"{where} must be callable as {name}({wanted}): {error}") from None
