"""The application: what each address returns, from the studies of a summary; `guard` comes before it."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from cluster.report.serve import bodies, openapi
from cluster.report.serve.compare_page import MOST
from cluster.report.serve.guard import Guard, Rules
from cluster.report.serve.reading import NoAnswerError
from cluster.report.serve.responses import answer, refusal
from cluster.report.serve.studies import Page, Studies
from cluster.summary.store import Summary
from trainer.errors import UserError

Endpoint = Callable[[Request], Awaitable[Response]]


def application(summary: Summary, rules: Rules, *, page: Page, report: Callable[[Exception], None]) -> ASGIApp:
    """The studies of `summary` for readers whom `rules` admit; `page` draws a study, `report` receives problems."""
    studies = Studies(summary, page)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        studies.close()

    app = Starlette(
        routes=_routes(studies, report), exception_handlers={HTTPException: _nothing_there}, lifespan=lifespan
    )
    # Otherwise `/studies/` would be redirected to an address that is built from the request's own headers.
    app.router.redirect_slashes = False
    return Guard(app, rules)


def _routes(studies: Studies, report: Callable[[Exception], None]) -> list[Route]:
    described = bodies.to_json(openapi.document())

    async def index(request: Request) -> Response:
        return answer(request, (await studies.listing()).page)

    async def page(request: Request) -> Response:
        return answer(request, await studies.page(request.path_params["study"]))

    async def trial(request: Request) -> Response:
        return answer(request, await studies.trial(request.path_params["study"], request.path_params["trial"]))

    async def compare(request: Request) -> Response:
        return answer(request, await studies.compared(_asked(request)))

    async def document(request: Request) -> Response:
        return answer(request, described)

    async def listing(request: Request) -> Response:
        return answer(request, (await studies.listing()).body)

    async def study(request: Request) -> Response:
        return answer(request, await studies.study(request.path_params["study"]))

    async def verdict(request: Request) -> Response:
        return answer(request, await studies.verdict(request.path_params["study"]))

    async def rows(request: Request) -> Response:
        offset, limit = (_whole(request, name) for name in ("offset", "limit"))
        name = request.url.path.rpartition("/")[2]
        return answer(request, await studies.rows(request.path_params["study"], name, offset=offset, limit=limit))

    served = {
        openapi.INDEX: index,
        openapi.PAGE: page,
        openapi.TRIAL: trial,
        openapi.COMPARE: compare,
        openapi.DOCUMENT: document,
        openapi.STUDIES: listing,
        openapi.STUDY: study,
        openapi.VERDICT: verdict,
        **dict.fromkeys(openapi.TABLES.values(), rows),
    }
    return [Route(path, _one_line(endpoint, report), methods=["GET"]) for path, endpoint in served.items()]


def _one_line(endpoint: Endpoint, report: Callable[[Exception], None]) -> Endpoint:
    """Answers errors with one line; the details go to `report`, not to the reader."""

    async def answered(request: Request) -> Response:
        path = request.url.path
        try:
            return await endpoint(request)
        except NoAnswerError as problem:
            return refusal(path, 404, str(problem))
        except BadQueryError as problem:
            return refusal(path, 400, str(problem))
        except UserError as problem:
            report(problem)
            return refusal(path, 503, "the summary cannot be read now: see what `batchscope serve` printed")
        except Exception as problem:  # noqa: BLE001 - a bug in one page must not end the others
            report(problem)
            return refusal(path, 500, "internal error, please report it with what `batchscope serve` printed")

    return answered


def _nothing_there(request: Request, problem: Exception) -> Response:
    assert isinstance(problem, HTTPException)
    return refusal(request.url.path, problem.status_code, "there is nothing at this address: / lists the studies")


class BadQueryError(ValueError):
    """A query that cannot be answered; the message is for the reader."""


def _asked(request: Request) -> list[tuple[str, str | None]]:
    """The studies and trials that are to be compared, as `of=STUDY` or `of=STUDY/TRIAL`."""
    given = list(dict.fromkeys(request.query_params.getlist("of")))
    if not 1 <= len(given) <= MOST:
        raise BadQueryError(f"name one to {MOST} studies or trials: /compare?of=STUDY&of=STUDY/TRIAL")
    return [(study, trial or None) for study, _, trial in (one.partition("/") for one in given)]


def _whole(request: Request, name: str) -> int:
    """The query parameter `name`, a whole number within its limits."""
    limits = openapi.QUERY[name]
    given = request.query_params.get(name, str(limits.default))
    # int() alone would accept " 1_0 " and digits of other scripts, and take long for a million digits.
    if re.fullmatch("[0-9]{1,12}", given) and limits.least <= int(given) <= limits.most:
        return int(given)
    raise BadQueryError(f"{name} must be a whole number from {limits.least} to {limits.most}")
