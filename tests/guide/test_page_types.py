"""The programs of the guide and of README are strictly typed."""

from pathlib import Path

import mypy.api

from gennostr import guide
from tests import test_readme
from tests.guide.running import ROOT, write_programs


def test_the_programs_of_all_pages_and_of_readme_pass_a_strict_type_checker(tmp_path: Path) -> None:
    written: dict[str, str] = {}
    for topic in guide.TOPICS:
        for name in write_programs(tmp_path, topic):
            assert name not in written, f"{name} is in {topic} and in {written[name]}"
            written[name] = topic
    server, client, embedding = test_readme.programs()
    (tmp_path / "readme_server.py").write_text(server)
    (tmp_path / "readme_client.py").write_text(f'{client}\nrelay_url = "ws://localhost"\n\n{embedding}')
    config = tmp_path / "mypy.ini"
    config.write_text(f"[mypy]\nstrict = True\nmypy_path = {ROOT}\nincremental = False\n")
    said, errors, status = mypy.api.run(["--config-file", str(config), *map(str, sorted(tmp_path.glob("*.py")))])
    assert status == 0, said + errors
