"""The page `operations` lists every record that the library logs, and no other."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from gennostr import telemetry
from tests.guide.pages import page
from tests.guide.running import ROOT

METHODS = {"debug", "info", "warning", "error", "exception", "critical", "log"}
HIDDEN = {
    ("gennostr.otp.crash_report", "..."): "... crashed in ...: ...",  # the report's text
    ("gennostr.client.gen_nostr", "..."): "...: ...: ...",  # a line of the error log
}
"""The text of records that are made of one value."""


def text_of(node: ast.expr, function: ast.AST) -> str:
    """Return a record's text, with ``...`` for what varies."""
    match node:
        case ast.Constant(value=str(text)):
            return re.sub(r"%[rsd]", "...", text)
        case ast.JoinedStr(values=values):
            return "".join(str(each.value) if isinstance(each, ast.Constant) else "..." for each in values)
        case ast.Name(id=name):
            [value] = [
                each.value
                for each in ast.walk(function)
                if isinstance(each, ast.Assign) and [getattr(target, "id", None) for target in each.targets] == [name]
                if isinstance(each.value, ast.Constant | ast.JoinedStr)
            ]
            return text_of(value, function)
    raise AssertionError(f"a log record's text is built in a way that this test does not read: {ast.unparse(node)}")


def records_of(path: Path) -> Iterator[tuple[str, str, str]]:
    """Yield logger, level and text of each record that a module logs."""
    logger = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    tree = ast.parse(path.read_text())
    functions = [each for each in ast.walk(tree) if isinstance(each, ast.FunctionDef)]
    for function in functions:
        for call in ast.walk(function):
            match call:
                case ast.Call(func=ast.Attribute(value=ast.Name(id="logger"), attr="log")):
                    continue  # the effects of a session, which follow
                case ast.Call(func=ast.Attribute(value=ast.Name(id="logger"), attr=level), args=[text, *_]):
                    if level in METHODS:
                        found = text_of(text, function)
                        shown = "ERROR" if level == "exception" else level.upper()
                        yield logger, shown, HIDDEN.get((logger, found), found)
                case ast.Call(func=ast.Name(id="Log"), args=[ast.Constant(value=str(level)), text]):
                    if function.name != "_warn":
                        yield "gennostr.client.relay_pool", level.upper(), text_of(text, function)
                case ast.Call(func=ast.Attribute(attr="_warn"), args=[text]):
                    yield "gennostr.client.relay_pool", "WARNING", f"... {text_of(text, function)}"


def logged() -> set[tuple[str, str, str]]:
    paths = (path for path in (ROOT / "gennostr").rglob("*.py") if "guide" not in path.parts)
    return {record for path in paths for record in records_of(path)}


def listed() -> set[tuple[str, str, str]]:
    """Return what the page's last section lists."""
    _, _, text = page("operations").partition("\nAll log records\n---------------\n")
    found = set()
    for logger, entries in re.findall(r"^`(gennostr[\w.]+)`.*:\n\n((?:^[- ].*\n)+)", text, re.MULTILINE):
        for entry in re.split(r"^- ", entries, flags=re.MULTILINE)[1:]:
            entry = " ".join(entry.split())  # noqa: PLW2901 - in one line
            level, _, rest = entry.partition(" ")
            before, _, _ = rest.rpartition("``: ")
            found |= {(logger, level, each) for each in re.findall(r"``(.*?)``", before + "``")}
    return found


def test_every_log_record_is_listed() -> None:
    assert len(logged()) > 30
    assert sorted(logged() - listed()) == []


def test_every_record_that_is_listed_exists() -> None:
    assert sorted(listed() - logged()) == []


def test_every_telemetry_event_that_is_named_exists() -> None:
    named = set(re.findall(r"`((?:actor|supervisor|mailbox|connection)\.\w+)`", page("operations")))
    assert named
    events = set(re.findall(r"^- ``([a-z_.]+)``: ", telemetry.__doc__ or "", re.MULTILINE))
    assert named <= events, events
