"""Without coincurve, what needs it is refused at once, in the caller, with the extra to install."""

import subprocess
import sys

import pytest

BLOCKED = """
import sys
sys.modules["coincurve"] = None  # an import of it fails, as if it were not installed
from gennostr import GenNostr, Ok, Relay, StartError, fetch
from gennostr.nostr import Event

URL = "ws://127.0.0.1:1"

class Plain(GenNostr[None]):
    def handle_error(self, reason, relay, state):
        pass

    def handle_disconnect(self, reason, relay, state):
        pass

def refused(use):
    try:
        use()
    except (ImportError, StartError) as error:
        if isinstance(error, StartError):  # raised in init
            error = error.reason
        assert "pip install 'gennostr[crypto]'" in str(error), error
        assert error.name == "coincurve"
    else:
        raise AssertionError("not refused")
"""
PROGRAMS = {
    "add_relay": """
with Plain.start() as client:
    refused(lambda: client.add_relay(URL, verify=True))
    refused(lambda: client.add_relay(Relay.new(URL, verify=True)))
    assert client.list_relays() == []
    client.add_relay(URL)
""",
    "reconnect": """
with Plain.start() as client:
    refused(lambda: client.reconnect(Relay.new(URL, verify=True)))
""",
    "add_relay in init": """
class Verifying(Plain):
    def init(self, init_arg):
        self.add_relay(URL, verify=True)
        return Ok(None)

refused(Verifying.start)
""",
    "a signer of the class": """
class Signing(Plain):
    signer = "1" * 64

for start in (Signing.start, Signing.start_link):
    try:
        start()
    except ImportError as error:
        assert "pip install 'gennostr[crypto]'" in str(error), error
    else:
        raise AssertionError("not refused")
""",
    "a signer of init": """
class Signing(Plain):
    def init(self, init_arg):
        self.signer = [lambda **fields: None, b"1" * 32]
        return Ok(None)

refused(Signing.start)
""",
    "fetch": """
refused(lambda: fetch({}, [URL]))
refused(lambda: fetch({}, [URL], verify=False, signer="1" * 64))
fetch({}, [URL], verify=False).close()
""",
    "a callable signer needs nothing": """
class Signing(Plain):
    def init(self, init_arg):
        self.signer = lambda **fields: None
        self.add_relay(URL)
        return Ok(None)

with Signing.start() as client:
    assert client.is_alive()
""",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_what_needs_coincurve_is_refused_in_the_caller(name: str) -> None:
    program = BLOCKED + PROGRAMS[name]
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
