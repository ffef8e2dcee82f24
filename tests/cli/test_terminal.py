"""What is printed: never more than text."""

import io
import json

from gennostr.cli.terminal import Terminal, fitting, json_line, printable


def test_what_a_terminal_would_obey_is_escaped_in_text() -> None:
    assert printable("a\x1b[31m\n\x9b\u202e\u200bé漢😀") == "a\\x1b[31m\\n\\x9b\\u202e\\u200bé漢😀"


def test_and_in_json_which_means_the_same_afterwards() -> None:
    text = {chr(code): chr(code) for code in [*range(0x100), *range(0x2000, 0x2070), 0xFEFF]}
    shown = json_line(text)
    assert json.loads(shown) == text
    spaces = dict.fromkeys([0xA0, *range(0x2000, 0x200B), 0x202F, 0x205F])
    assert shown.translate(spaces).isprintable()


def test_a_line_fits_into_its_columns_of_which_some_characters_take_two() -> None:
    assert fitting("abc", 3) == "abc"
    assert fitting("abcd", 3) == "abc"
    assert fitting("漢字", 3) == "漢"
    assert fitting("漢字", 4) == "漢字"


def test_a_pipe_gets_neither_colours_nor_a_status_line() -> None:
    out = io.StringIO()
    terminal = Terminal(out)
    terminal.status("working")
    terminal.line("one", "red")
    terminal.picture([("two", "green")])
    terminal.picture([("three", None)])
    assert out.getvalue() == "one\ntwo\n\nthree\n"
