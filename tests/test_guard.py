"""Who may ask a server and under which name, and what its answers allow a browser."""

import re
import socket
from importlib import resources

import httpx
import pytest
import servers

from ser_jax.recognizer import serving

pytest_plugins = ["servers"]


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", "192.168.0.9", "[::", ""]
)
def test_it_answers_to_its_own_names_only(client, host):
    for answer in (client.get("/", headers={"Host": host}), client.post("/hear", headers={"Host": host})):
        assert answer.status_code == 403
        assert answer.json() == {
            "detail": f"asked for as {host!r}, expected a name that this server was started with"
        }


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9", "127.0.0.1", "[::1]:8000"])
def test_loopback_names_are_its_own_under_any_port(client, host):
    assert client.get("/model", headers={"Host": host}).status_code == 200


def test_a_server_for_everyone_answers_to_addresses_and_to_the_name_it_was_given(recogniser):
    for given, others in (
        (("0.0.0.0",), ["192.168.0.9:80", "[fe80::1]", f"{socket.gethostname()}:80"]),
        (("0", "0.0.0.0"), ["192.168.0.9:80", "0"]),
        (("box.local", "192.168.0.9"), ["BOX.local:80", "192.168.0.9"]),
    ):
        with servers.running(recogniser, names=given) as running:
            for host, status in [*((other, 200) for other in others), ("evil.example", 403)]:
                answer = httpx.get(f"{running.address}/model", headers={"Host": host}, trust_env=False)
                assert answer.status_code == status


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "http://localhost:1", "http://127.0.0.1.evil.example", "http://["],
)
def test_other_sites_cannot_send(client, recording, origin):
    answer = client.post("/recognize", content=recording.read_bytes(), headers={"Origin": origin})
    assert answer.status_code == 403
    assert answer.json() == {"detail": f"sent by a page of {origin!r}, expected the server's own page"}


def test_the_own_page_can_send_and_no_other_can_read(server, client, recording):
    answer = client.post("/recognize", content=recording.read_bytes(), headers={"Origin": server.address})
    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.startswith("access-control")]
    asked = client.options("/recognize", headers={"Origin": "http://evil.example"})
    assert asked.status_code == 403


def test_every_answer_says_what_a_browser_may_do(client):
    for answer in (client.get("/"), client.get("/nowhere"), client.get("/", headers={"Host": "evil"})):
        for name, value in serving.HEADERS.items():
            assert answer.headers[name] == value
        allowed = dict(part.split(" ", 1) for part in answer.headers["Content-Security-Policy"].split("; "))
        assert allowed["default-src"] == allowed["base-uri"] == allowed["form-action"] == "'none'"
        assert allowed["connect-src"] == "'self'"
        assert set(" ".join(allowed.values()).split()) <= {
            "'none'", "'self'", "blob:", "data:", *re.findall(r"'sha256-[\w+/=]{44}'", str(allowed))
        }  # fmt: skip
        assert len(re.findall("'sha256-", str(allowed))) == 2
        assert "server" not in answer.headers


def test_the_page_names_no_address_and_takes_no_text_for_markup(client):
    page = resources.files("ser_jax.recognizer").joinpath("page.html").read_text("utf-8")
    assert client.get("/").text == page
    assert client.get("/").headers["Content-Type"] == "text/html; charset=utf-8"
    assert not re.findall(r"""\b[a-z]+://|["'(`=]//|@import|url\(|<iframe|<object|<embed|<base""", page)
    for loads in re.findall(r"""\b(?:src|href|action|poster|srcset)=["']?([^"' >]*)""", page):
        assert loads in ("data:,", "openapi.json"), loads
    assert not re.findall(
        r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|\son\w+=|style=", page
    )


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/docs/oauth2-redirect", "/page.html", "/../page.html"])
def test_nothing_else_is_served(client, path):
    assert client.get(path).status_code == 404
