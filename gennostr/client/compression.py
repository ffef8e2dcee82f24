"""permessage-deflate (RFC 7692): its negotiation, and compressing messages.

Pure: header values and bytes in, bytes out, and no I/O.

The client offers `OFFER`, as browsers do, and `agreed` reads the relay's answer. A header that was not offered in every
part, or that is not legal, fails the handshake: the two ends would disagree about the bytes that follow.

What a message costs, and why it is done this way:

- Inflating is bounded while it happens: `Inflater` stops at the limit of the message, so a message of 5 KiB that would
  become 5 MiB or more never does. Output is collected in pieces of 64 KiB, input is fed in pieces of 16 KiB, since zlib
  copies what it has not read yet at each piece of output.
- An inflater takes about 40 KiB, most of it the window of 2**15 bytes, and it must keep them between messages unless
  the relay agreed to ``server_no_context_takeover``. It is created by the first compressed message, so a connection
  that has received none pays nothing.
- A deflater with zlib's default parameters takes 256 KiB. Ours has a window of 2**12 bytes and memory level 5, which is
  32 KiB, for 3 % more bytes. It is created by the first message that is compressed, and dropped when the relay has been
  silent: a new one refers to nothing that came before, so the relay need not know.
- Messages below `THRESHOLD` are sent as they are: most of a client's messages, which compress badly by themselves.

A block with BFINAL set ends zlib's stream, not the message (7.2.3.4): what follows is read by a new inflater, whose
window is empty. Chromium does the same.
"""

import re
import zlib
from dataclasses import dataclass
from typing import Final, TypeAlias

EXTENSION: Final = "permessage-deflate"
OFFER: Final = f"{EXTENSION}; client_max_window_bits"
"""The value of our Sec-WebSocket-Extensions header: the relay may choose all parameters."""
THRESHOLD: Final = 1024
"""The size in bytes from which our messages are compressed."""
TAIL: Final = b"\x00\x00\xff\xff"
"""The end of an empty stored block, which each message ends with and which is not sent (7.2.1)."""
MAX_WINDOW_BITS: Final = 15
_OWN_WINDOW_BITS = 12
_MEMORY_LEVEL = 5
_INPUT = 16 * 1024
_OUTPUT = 64 * 1024

# RFC 9110, 5.6.2 to 5.6.4: a token, a quoted string, and the whitespace around the separators of a list.
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_QUOTED = re.compile(r'"((?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\[\t\x20-\x7e\x80-\xff])*)"')
_SPACE = re.compile(r"[ \t]*")
_BITS = re.compile(r"[89]|1[0-5]")  # no leading zeros (7.1.2)

Parameters: TypeAlias = list[tuple[str, str | None]]
"""The parameters of an extension, in order, with duplicates; without "=", the value is missing: None."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """The parameters that both ends agreed to (RFC 7692, 7.1).

    One set for each direction: ``server`` for what the relay sends, ``client`` for what we send.
    """

    server_no_context_takeover: bool = False
    """Whether the relay compresses each message by itself."""
    client_no_context_takeover: bool = False
    """Whether we do."""
    server_max_window_bits: int = MAX_WINDOW_BITS
    """The relay's window has at most 2 to this power bytes."""
    client_max_window_bits: int = MAX_WINDOW_BITS
    """Ours has."""


def parse_extensions(value: str) -> list[tuple[str, Parameters]]:
    """Return the extensions in a Sec-WebSocket-Extensions header, in order.

    The grammar is that of RFC 6455, 9.1. Elements of the list may be empty. A value may be a quoted string if it is a
    token without the quotes.

    Raises:
        ValueError: the value does not follow the grammar; the message has the rest that does not.

    >>> from gennostr.client.compression import parse_extensions
    >>> parse_extensions('permessage-deflate; server_max_window_bits="10", x-other')
    [('permessage-deflate', [('server_max_window_bits', '10')]), ('x-other', [])]
    """
    found: list[tuple[str, Parameters]] = []
    at = _skip(value, 0)
    while at < len(value):
        if value[at] != ",":
            name, at = _token(value, at)
            parameters: Parameters = []
            while value[at : at + 1] == ";":
                parameter, at = _token(value, _skip(value, at + 1))
                argument: str | None = None
                if value[at : at + 1] == "=":
                    argument, at = _argument(value, _skip(value, at + 1))
                parameters.append((parameter, argument))
            found.append((name, parameters))
            if at < len(value) and value[at] != ",":
                raise ValueError(f"unexpected {value[at:]!r:.80}")
        at = _skip(value, at + 1)
    return found


def _skip(value: str, at: int) -> int:
    space = _SPACE.match(value, at)
    assert space is not None  # noqa: S101 - it matches nothing, too
    return space.end()


def _token(value: str, at: int) -> tuple[str, int]:
    token = _TOKEN.match(value, at)
    if token is None:
        raise ValueError(f"a name is missing before {value[at:]!r:.80}")
    return token[0], _skip(value, token.end())


def _argument(value: str, at: int) -> tuple[str, int]:
    quoted = _QUOTED.match(value, at)
    if quoted is None:
        return _token(value, at)
    text = re.sub(r"\\(.)", r"\1", quoted[1])
    if not _TOKEN.fullmatch(text):
        raise ValueError(f"the quoted value {text!r:.80} is not a token")
    return text, _skip(value, quoted.end())


def agreed(value: str, *, offered: bool) -> Agreement | None:
    """Return what a relay agreed to, by its answer to the upgrade.

    Args:
        value: its Sec-WebSocket-Extensions header; a repeated one is one list.
        offered: whether `OFFER` was sent.

    Returns:
        None: messages are not compressed.

    Raises:
        ValueError: the relay chose an extension or a parameter that was not offered, or one twice, or a value that is
            not legal (RFC 6455, 4.1 and 9.1; RFC 7692, 5 and 7.1); the message names it.

    """
    found: Agreement | None = None
    try:
        extensions = parse_extensions(value) if value else []
    except ValueError as error:
        raise ValueError(f"an invalid Sec-WebSocket-Extensions header, {value!r:.200}: {error}") from None
    for name, parameters in extensions:
        if name != EXTENSION or not offered:
            raise ValueError(f"the extension {name!r:.80}, which was not requested")
        if found is not None:
            raise ValueError(f"the extension {name!r} twice")
        found = _agreement(parameters)
    return found


def _agreement(parameters: Parameters) -> Agreement:
    chosen: dict[str, bool | int] = {}
    for name, value in parameters:
        if name in chosen:
            raise ValueError(f"the parameter {name!r} of {EXTENSION} twice")
        match name:
            case "server_no_context_takeover" | "client_no_context_takeover":
                if value is not None:
                    raise ValueError(f"the parameter {name!r} of {EXTENSION} with the value {value!r:.80}; it has none")
                chosen[name] = True
            case "server_max_window_bits" | "client_max_window_bits":
                if value is None or not _BITS.fullmatch(value):
                    had = "no value" if value is None else f"the value {value!r:.80}"
                    raise ValueError(f"the parameter {name!r} of {EXTENSION} with {had}; it must be 8 to 15")
                chosen[name] = int(value)
            case _:
                raise ValueError(f"the parameter {name!r:.80} of {EXTENSION}, which does not exist")
    return Agreement(**chosen)  # type: ignore[arg-type]


class Inflater:
    """Decompresses the messages of one direction, in order.

    Args:
        window_bits: the most that the sender's window may have, as agreed; a reference beyond it is an error.
        no_context_takeover: whether each message is compressed by itself.

    """

    __slots__ = ("_bits", "_no_context_takeover", "_zlib")

    def __init__(self, window_bits: int = MAX_WINDOW_BITS, *, no_context_takeover: bool = False) -> None:
        self._bits = -window_bits  # a negative number stands for deflate without zlib's header
        self._no_context_takeover = no_context_takeover
        # zlib's decompressor, whose type has no public name.
        self._zlib: zlib._Decompress | None = None

    def message(self, payload: bytes, limit: int) -> bytes | None:
        """Return a message, given its whole payload.

        Returns:
            None: the message has more than `limit` bytes; inflating stopped there.

        Raises:
            zlib.error: the payload is invalid.

        """
        if len(payload) <= _INPUT:
            # Nearly always one call is enough: less came out than was allowed, and all was read.
            if self._zlib is None:
                self._zlib = zlib.decompressobj(self._bits)
            most = min(_OUTPUT, limit + 1)
            data = self._zlib.decompress(payload + TAIL, most)
            if len(data) < most and not self._zlib.eof:
                if self._no_context_takeover:
                    self._zlib = None
                return data
            out = bytearray(data)
            del data
            fits = self._inflate_rest(out, limit)
        else:
            out = bytearray()
            fits = self.feed(payload, out, limit) and self._feed(TAIL, out, limit)
        if not fits:
            return None
        self.end_message()
        return bytes(out)

    def feed(self, payload: bytes, out: bytearray, limit: int) -> bool:
        """Append what a fragment of a message inflates to; return whether it fits.

        It does if `out` has `limit` bytes at most. Otherwise inflating stopped there, and the inflater must not be used
        any more. Call `finish` after the last fragment.

        Raises:
            zlib.error: the payload is invalid.

        """
        view = memoryview(payload)
        return all(self._feed(view[at : at + _INPUT], out, limit) for at in range(0, len(view), _INPUT))

    def finish(self, out: bytearray, limit: int) -> bool:
        """End a message; see `feed`."""
        fits = self._feed(TAIL, out, limit)
        self.end_message()
        return fits

    def end_message(self) -> None:
        """Forget the window, if that was agreed."""
        if self._no_context_takeover:
            self._zlib = None

    def _feed(self, data: bytes | memoryview, out: bytearray, limit: int) -> bool:
        if self._zlib is None:
            self._zlib = zlib.decompressobj(self._bits)
        most = min(_OUTPUT, limit + 1 - len(out))
        piece = self._zlib.decompress(data, most)
        out += piece
        return self._inflate_rest(out, limit) if len(piece) == most or self._zlib.eof else len(out) <= limit

    def _inflate_rest(self, out: bytearray, limit: int) -> bool:
        """Continue while there may be more.

        There may be after an output that was full, and after a final block. Each round adds 64 KiB, or reads a block;
        so the limit and the size of the input bound their number.
        """
        inflate = self._zlib
        assert inflate is not None  # noqa: S101
        while len(out) <= limit:
            rest = inflate.unconsumed_tail
            if inflate.eof:
                rest = inflate.unused_data
                inflate = self._zlib = zlib.decompressobj(self._bits)
            most = min(_OUTPUT, limit + 1 - len(out))
            piece = inflate.decompress(rest, most)
            out += piece
            if len(piece) < most and not inflate.eof:
                return True
        return False


class Deflater:
    """Compresses the messages of one direction, in order.

    Args:
        window_bits: the most that the window may have, as agreed. zlib cannot compress with 8; with 8, nothing is
            compressed, which is legal (RFC 7692, 6).
        no_context_takeover: whether each message is compressed by itself.

    """

    __slots__ = ("_bits", "_no_context_takeover", "_zlib")

    def __init__(self, window_bits: int = MAX_WINDOW_BITS, *, no_context_takeover: bool = False) -> None:
        self._bits = -min(window_bits, _OWN_WINDOW_BITS)
        self._no_context_takeover = no_context_takeover
        self._zlib: zlib._Compress | None = None

    def message(self, payload: bytes) -> bytes | None:
        """Return the compressed payload of a message.

        Returns:
            None: send the message as it is, since it would not become smaller.

        """
        if self._bits > -9:
            return None
        deflate = self._zlib
        if deflate is None:
            deflate = zlib.compressobj(wbits=self._bits, memLevel=_MEMORY_LEVEL)
        data = deflate.compress(payload) + deflate.flush(zlib.Z_SYNC_FLUSH)
        if len(data) - len(TAIL) >= len(payload):
            # The relay does not see this message, so the next one must not refer to it.
            self._zlib = None
            return None
        self._zlib = None if self._no_context_takeover else deflate
        return data[: -len(TAIL)]

    def rest(self) -> None:
        """Free the memory; the next message will refer to nothing before it."""
        self._zlib = None
