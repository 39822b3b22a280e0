"""The pages on which people choose between two texts without knowing who wrote them.

A page identifies its pair by a hash, because the ids of pairs may contain the names of models.
"""

import hashlib
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from longform.evaluation.audit.pairs import AuditedPair
from longform.evaluation.audit.people import measure_people
from longform.evaluation.audit.tables import people_tables
from longform.evaluation.estimates import Bootstrap
from longform.evaluation.labelling.labels import Answer, LabelStore
from longform.evaluation.tables import format_table
from longform.records.errors import BadInputError, StoppedError
from longform.viewer.links import ServerLinks
from longform.viewer.rendering import render_page

_MAX_BODY = 100_000


class LabelLinks(ServerLinks):
    """The addresses where only labelling is served."""

    def home(self) -> str:  # noqa: D102
        return "/label"


def label_routes(store: LabelStore, *, token: str, links: Any) -> list[Route]:
    """The pages and requests of labelling.

    Args:
        store: The pairs and their labels.
        token: Required of requests that write; new at each start of the server.
        links: Addresses of the other pages.
    """
    shared = {"links": links, "token": token}
    ids = {_key(it, token): it for it in store.pairs}

    def choose_person(request: Request) -> Response:  # noqa: ARG001
        if len(store.assignment.people) == 1:
            return RedirectResponse(f"/label/{_quoted(store.assignment.people[0])}")
        people = [(name, f"/label/{_quoted(name)}", *store.count(name)) for name in store.assignment.people]
        return HTMLResponse(render_page("people.html.j2", {"people": people} | shared))

    def show_pair(request: Request) -> Response:
        person = request.path_params["person"]
        if person not in store.assignment.people:
            return HTMLResponse(
                render_page("problem.html.j2", {"problem": f"unknown person: {person!r}"} | shared), 404
            )
        done, assigned = store.count(person)
        pair = store.next_pair(person)
        content: dict[str, Any] = {"person": person, "done": done, "assigned": assigned}
        content["can_undo"] = store.can_undo(person)
        if pair is None:
            agreement = measure_people(store.labelled_pairs(), Bootstrap())
            tables = [format_table(it) for it in people_tables(agreement)] if agreement else []
            return HTMLResponse(render_page("labelled.html.j2", content | {"tables": tables} | shared))
        return HTMLResponse(
            render_page("label.html.j2", content | _blind(store, person, pair) | {"key": _key(pair.id, token)} | shared)
        )

    def add_choice(body: dict[str, Any]) -> None:
        answer = Answer.model_validate(body)
        store.add(answer.model_copy(update={"pair_id": ids.get(answer.pair_id, "")}))

    async def add(request: Request) -> Response:
        return await _answered(request, add_choice)

    async def undo(request: Request) -> Response:
        return await _answered(request, lambda body: store.undo(str(body.get("person"))) is not None)

    return [
        Route("/label", choose_person),
        Route("/label/{person}", show_pair),
        Route("/labels", add, methods=["POST"]),
        Route("/labels/undo", undo, methods=["POST"]),
    ]


def _blind(store: LabelStore, person: str, pair: AuditedPair) -> dict[str, Any]:
    """The content of a pair's page, without anything that reveals who wrote which text."""
    texts = (pair.response_a, pair.response_b)
    first, second = texts if store.assignment.order(person, pair.id) == "ab" else texts[::-1]
    listed = pair.criteria if isinstance(pair.criteria, list) else []
    criteria = [name for it in listed if (name := getattr(it, "name", None) or (it if isinstance(it, str) else ""))]
    return {"request": pair.request.request, "first": first, "second": second, "criteria": criteria}


async def _answered(request: Request, act: Callable[[dict[str, Any]], object]) -> Response:
    """Call `act` with the body of a request; answer a bad body with the reason."""
    body = await request.body()
    try:
        if len(body) > _MAX_BODY:
            raise BadInputError("the request is too long")
        content = json.loads(body)
        if not isinstance(content, dict):
            raise BadInputError("the request must be an object")
        return JSONResponse({"done": act(content)})
    except ValidationError as error:
        first = error.errors()[0]
        return JSONResponse({"problem": f"{'.'.join(map(str, first['loc']))}: {first['msg']}"}, 422)
    except RecursionError:
        return JSONResponse({"problem": "the request is nested too deeply"}, 422)
    except (BadInputError, ValueError) as error:
        return JSONResponse({"problem": str(error)}, 422)
    except StoppedError as error:
        return JSONResponse({"problem": str(error)}, 507)


def _key(pair_id: str, token: str) -> str:
    """The key of a pair in pages and requests."""
    return hashlib.sha256(f"{token}\0{pair_id}".encode()).hexdigest()[:16]


def _quoted(name: str) -> str:
    return quote(name, safe="")
