"""The programs of the page `embedding`, and what it says of signals."""

import http.client
import signal
from pathlib import Path

import pytest

from tests.guide.running import DEADLINE, program, write_programs

HITS = """
import http.server
import runpy

class Server(http.server.ThreadingHTTPServer):
    def __init__(self, address, handler):
        assert address == ("127.0.0.1", 8000)
        super().__init__(("127.0.0.1", 0), handler)
        print(self.server_port, flush=True)

http.server.ThreadingHTTPServer = Server
try:
    runpy.run_path("hits.py", run_name="__main__")
except KeyboardInterrupt:
    from gennostr import whereis
    print("interrupted", whereis("hits"))
"""

TICKER = """
import runpy
import time

time.strftime = lambda format: f"ticks as {format}"
runpy.run_path("wall_clock.py", run_name="__main__")
print("ended", flush=True)
"""


def get(port: int, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def test_the_web_server_counts_until_ctrl_c(tmp_path: Path) -> None:
    write_programs(tmp_path, "embedding")
    with program(tmp_path, HITS) as hits:
        port = int(hits.line())
        assert [get(port, path) for path in ("/a", "/a", "/b")] == [
            (200, b"/a: 1\n"),
            (200, b"/a: 2\n"),
            (200, b"/b: 1\n"),
        ]
        hits.signal(signal.SIGINT)
        out, errors, status = hits.end()
    assert (out, status) == ("interrupted None\n", 0), errors


def test_the_web_server_says_when_it_cannot_count(tmp_path: Path) -> None:
    write_programs(tmp_path, "embedding")
    stop = (
        "import gennostr\nserve = Server.serve_forever\ndef quit(self):\n    gennostr.stop('hits')\n    serve(self)\n"
    )
    code = HITS.replace("\nhttp.server.Threading", f"\n{stop}Server.serve_forever = quit\nhttp.server.Threading")
    code = code.replace(
        "runpy.run_path", "gennostr.Supervisor.start = lambda children: children[0].start()\n    runpy.run_path"
    )
    with program(tmp_path, code) as hits:
        assert get(int(hits.line()), "/a") == (503, b"try again later\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_program_ends_in_order_at_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    write_programs(tmp_path, "embedding")
    with program(tmp_path, TICKER) as ticker:
        assert ticker.line() == "ticks as %H:%M:%S"
        ticker.signal(number)
        out, errors, status = ticker.end()
    assert (errors, status) == ("", 0)
    assert out.splitlines()[-2:] == ["1 ticks, ended by SHUTDOWN", "ended"]
