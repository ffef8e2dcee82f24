"""The program of the page on names and registries."""

from pathlib import Path

from tests.guide.running import run, write


def test_rooms_are_started_on_demand_and_found_by_their_topic(tmp_path: Path) -> None:
    said = run(write("names_and_registries", "rooms.py", tmp_path))
    assert said == "['hello', 'is there any left?'] ['hello?']\n"
