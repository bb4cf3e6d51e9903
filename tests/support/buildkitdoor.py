"""TLS in, an engine's own BuildKit out: what `buildkitd --addr tcp://…` is, by the engine's door `/grpc`.

Run as a program, so that it can stand in a network of its own: ADDRESS PORT SOCKET CA CERTIFICATE KEY.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import sys
from asyncio import StreamReader, StreamWriter

_HELLO = b"POST /grpc HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 0\r\n\r\n"


async def main(address: str, port: str, engine: str, ca: str, certificate: str, key: str) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=ca)
    # Nobody builds here without a certificate of the farm's own CA.
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(certificate, key)

    async def serve(reader: StreamReader, writer: StreamWriter) -> None:
        # No certificate, or no engine: the connection ends.
        with contextlib.suppress(OSError, EOFError), contextlib.closing(writer):
            await _joined(reader, writer, engine)

    # Not threads: two of them, one that reads and one that writes, may not share a TLS connection.
    async with await asyncio.start_server(serve, address, int(port), ssl=context) as server:
        await server.serve_forever()


async def _joined(reader: StreamReader, writer: StreamWriter, engine: str) -> None:
    from_engine, to_engine = await asyncio.open_unix_connection(engine)
    with contextlib.closing(to_engine):
        to_engine.write(_HELLO)
        head = await from_engine.readuntil(b"\r\n\r\n")
        if b" 101 " not in head.split(b"\r\n")[0]:
            return
        ways = [asyncio.create_task(_copy(reader, to_engine)), asyncio.create_task(_copy(from_engine, writer))]
        # Who ends one way ends both.
        _, other = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for task in other:
            task.cancel()


async def _copy(reader: StreamReader, writer: StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while piece := await reader.read(1 << 16):
            writer.write(piece)
            await writer.drain()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
