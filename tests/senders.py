"""What is sent to a server byte by byte, and what comes back."""

import http.client
import json
import socket


def lie(size):
    """A WAV whose header promises `size` bytes of samples."""
    return b"RIFF" + b"\xff" * 4 + b"WAVEfmt \x10\0\0\0\1\0\1\0\x80>\0\0\0}\0\0\2\0\x10\0data" + size


def raw(port, *pieces):
    """An open connection after a request's beginning."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=20)
    for piece in pieces:
        connection.sendall(piece)
    return connection


def received(connection):
    """Status and content of the answer."""
    with http.client.HTTPResponse(connection) as answer:
        answer.begin()
        return answer.status, json.load(answer)


BEGUN = b"POST /recognize HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900000\r\n\r\nRIFF"


def head_of(content):
    return f"POST /recognize HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n\r\n".encode()
