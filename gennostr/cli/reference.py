"""The entry of a public name: signature, docstring and public members."""

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import is_dataclass
from importlib import import_module
from types import ModuleType
from typing import Any, Final

# By name: gennostr.testing is imported only if a name of it is looked up, and is not a layer below this one.
PACKAGES: Final = (
    "gennostr",
    "gennostr.cluster",
    "gennostr.nostr",
    "gennostr.nostr.nip19",
    "gennostr.store",
    "gennostr.testing",
    "gennostr.telemetry",
)
WIDTH: Final = 92
"""Signatures that are longer have one parameter on each line."""
INDENT: Final = "    "

_PREFIXES: Final = re.compile(r"\b(?:gennostr|typing|collections|concurrent|_thread|types)\.(?:\w+\.)*(?=\w)")


def public_names(package: str) -> list[str]:
    """Return the names that a package exports."""
    module = import_module(package)
    names: list[str] = getattr(module, "__all__", None) or [
        name for name, value in vars(module).items() if _defined_in(value, module.__name__) and not name.startswith("_")
    ]
    return sorted(names)


def _defined_in(value: object, module: str) -> bool:
    return (inspect.isclass(value) or inspect.isroutine(value)) and value.__module__ == module


def entry(word: str) -> str | None:
    """Return the entry of a public name; None for any other word.

    `word` is a name such as ``Supervisor``, a member such as ``GenNostr.subscribe``, or a package such as
    ``gennostr.nostr``; "gennostr." in front may be left out.
    """
    for package in PACKAGES:
        if word == package or package.endswith(f".{word}"):
            return _package(package)
    for package in PACKAGES:
        names = public_names(package)
        short = package.rpartition(".")[2]
        for prefix in (f"{package}.", f"{short}.", ""):
            if word.startswith(prefix):
                name, _, member = word.removeprefix(prefix).partition(".")
                name = name if name in names else _spelled(name, names)
                if name:
                    found = _named(package, name, member)
                    if found is not None:
                        return found
    owners = members().get(word, [])
    return entry(owners[0]) if len(owners) == 1 else None


def _spelled(name: str, names: list[str]) -> str:
    """Return the only one of `names` that has other capitals at most, or nothing."""
    same = [each for each in names if each.lower() == name.lower()]
    return same[0] if len(same) == 1 else ""


def members() -> dict[str, list[str]]:
    """Return the public members of public classes, each with its owners.

    Owners are given as ``Fetch.close``.

    One that several classes have from a common base is listed once. Those of a cluster's handle are left out, as they
    have the names of a client's: a word alone means the client's.
    """
    found: dict[str, dict[int, str]] = {}
    for package in (each for each in PACKAGES if each != "gennostr.cluster"):
        for name in public_names(package):
            value = getattr(import_module(package), name)
            if inspect.isclass(value):
                for member, object_ in own_members(value):
                    found.setdefault(member, {}).setdefault(id(object_), f"{name}.{member}")
    return {member: list(owners.values()) for member, owners in found.items()}


def own_members(class_: type) -> Iterator[tuple[str, Any]]:
    """Yield the public methods and properties of a class.

    Those that it has of this library, not of pykka, Future or Exception.
    """
    names: dict[str, Any] = {}
    for base in reversed(class_.__mro__):
        if base.__module__.startswith("gennostr"):  # and its members: one may be an alias of Future's
            names |= {name: each for name, each in vars(base).items() if not name.startswith("_") and _is_member(each)}
    yield from sorted(names.items())


def _is_member(value: object) -> bool:
    if isinstance(value, property | classmethod | staticmethod):
        value = value.fget if isinstance(value, property) else value.__func__
    return inspect.isfunction(value) and value.__module__.startswith("gennostr")


def _package(package: str) -> str:
    module = import_module(package)
    lines = [package, "-" * len(package), "", inspect.getdoc(module) or "", "", "Names", "-----", ""]
    for name in public_names(package):
        summary = _documentation(getattr(module, name), name).partition("\n")[0]
        lines.append(f"- `{name}`: {summary}" if summary else f"- `{name}`")
    return "\n".join(lines) + "\n"


def _named(package: str, name: str, member: str) -> str | None:
    value = getattr(import_module(package), name)
    title = f"{package}.{name}"
    if not member:
        return _entry(title, name, value)
    if isinstance(value, ModuleType):
        return None
    found = dict(own_members(value)).get(member) if inspect.isclass(value) else None
    if found is None:
        fields = attributes(value) if inspect.isclass(value) else {}
        if member not in fields:
            return None
        kind, text = fields[member]
        return "\n".join([*_heading(f"{title}.{member}"), f"{INDENT}{member}: {kind}", "", text, ""])
    return "\n".join([*_heading(f"{title}.{member}"), *_member(member, found), ""])


def _heading(title: str) -> list[str]:
    return [title, "-" * len(title), ""]


def _entry(title: str, name: str, value: object) -> str:
    lines = _heading(title)
    call = _call(name, value)
    if call:
        lines += [textwrap.indent(call, INDENT), ""]
    elif not inspect.isclass(value) and not isinstance(value, ModuleType):
        shown = _clean(repr(value))
        lines += [f"{INDENT}{name} = {shown}", ""] if shown != name else []
    text = _documentation(value, name)
    lines += [text, ""]
    if isinstance(value, ModuleType):
        for each in getattr(value, "__all__", ()):
            lines += [*_member(each, getattr(value, each)), ""]
    if inspect.isclass(value):
        fields = attributes(value)
        # The docstring may have described them itself: as attributes, or as the arguments of the constructor.
        described = "Attributes:\n" in text or ("Args:\n" in text and not any(each for _, each in fields.values()))
        if fields and not described:
            lines += ["Attributes", "----------", ""]
            for each, (kind, meaning) in fields.items():
                lines.append(f"{each}: {kind}")
                lines += [textwrap.indent(meaning, INDENT)] if meaning else []
            lines.append("")
        methods = list(own_members(value))
        if methods:
            lines += ["Members", "-------", ""]
            for each, method in methods:
                lines += [*_member(each, method, INDENT), ""]
    return "\n".join(lines)


def _member(name: str, value: Any, indent: str = "") -> list[str]:
    function = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
    call = name if isinstance(value, property) else _call(name, function, bound=not isinstance(value, staticmethod))
    text = inspect.getdoc(function) or ""
    return [call or name, *([textwrap.indent(text, indent or INDENT)] if text else [])]


def _call(name: str, value: Any, *, bound: bool = False) -> str:
    """Return the signature with the name.

    It is empty if programs do not call the value.
    """
    if inspect.isclass(value):
        own = is_dataclass(value) or hasattr(value, "__struct_fields__") or "__init__" in vars(value)
        # Actors are started, and handles are returned by functions: programs make neither.
        made_here = hasattr(value, "start_link") or any(base.__name__ == "Handle" for base in value.__mro__)
        if not own or made_here:
            return ""
    elif not inspect.isroutine(value):
        return ""
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):
        return ""
    parameters = list(signature.parameters.values())
    if bound and parameters and parameters[0].name in ("self", "cls"):
        parameters = parameters[1:]
    returns = signature.return_annotation
    if inspect.isclass(value):
        returns = inspect.Signature.empty
    return _spell(name, signature.replace(parameters=parameters, return_annotation=returns))


def _spell(name: str, signature: inspect.Signature) -> str:
    text = _clean(f"{name}{signature}")
    if len(text) <= WIDTH or not signature.parameters:
        return text
    returns = signature.return_annotation
    whole = _clean(str(signature.replace(parameters=[])))
    lines: list[str] = []
    kind = None
    for each in signature.parameters.values():
        if each.kind is inspect.Parameter.KEYWORD_ONLY and kind not in (each.kind, inspect.Parameter.VAR_POSITIONAL):
            lines.append("*")
        elif kind is inspect.Parameter.POSITIONAL_ONLY and each.kind is not kind:
            lines.append("/")
        kind = each.kind
        lines.append(_clean(str(each)))
    end = f") {whole.removeprefix('() ')}" if returns is not inspect.Signature.empty else ")"
    return "\n".join([f"{name}(", *(f"{INDENT}{line}," for line in lines), end])


def _clean(text: str) -> str:
    """Return a signature without the modules of its types, and without quotes."""
    text = _PREFIXES.sub("", text).replace("<factory>", "...").replace("~", "")
    text = re.sub(r"\*<class '(\w+)'>", r"Unpack[\1]", text)
    text = re.sub(r"<class '(\w+)'>", r"\1", text)
    return re.sub(r"(: |-> )'([^']+)'", r"\1\2", text)


def _documentation(value: object, name: str) -> str:
    """Return the docstring.

    That of a constant or an alias is the text that follows it in its module.
    """
    if inspect.isclass(value):
        return inspect.cleandoc(value.__doc__ or "")
    if inspect.isroutine(value) or isinstance(value, ModuleType):
        return inspect.getdoc(value) or ""
    for module in [each for key, each in sys.modules.items() if key.startswith("gennostr.")]:
        if vars(module).get(name) is value:
            text = _texts(module).get(name)
            if text is not None and text[1]:
                return text[1]
    return inspect.getdoc(type(value)) or "" if type(value).__module__.startswith("gennostr") else ""


def attributes(class_: type) -> dict[str, tuple[str, str]]:
    """Return the annotated public attributes of a class: types and texts.

    Those of its bases in this library are included.
    """
    found: dict[str, tuple[str, str]] = {}
    for base in reversed(class_.__mro__):
        if base.__module__.startswith("gennostr"):
            found |= _texts(base)
    values = is_dataclass(class_) or hasattr(class_, "__struct_fields__") or issubclass(class_, dict)
    return {name: each for name, each in found.items() if values or each[1]}


def _texts(owner: Any) -> dict[str, tuple[str, str]]:
    """Return the attributes of a class or module: types, and the texts after them."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(owner)))
    except (OSError, TypeError, SyntaxError):
        return {}
    body = tree.body
    if inspect.isclass(owner):
        first = body[0]
        body = first.body if isinstance(first, ast.ClassDef) else []
        # What is hidden from type checkers is there for readers.
        body = [inner for each in body for inner in (each.body if isinstance(each, ast.If) else [each])]
    found: dict[str, tuple[str, str]] = {}
    for statement, following in zip(body, [*body[1:], None], strict=True):
        name, kind = _assigned(statement)
        if name and not name.startswith("_"):
            text = ""
            if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
                text = inspect.cleandoc(str(following.value.value))
            found[name] = kind, text
    return found if inspect.ismodule(owner) else {name: each for name, each in found.items() if each[0] or each[1]}


def _assigned(statement: ast.stmt) -> tuple[str, str]:
    """Return the name that a statement assigns or annotates, and its type.

    Both are empty if it is another statement.
    """
    if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
        default = f" = {ast.unparse(statement.value)}" if statement.value is not None else ""
        if default.startswith(" = field("):
            default = ""
        return statement.target.id, _clean(ast.unparse(statement.annotation)) + default
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1 and isinstance(statement.targets[0], ast.Name):
        return statement.targets[0].id, ""
    return "", ""
