"""Tracebacks in the log: the text of an exception cannot forge a line of the log."""

import ast
import importlib
import logging
from pathlib import Path

import pytest

import gennostr
from gennostr.otp import telemetry, tracebacks

EVIL = "calm\n2026-01-01 ERROR all is lost\r\x1b[2J\x9b31m\u2028\u202e\u2066evil\x00\x7f"
ROOT = Path(gennostr.__file__).parent


def logs_tracebacks(path: Path) -> bool:
    """Whether a module calls ``logger.exception``, or logs with ``exc_info``."""
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    return any(
        ast.unparse(call.func) == "logger.exception" or any(each.arg == "exc_info" for each in call.keywords)
        for call in calls
    )


MODULES = {
    ".".join(path.relative_to(ROOT.parent).with_suffix("").parts)
    for path in ROOT.rglob("*.py")
    if logs_tracebacks(path)
}


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_module_that_logs_tracebacks_escapes_them(name: str) -> None:
    assert tracebacks.escape in importlib.import_module(name).logger.filters


def test_the_modules_that_log_tracebacks_are_found() -> None:
    assert {"gennostr.otp.crash_report", "gennostr.otp.engine", "gennostr.otp.clock"} <= MODULES


def test_what_a_handler_of_telemetry_raises_writes_no_line_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    def failing(*_: object) -> None:
        raise ValueError(EVIL)

    telemetry.attach(failing)
    telemetry.emit("any", {}, {})
    assert "evil" in caplog.text
    assert all(line.isprintable() for line in caplog.text.split("\n"))
    assert not [line for line in caplog.text.splitlines() if line.startswith("2026-01-01")]


def test_a_traceback_is_indented_escaped_and_bounded() -> None:
    record = logging.LogRecord("any", logging.ERROR, __file__, 1, "failed", (), None)
    assert tracebacks.escape(record)
    assert record.exc_text is None
    error = ValueError(EVIL * 10_000)
    record.exc_info = (ValueError, error, None)
    assert tracebacks.escape(record)
    text = logging.Formatter().format(record)
    assert "evil" in text
    assert len(text) < 10 * tracebacks.MOST_SHOWN
    assert all(line.isprintable() and line.startswith("  ") for line in text.split("\n")[1:])
