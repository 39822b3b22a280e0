"""An endpoint's list of models: the model is found by every spelling in use, and a list without it is not an error."""

import asyncio
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from longform.endpoints.models import ModelSpec
from longform.endpoints.probe import ListedModel, find_listed
from longform.records.errors import BadInputError


@pytest.fixture
def listing():
    servers = []

    def start(*models: dict[str, object], status: int = 200, body: str | None = None, **headers: str) -> str:
        content = json.dumps({"data": models}) if body is None else body

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                sent = content.encode("latin-1")
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(sent))}.items():
                    if value:
                        self.send_header(name.replace("_", "-"), value)
                self.end_headers()
                self.wfile.write(sent)

            def log_message(self, format: str, *args: object) -> None:
                """Tests are quiet."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return f"http://127.0.0.1:{server.server_address[1]}/v1"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def listed(url: str, model: str) -> ListedModel:
    return asyncio.run(find_listed("judge", ModelSpec(base_url=url, model=model)))


@pytest.mark.parametrize(
    ("model", "id_"),
    [
        ("gpt-5", "gpt-5"),
        ("gemini-2.5-flash", "models/gemini-2.5-flash"),
        ("llama3", "llama3:latest"),
        ("deepseek/deepseek-r1:nitro", "deepseek/deepseek-r1"),
    ],
)
def test_a_model_is_found_as_providers_spell_it(listing, model, id_):
    assert listed(listing({"id": "other"}, {"id": id_, "context_length": 4096}), model) == ListedModel(True, 4096)


@pytest.mark.parametrize(
    ("model", "id_"), [("claude-sonnet-4-5", "claude-sonnet-4-5-20250929"), ("smollm2", "/models/SmolLM2.gguf")]
)
def test_an_endpoint_may_answer_to_names_that_it_does_not_list(listing, model, id_):
    found = listed(listing({"id": id_, "meta": {"n_ctx": 4096}}), model)
    assert (found.is_listed, found.context, found.others) == (False, None, (id_,))
    assert id_ in found.text


def test_what_a_list_holds_is_shown_in_printable_characters(listing):
    assert "\x1b" not in listed(listing({"id": "\x1b[2J"}), "m").text


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (302, "", r"endpoint judge at \S* redirects to http://elsewhere\.example/v1; write the right address into"),
        (401, "{}", r"endpoint judge at \S* refuses its key \(HTTP 401\)"),
        (404, "{}", None),
        (200, '{"data": "none"}', None),
        (200, "<html>", None),
        (200, "\x1f\x8b", None),
    ],
)
def test_an_endpoint_without_a_list_may_still_answer_and_a_wrong_address_or_key_is_told(listing, status, body, message):
    url = listing(
        status=status, body=body, Location="http://elsewhere.example/v1", Content_Encoding="gzip" * (body < " ")
    )
    if message is None:
        found = listed(url, "m")
        assert (found.is_listed, found.others) == (False, ())
        return
    with pytest.raises(BadInputError, match=message):
        listed(url, "m")


def test_a_routers_long_list_is_read(listing):
    others = [{"id": f"model-{number}", "description": "x" * 4000} for number in range(600)]
    assert listed(listing(*others, {"id": "m", "context_length": 4096}), "m") == ListedModel(True, 4096)
