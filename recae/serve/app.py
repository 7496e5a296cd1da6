"""What is asked over HTTP, and who answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic_core import to_json
from starlette.exceptions import HTTPException as StarletteHTTPException

import recae
from recae.errors import RecaeError
from recae.serve.answers import Abouts, Answer, Atlas, Found, Health, Mistake, Questions
from recae.serve.engine import Engine
from recae.serve.guard import Guard
from recae.serve.reloading import Served
from recae.serve.schemas import MOST, Interviewed, Wish, sentence

T = TypeVar("T")

_WAITING: Final = 500
"""Requests beyond which a server is too busy for more."""
_STATIC: Final = Path(__file__).with_name("static")
_PAGES: Final = {"index.html": "/", "docs.html": "/docs"}
_KINDS: Final = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
_REFUSED: Final[dict[int | str, dict[str, Any]]] = {422: {"model": Mistake}}

ModelName = Annotated[str | None, Query(alias="model", max_length=100)]


class Pool:
    """The threads in which models compute."""

    def __init__(self, threads: int) -> None:
        self._threads = ThreadPoolExecutor(threads, "answers")
        self._asked = 0

    async def run(self, compute: Callable[[], T]) -> T:
        """What `compute` gives. Raises HTTPException where too many wait."""
        if self._asked >= _WAITING:
            raise HTTPException(503, "too many requests are waiting: try again in a second")
        self._asked += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, compute)
        finally:
            self._asked -= 1


def app_of(served: Sequence[Served], *, host: str, threads: int) -> FastAPI:
    """The application on these models, the first of which is the default.

    threads: requests that are computed at once, one thread each.
    """
    app = FastAPI(
        title="recae",
        version=recae.__version__,
        description="Recommendations from a person's ratings.",
        docs_url=None,
        redoc_url=None,
    )
    app.add_middleware(Guard, host=host)
    _add_errors(app)
    _add_pages(app)
    _add_answers(app, served, Pool(threads))
    return app


def _add_answers(app: FastAPI, served: Sequence[Served], pool: Pool) -> None:
    def engine_of(name: str | None) -> Engine:
        for each in served:
            if name in (None, each.name):
                return each.engine
        names = ", ".join(each.name for each in served)
        raise RecaeError(f"no model is called {name!r} here: there is {names}")

    @app.post("/api/recommend", response_model=Answer, responses=_REFUSED)
    async def recommend(wish: Wish) -> Response:
        """The n best items for a person, from the person's ratings."""
        engine = engine_of(wish.model)

        def compute() -> Response:
            found = engine.recommend(
                wish.given, wish.n, wish.rules, explain=wish.explain, place=wish.place
            )
            return _json(found)

        return await pool.run(compute)

    @app.post("/api/questions", response_model=Questions, responses=_REFUSED)
    async def questions(whom: Interviewed) -> Response:
        """The n items to ask a person for: those whose ratings would tell most, where the model
        knows, or else the best known."""
        engine = engine_of(whom.model)
        return await pool.run(
            lambda: _json(engine.questions(whom.given, whom.n, deny=whom.deny or ()))
        )

    @app.get("/api/items", response_model=Found, responses=_REFUSED)
    async def items(
        q: Annotated[str, Query(max_length=200)] = "",
        n: Annotated[int, Query(ge=1, le=MOST)] = 10,
        model: ModelName = None,
    ) -> Response:
        """Items whose titles hold all words of q, the best known first."""
        engine = engine_of(model)
        return await pool.run(lambda: _json(engine.search(q, n)))

    @app.get("/api/model", response_model=Abouts)
    async def models() -> Response:
        """The models, and what may be asked of each."""
        return _json(Abouts([each.engine.about for each in served]))

    @app.get("/api/map", response_model=Atlas, responses=_REFUSED)
    async def atlas(model: ModelName = None) -> Response:
        """The best known items by their codes, in two dimensions."""
        return _json(engine_of(model).atlas)

    @app.get("/health", response_model=Health)
    async def health() -> Response:
        """That the server answers, and with which versions."""
        return _json(Health("ok", {each.name: each.engine.version for each in served}))


def _add_pages(app: FastAPI) -> None:
    for file in sorted(_STATIC.iterdir()):
        shown = _shows(file.read_bytes(), _KINDS[file.suffix])
        path = _PAGES.get(file.name, f"/static/{file.name}")
        app.add_api_route(path, shown, include_in_schema=False)


def _shows(content: bytes, kind: str) -> Callable[[], Awaitable[Response]]:
    async def show() -> Response:
        return Response(content, media_type=kind)

    return show


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, mistake: RequestValidationError) -> Response:
        return _json(Mistake(sentence(mistake.errors())), 422)

    @app.exception_handler(RecaeError)
    async def refused(_: Request, mistake: RecaeError) -> Response:
        return _json(Mistake(str(mistake)), 422)

    @app.exception_handler(StarletteHTTPException)
    async def other(request: Request, mistake: StarletteHTTPException) -> Response:
        said = mistake.detail
        if mistake.status_code == 400:
            said = "the body cannot be read: send JSON in UTF-8, not deeply nested"
        elif mistake.status_code == 404:
            said = f"there is nothing at {request.url.path}: see /docs"
        return _json(Mistake(said), mistake.status_code, mistake.headers)

    @app.exception_handler(Exception)
    async def broken(_: Request, __: Exception) -> Response:
        return _json(Mistake("the server made a mistake, which is in its log"), 500)


def _json(answer: Any, status: int = 200, headers: Any = None) -> Response:
    return Response(to_json(answer), status, headers, media_type="application/json")
