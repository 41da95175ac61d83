"""The TLS 1.3 server whose handshake REALITY borrows, for tests: `dest.py ADDRESS PORT FILE`.

FILE holds certificate and private key. Every connection has a thread, since REALITY opens one for each of its own and
several at once when it starts; what is asked for inside gets an empty page.
"""

import socket
import ssl
import sys
import threading

TIMEOUT_SECONDS = 30
PAGE = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def main(address, port, certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(certificate)
    listener = socket.create_server((address, int(port)), backlog=1024)
    print("listening", flush=True)
    while True:
        connection, _ = listener.accept()
        connection.settimeout(TIMEOUT_SECONDS)
        threading.Thread(target=serve, args=(context, connection), daemon=True).start()


def serve(context, connection):
    # REALITY breaks most of these handshakes off: it has seen what it wanted to see.
    try:
        with context.wrap_socket(connection, server_side=True) as tls:
            tls.recv(65536)
            tls.sendall(PAGE)
    except OSError:
        pass


if __name__ == "__main__":
    main(*sys.argv[1:])
