"""The guide and the reference as HTML."""

import subprocess
from inspect import ismodule
from pathlib import Path

import gennostr
from gennostr import guide, nostr, store, testing


def test_one_command_builds_them_without_a_warning(tmp_path: Path) -> None:
    command = Path(gennostr.__file__).parents[1] / ".ci" / "docs"
    done = subprocess.run([command, tmp_path], capture_output=True, text=True, timeout=120, check=True)
    assert "Warn" not in done.stderr
    for topic in guide.TOPICS:
        assert (tmp_path / f"gennostr/guide/{topic}.html").exists()
    for package in (gennostr, nostr, store, testing):
        text = (tmp_path / (package.__name__.replace(".", "/") + ".html")).read_text()
        names = [name for name in package.__all__ if not ismodule(getattr(package, name))]
        missing = [name for name in names if f'id="{name}"' not in text]
        assert not missing
