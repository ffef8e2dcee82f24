"""A client of the tests, and programs of pages that are run with arguments."""

from pathlib import Path

from gennostr import GenNostr
from gennostr.nostr import Event


class Author(GenNostr[None]):
    """Publishes what a test wants."""

    signer = "0a" * 32

    def init(self, init_arg: str) -> None:
        self.add_relay(init_arg)


def publish(url: str, *events: Event) -> None:
    """Publish events to a relay; return when it has them."""
    with Author.start(url) as author:
        for publication in [author.publish(event) for event in events]:
            assert all(publication.result().values()), publication.result()


def started(directory: Path, name: str, *arguments: str) -> str:
    """Return code that runs a program of a page as ``python name arguments`` does."""
    path = str(directory / name)
    return f"import runpy, sys; sys.argv = {[path, *arguments]!r}; runpy.run_path({path!r}, run_name='__main__')"
