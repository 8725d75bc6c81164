"""Who may ask the server, and what a browser may do with its page.

A page of another site can have its reader's browser send to this machine, and can give its own name this
machine's address (DNS rebinding). So what is asked for under a name that is not the server's is not answered,
and neither is what another site's page sends.
"""

import base64
import hashlib
import ipaddress
import re
import socket
from typing import TYPE_CHECKING

from ser_jax.recognizer import answers

if TYPE_CHECKING:
    from starlette.datastructures import Headers
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = {"localhost", "127.0.0.1", "::1"}
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Cache-Control": "no-store",
}


class Guard:
    """ASGI middleware that refuses strangers and adds headers.

    Args:
      app: what answers.
      names: of the server. Where one stands for all addresses of the machine, any address is taken for one
        of them, and of names the machine's own.
      headers: of every answer, see `headers`.
    """

    def __init__(self, app: "ASGIApp", names: tuple[str, ...], headers: dict[str, str]):
        self._app = app
        self._names = LOOPBACK | {name.lower() for name in names}
        self._any_address = any(is_everywhere(name) for name in names)
        if self._any_address:
            own = socket.gethostname().lower()
            self._names |= {own, f"{own.partition('.')[0]}.local"}
        self._headers = headers

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Answers a request, or lets `app` do it, as ASGI has it."""
        from starlette.datastructures import Headers, MutableHeaders

        async def send_with_headers(message: "Message") -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self._headers)
            await send(message)

        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        sentence = self._refusal(scope["method"], Headers(scope=scope))
        app = answers.problem(403, sentence) if sentence else self._app
        return await app(scope, receive, send_with_headers)

    def _refusal(self, method: str, headers: "Headers") -> str | None:
        host, origin = headers.get("host", ""), headers.get("origin")
        name = _name(host)
        if name not in self._names and not (self._any_address and _address(name)):
            return f"asked for as {host!r}, expected a name that this server was started with"
        if method not in ("GET", "HEAD") and origin is not None and _site(origin) != host.lower():
            return f"sent by a page of {origin!r}, expected the server's own page"
        return None


def is_loopback(address: str) -> bool:
    """Whether only this machine reaches what listens there; no name and no shortened address is known."""
    found = _address(address)
    return bool(found and found.is_loopback)


def is_everywhere(address: str) -> bool:
    """Whether it stands for all addresses of the machine."""
    found = _address(address)
    return bool(found and found.is_unspecified)


def headers(page: str) -> dict[str, str]:
    """`HEADERS`, and a Content-Security-Policy for a page of HTML."""
    return {**HEADERS, "Content-Security-Policy": policy(page)}


def policy(page: str) -> str:
    """The Content-Security-Policy of a page that loads nothing, and runs its own script and style only.

    Scripts from `blob:` are what a browser's AudioWorklet is made of in a page that is a single file.
    """

    def own(tag: str) -> str:
        content = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digests = (hashlib.sha256(text.encode()).digest() for text in content)
        return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)

    return (
        f"default-src 'none'; script-src {own('script')} blob:; style-src {own('style')}; "
        "connect-src 'self'; media-src blob:; img-src data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def _name(host: str) -> str:
    """The name or address in a Host header, without its port; nothing where it is none."""
    match = re.fullmatch(r"(?:\[([0-9a-f:.]+)\]|([^][:/@\s]+))(?::\d*)?", host.lower())
    return match[1] or match[2] if match else ""


def _site(origin: str) -> str:
    return origin.lower().partition("://")[2]
