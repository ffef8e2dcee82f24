"""The cost of a hostile relay: ``python -m benchmarks.attacks [PART OF A NAME]``.

Each attack runs over a real socket against a client in its own process. The table shows the client's callbacks, the
growth of its peak resident memory, the limit that applies, and the seconds until the attack was over: when the
connection ended, or when a good event after the attack was delivered.

The exit status is 1 if an attack leads to other callbacks than expected, takes longer than DEADLINE, or makes the
process grow by more than twice its limit plus SLACK.
"""

import json
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from benchmarks.measure import machine
from benchmarks.relays import _upgrade
from gennostr import GenNostr, Ok, Overflow, Relay
from gennostr.client.frames import BINARY, CLOSE, CONTINUATION, PING, TEXT
from gennostr.exceptions import ProtocolError
from gennostr.nostr.messages import EventMessage
from gennostr.testing.relay_socket import encode_frame

DEADLINE = 20.0
"""The maximum duration of an attack, in seconds."""
MESSAGE = 5 * 1024 * 1024
HANDSHAKE = 64 * 1024
READS = 256 * 1024
OUTBOX = 1024 * 1024
SLACK = 2 * 1024 * 1024
"""The memory that any connection takes, and that the allocator keeps."""

Bytes = Iterator[bytes]


def event(tags: bytes = b"[]", content: bytes = b'""') -> bytes:
    """Return an EVENT message as JSON."""
    return b'["EVENT","s",{"id":"%s","pubkey":"%s","created_at":1,"kind":1,"tags":%s,"content":%s,"sig":"%s"}]' % (
        b"a" * 64,
        b"b" * 64,
        tags,
        content,
        b"c" * 128,
    )


ALIVE = encode_frame(TEXT, event(content=b'"alive"'))


@dataclass
class Attack:
    """The bytes that the relay sends, after the upgrade or instead of its response, and the expected callbacks."""

    name: str
    sends: Callable[[], Bytes]
    expected: str
    limit: int = MESSAGE
    options: dict[str, Any] = field(default_factory=dict)
    raw: bool = False
    compressed: bool = False
    """Whether the relay agrees to permessage-deflate."""
    stays: bool = True
    """Whether the relay keeps the connection open afterwards; otherwise it resets it."""
    deaf: bool = False
    """Whether the relay never reads, while the client sends as much as it can."""
    sleeps: float = 0.0
    """Seconds that each callback takes."""


def _all(*parts: bytes) -> Callable[[], Bytes]:
    return lambda: iter(parts)


def _for_ever(part: bytes, head: bytes = b"", every: float = 0.0) -> Callable[[], Bytes]:
    def sends() -> Bytes:
        yield head
        while True:
            yield part
            if every:
                time.sleep(every)

    return sends


def _times(part: bytes, times: int, tail: bytes = ALIVE, head: bytes = b"") -> Callable[[], Bytes]:
    return lambda: iter([head, *[part] * times, tail])


def _header(first: int, length: int) -> bytes:
    return bytes((first, 127)) + struct.pack("!Q", length)


def _bomb(size: int, fragment: int | None = None) -> bytes:
    """Return the frames of a compressed message that inflates to `size` zeros; zlib makes a thousandth of it."""
    deflate = zlib.compressobj(9, wbits=-15)
    payload = (deflate.compress(bytes(size)) + deflate.flush(zlib.Z_SYNC_FLUSH))[:-4]
    if fragment is None:
        return encode_frame(BINARY, payload, rsv=4)
    parts = [payload[at : at + fragment] for at in range(0, len(payload), fragment)]
    first = encode_frame(BINARY, parts[0], fin=False, rsv=4)
    return first + b"".join(encode_frame(CONTINUATION, part, fin=False) for part in parts[1:])


def _values(value: bytes, label: bytes = b"") -> Callable[[], Bytes]:
    listed = b"[" + b",".join([value] * ((MESSAGE - 600) // (len(value) + 1))) + b"]"
    return lambda: iter([encode_frame(TEXT, label + listed + b"]" if label else event(listed)), ALIVE])


_VIOLATIONS = {
    "reserved bits": (b"\xc1\x00", 1002),
    "reserved opcode": (b"\x83\x00", 1002),
    "masked frame": (b"\x81\x80\0\0\0\0", 1002),
    "fragmented ping": (b"\x09\x00", 1002),
    "ping of 126 bytes": (b"\x89\x7e\x00\x7e", 1002),
    "continuation of nothing": (b"\x80\x00", 1002),
    "message inside a message": (b"\x01\x01a\x81\x01b", 1002),
    "length in too many bytes": (b"\x81\x7e\x00\x05", 1002),
    "length of 2^63": (_header(0x81, 1 << 63), 1002),
    "close code 1005": (encode_frame(CLOSE, struct.pack("!H", 1005)), 1002),
    "close of one byte": (encode_frame(CLOSE, b"x"), 1002),
    "close reason not UTF-8": (encode_frame(CLOSE, b"\x03\xe8\xff"), 1007),
    "text not UTF-8": (encode_frame(TEXT, b"\xff"), 1007),
    "UTF-8 cut off by the end of fragments": (
        encode_frame(TEXT, b"\xe2", fin=False) + encode_frame(CONTINUATION, b"\x82"),
        1007,
    ),
}
ATTACKS = [
    *(Attack(name, _all(sent), f"ProtocolError {code}") for name, (sent, code) in _VIOLATIONS.items()),
    Attack("frame that announces 4 GiB", _all(_header(0x81, 1 << 32)), "ProtocolError 1009"),
    Attack("frame that announces 2^63 - 1", _all(_header(0x82, (1 << 63) - 1)), "ProtocolError 1009"),
    Attack("frame of 5 MiB and a byte, sent", _all(encode_frame(TEXT, b"x" * (MESSAGE + 1))), "ProtocolError 1009"),
    Attack(
        "fragments of 1 KiB without end",
        _for_ever(encode_frame(CONTINUATION, b"x" * 1024, fin=False), encode_frame(TEXT, b"x", fin=False)),
        "ProtocolError 1009",
    ),
    *(
        Attack(
            f"bomb of 5 MiB, limit {limit >> 10:,} KiB",
            _all(_bomb(5 * 2**20)),
            "ProtocolError 1009",
            limit,
            {"max_message_size": limit},
            compressed=True,
        )
        for limit in (64 * 2**10, 2**20, 4 * 2**20)
    ),
    Attack("bomb of 6 MiB in 6 KiB", _all(_bomb(6 * 2**20)), "ProtocolError 1009", compressed=True),
    Attack("bomb of 256 MiB", _all(_bomb(256 * 2**20)), "ProtocolError 1009", compressed=True),
    Attack("bomb of 256 MiB in fragments", _all(_bomb(256 * 2**20, 100)), "ProtocolError 1009", compressed=True),
    Attack("200 messages of 4 MiB in 800 KiB", _times(_bomb(2**22), 200), "MessageError, alive", compressed=True),
    Attack("20,000 messages of 20 KiB", _times(_bomb(20_000), 20_000), "MessageError, alive", READS, compressed=True),
    Attack(
        "final blocks, a million",
        _times(encode_frame(TEXT, b"\x03\x00" * 10_000 + b"\x00", rsv=4), 100),
        "MessageError, alive",
        READS,
        compressed=True,
    ),
    Attack("invalid compressed data", _all(encode_frame(TEXT, b"\x07", rsv=4)), "ProtocolError 1007", compressed=True),
    Attack(
        "400,000 fragments of one byte",
        _times(
            encode_frame(CONTINUATION, b" ", fin=False), 400_000, encode_frame(CONTINUATION, b"") + ALIVE, b"\x01\x00"
        ),
        "MessageError, alive",
    ),
    Attack(
        "answer without end, one header",
        _for_ever(b"x" * 1000, b"HTTP/1.1 101 x\r\nA: "),
        "HandshakeError",
        HANDSHAKE,
        raw=True,
    ),
    Attack(
        "answer without end, many headers",
        _for_ever(b"A: b\r\n", b"HTTP/1.1 101 x\r\n"),
        "HandshakeError",
        HANDSHAKE,
        raw=True,
    ),
    Attack(
        "403 with a body without end",
        _for_ever(b"x" * 1000, b"HTTP/1.1 403 No\r\n\r\n"),
        "HandshakeError",
        HANDSHAKE,
        raw=True,
    ),
    Attack(
        "answer, a byte every 0.1 s",
        _for_ever(b"x", b"HTTP/1.1 101 x\r\nA: ", 0.1),
        "ConnectTimeout",
        HANDSHAKE,
        {"connect_timeout": 2.0},
        raw=True,
    ),
    Attack("no answer", _all(), "ConnectTimeout", HANDSHAKE, {"connect_timeout": 2.0}, raw=True),
    Attack("a million tags", _values(b'["a"]'), "MessageError, alive"),
    Attack("empty tags, 5 MiB", _values(b"[]"), "MessageError, alive"),
    Attack("one tag, 5 MiB", _values(b'"a"', b"[["), "MessageError, alive"),
    Attack("unknown message of objects, 5 MiB", _values(b"{}", b'["X",'), "MessageError, alive"),
    Attack(
        "20,000 tags",
        _all(encode_frame(TEXT, event(b"[" + b",".join([b'["p","%s"]' % (b"a" * 64)] * 20_000) + b"]"))),
        "event",
    ),
    Attack("nesting, 60,000 deep", _all(encode_frame(TEXT, b"[" * 60_000), ALIVE), "MessageError, alive"),
    Attack("nesting, 5 million deep", _all(encode_frame(TEXT, b"[" * 5_000_000), ALIVE), "MessageError, alive"),
    Attack("content of 5 MiB", _all(encode_frame(TEXT, event(content=b'"%s"' % (b"x" * (MESSAGE - 600))))), "event"),
    Attack(
        "number of a million digits",
        _all(encode_frame(TEXT, b'["X",%s]' % (b"1" * 1_000_000)), ALIVE),
        "MessageError, alive",
    ),
    Attack(
        "subscription id of an object",
        _all(encode_frame(TEXT, event().replace(b'"s"', b"{}")), ALIVE),
        "MessageError, alive",
    ),
    Attack(
        "forged event",
        _all(encode_frame(TEXT, event()), encode_frame(PING, b"")),
        "MessageError",
        options={"verify": True},
    ),
    Attack("200,000 pings, pongs not read", _times(encode_frame(PING, b"x" * 125), 200_000), "alive", READS),
    Attack("200,000 empty texts", _times(encode_frame(TEXT, b""), 200_000), "MessageError, alive", READS),
    Attack("flood while the callback sleeps", _for_ever(ALIVE), "event", READS, sleeps=3.0),
    Attack(
        "flood of binary rubbish", _times(encode_frame(BINARY, b"\xff" * 1000), 20_000), "MessageError, alive", READS
    ),
    Attack(
        "never reads, and is silent",
        _all(),
        "Overflow, PingTimeout",
        OUTBOX,
        {"ping_interval": 1.0, "ping_timeout": 1.0},
        deaf=True,
    ),
    Attack("half-open", _all(), "PingTimeout", READS, {"ping_interval": 1.0, "ping_timeout": 1.0}),
    Attack("reset in a frame", _all(b"\x81\x7e\x10\x00half"), "ConnectionResetError", READS, stays=False),
]


def _serve(listener: socket.socket, attack: Attack) -> None:
    sock, _ = listener.accept()
    with sock, suppress(OSError):
        if attack.deaf:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        head = b""
        while b"\r\n\r\n" not in head:
            head += sock.recv(4096)
        if not attack.raw:
            sock.sendall(_upgrade(head, compressed=attack.compressed) or b"")
        for part in attack.sends():
            sock.sendall(part)
        if not attack.stays:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return
        while attack.deaf or sock.recv(65536):
            if attack.deaf:
                time.sleep(DEADLINE)
                return


class _Victim(GenNostr[None]):
    """Puts the name of each callback, or of the error it got, in a queue."""

    def init(self, init_arg: tuple[SimpleQueue[str], float]) -> Ok[None]:
        self.called, self.sleeps = init_arg
        return Ok(None)

    def handle_connect(self, relay: Relay, state: None) -> None:
        self.called.put("connect")

    def handle_event(self, message: EventMessage, relay: Relay, state: None) -> None:
        self.called.put("alive" if message.event.content == "alive" and not self.sleeps else "event")
        time.sleep(self.sleeps)

    def handle_error(self, reason: Any, relay: Relay, state: None) -> None:
        code = f" {reason.code}" if isinstance(reason, ProtocolError) else ""
        self.called.put(type(reason).__name__ + code)

    def handle_disconnect(self, reason: Any, relay: Relay, state: None) -> None:
        self.called.put("disconnect")


def _peak() -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def suffer(attack: Attack, url: str) -> dict[str, Any]:
    """Run the client; return its callbacks, the bytes that it grew by, and the seconds."""
    import websocket  # noqa: F401, PLC0415 - the first connection imports it, and no attack should be charged for that

    queue: SimpleQueue[str] = SimpleQueue()
    called: dict[str, int] = {}
    with _Victim.start((queue, attack.sleeps)) as client:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # resets the peak
        before, begun = _peak(), time.monotonic()
        client.add_relay(url, reconnect=[600.0], **attack.options)
        if attack.deaf:
            while queue.get(timeout=DEADLINE) != "connect":
                pass
            try:
                while True:
                    client.send_message(["X", "x" * 10_000], url)
            except Overflow:
                called["Overflow"] = 1
        last = attack.expected.rsplit(", ", 1)[-1]
        while time.monotonic() - begun < DEADLINE:
            try:
                one = queue.get(timeout=max(0.0, begun + DEADLINE - time.monotonic()))
            except Empty:
                break
            called[one] = called.get(one, 0) + 1
            if one == "disconnect" or (one == last and last in ("alive", "event", "MessageError")):
                break
        if attack.sleeps:
            time.sleep(attack.sleeps)  # the flood continues meanwhile
        seconds = time.monotonic() - begun
        return {"called": called, "bytes": _peak() - before, "seconds": seconds}


def _judge(attack: Attack, called: dict[str, int]) -> bool:
    seen = [one for one in called if one not in ("connect", "disconnect")]
    ends = attack.expected.rsplit(", ", 1)[-1] not in ("alive", "event", "MessageError")
    return ", ".join(seen) == attack.expected and called.get("disconnect", 0) == ends


def main() -> int:
    """Run the attacks; return the exit status."""
    if len(sys.argv) == 4 and sys.argv[1] == "--one":
        (attack,) = (each for each in ATTACKS if each.name == sys.argv[2])
        print(json.dumps(suffer(attack, sys.argv[3])))
        return 0
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    print(machine("pykka", "websocket-client"))
    print(f"{'attack':38}{'the client gets':28}{'MiB held':>9}{'limit':>8}{'seconds':>9}")
    bad = 0
    for attack in ATTACKS:
        if wanted not in attack.name:
            continue
        with socket.create_server(("127.0.0.1", 0)) as listener:
            threading.Thread(target=_serve, args=(listener, attack), daemon=True).start()
            url = f"ws://127.0.0.1:{listener.getsockname()[1]}/"
            command = [sys.executable, "-m", "benchmarks.attacks", "--one", attack.name, url]
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=4 * DEADLINE)
        seen = json.loads(done.stdout.splitlines()[-1])
        called = ", ".join(f"{one} x {n:,}" if n > 1 else one for one, n in seen["called"].items() if one != "connect")
        problems = [
            *([] if _judge(attack, seen["called"]) else [f"expected {attack.expected}"]),
            *(["hangs"] if seen["seconds"] >= DEADLINE else []),
            *(["holds too much"] if seen["bytes"] > 2 * attack.limit + SLACK else []),
        ]
        bad += bool(problems)
        size, limit = seen["bytes"] / 2**20, attack.limit / 2**20
        print(
            f"{attack.name:38}{called:34}{size:9.1f}{limit:8.2f}{seen['seconds']:9.2f}  {'; '.join(problems)}",
            flush=True,
        )
    print(f"{bad} of the attacks went otherwise than they should")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
