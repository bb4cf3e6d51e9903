"""TLS in, an engine's own BuildKit out: what `buildkitd --addr tcp://…` is, by the engine's door `/grpc`.

Run as a program, so that it can stand in a network of its own: ADDRESS PORT SOCKET CA CERTIFICATE KEY.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import sys
import threading

_HELLO = b"POST /grpc HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 0\r\n\r\n"


def main(address: str, port: str, engine: str, ca: str, certificate: str, key: str) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=ca)
    # Nobody builds here without a certificate of the farm's own CA.
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(certificate, key)
    with socket.create_server((address, int(port))) as server:
        while True:
            client, _ = server.accept()
            threading.Thread(target=_serve, args=(context, client, engine), daemon=True).start()


def _serve(context: ssl.SSLContext, raw: socket.socket, engine: str) -> None:
    try:
        with context.wrap_socket(raw, server_side=True) as client, socket.socket(socket.AF_UNIX) as inner:
            inner.connect(engine)
            inner.sendall(_HELLO)
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += inner.recv(1) or b"\r\n\r\n"
            if b" 101 " not in head.split(b"\r\n")[0]:
                return
            threading.Thread(target=_copy, args=(inner, client), daemon=True).start()
            _copy(client, inner)
    except OSError:
        # No certificate, or no engine: the connection ends.
        raw.close()


def _copy(one: socket.socket, other: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := one.recv(1 << 16):
            other.sendall(piece)
    for end in (one, other):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


if __name__ == "__main__":
    main(*sys.argv[1:])
