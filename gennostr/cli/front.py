"""An HTTP front for the development relay, which answers NIP-11.

Everything else is passed on.

nostr-sdk's relay closes a connection that is no WebSocket, so it has no information document. Here a request for
``application/nostr+json`` is answered, and the bytes of every other connection are copied to the relay and back.
asyncio serves all of them in one thread.
"""

import asyncio
import json
from asyncio import StreamReader, StreamWriter
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

MAX_HEAD: Final = 16 * 1024
"""Bytes that the head of a request may have."""
HEAD_TIMEOUT: Final = 10.0
"""Seconds in which the head of a request must arrive."""
CHUNK: Final = 64 * 1024


async def start_front(host: str, port: int, relay_port: int, information: Mapping[str, Any]) -> asyncio.Server:
    """Listen on `port`, in front of the relay on `relay_port`.

    Raises OSError if the port cannot be bound.
    """
    document = json.dumps(information).encode()

    async def serve(reader: StreamReader, writer: StreamWriter) -> None:
        try:
            await _serve(reader, writer, host, relay_port, document)
        except (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError):
            pass  # a client that left, or that does not speak HTTP
        except asyncio.CancelledError:
            pass  # the end of the event loop: asyncio.streams, up to Python 3.12, logs the cancellation as an error
        finally:
            writer.close()

    return await asyncio.start_server(serve, host, port, limit=MAX_HEAD)


async def _serve(reader: StreamReader, writer: StreamWriter, host: str, relay_port: int, document: bytes) -> None:
    async with asyncio.timeout(HEAD_TIMEOUT):
        head = await reader.readuntil(b"\r\n\r\n")
    if not _is_websocket(head):
        writer.write(_answer(head, document))
        await writer.drain()
        return
    relay_reader, relay_writer = await asyncio.open_connection(host, relay_port)
    try:
        relay_writer.write(head)
        # The end of either direction ends the connection: a WebSocket has no half-closed state.
        copies = [
            asyncio.ensure_future(_copy(reader, relay_writer)),
            asyncio.ensure_future(_copy(relay_reader, writer)),
        ]
        try:
            await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for copy in copies:
                copy.cancel()
            await asyncio.gather(*copies, return_exceptions=True)
    finally:
        relay_writer.close()


def _is_websocket(head: bytes) -> bool:
    return _header(head, b"upgrade").lower() == b"websocket"


def _answer(head: bytes, document: bytes) -> bytes:
    if b"application/nostr+json" in _header(head, b"accept").lower():
        status, kind, body = "200 OK", "application/nostr+json", document
    else:
        status, kind, body = (
            "426 Upgrade Required",
            "text/plain",
            b"This is a Nostr relay: connect with a Nostr client.\n",
        )
    lines = [
        f"HTTP/1.1 {status}",
        f"Content-Type: {kind}",
        f"Content-Length: {len(body)}",
        "Access-Control-Allow-Origin: *",  # NIP-11: clients in browsers read the document too
        "Access-Control-Allow-Headers: *",
        "Access-Control-Allow-Methods: GET",
        "Connection: close",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


def _header(head: bytes, name: bytes) -> bytes:
    """Return the value of a header, or nothing."""
    for line in head.split(b"\r\n")[1:]:
        found, _, value = line.partition(b":")
        if found.strip().lower() == name:
            return value.strip()
    return b""


async def _copy(reader: StreamReader, writer: StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()  # a slow reader slows the sender: nothing piles up here
