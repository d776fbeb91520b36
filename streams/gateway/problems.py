"""How the API says no: problem details (RFC 9457), one shape for every error."""

from http import HTTPStatus
from typing import Any, cast

import orjson
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

log = structlog.get_logger()

MEDIA_TYPE = "application/problem+json"


class Fault(BaseModel):
    """One thing that is wrong with what was sent."""

    index: int | None = Field(None, description="Which text of the request, from 0.")
    field: str = Field(description="Path of the field or name of the parameter.")
    message: str = Field(description="What is wrong with it.")


class ProblemDetails(BaseModel):
    """An error, as RFC 9457 has it."""

    type: str = Field(description="A URN that names the kind of problem.")
    title: str = Field(description="The kind of problem, for people.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What happened this time and what to do.")
    errors: list[Fault] = Field([], description="Every fault found in what was sent.")


class ProblemError(Exception):
    """Raised in a route, answered as problem details."""

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        errors: list[Fault] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.errors = errors or []
        self.headers = headers or {}


def answer(problem: ProblemError) -> Response:
    """Return the HTTP response of a problem."""
    body = ProblemDetails(
        type=f"urn:tickertone:problem:{problem.kind}",
        title=HTTPStatus(problem.status).phrase,
        status=problem.status,
        detail=problem.detail,
        errors=problem.errors,
    )
    fields = body.model_dump(exclude_none=True)
    if not problem.errors:
        del fields["errors"]
    headers = problem.headers
    return Response(orjson.dumps(fields), problem.status, headers, media_type=MEDIA_TYPE)


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI entries of the errors a route may answer."""
    schema = {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}
    return {
        status: {"description": HTTPStatus(status).phrase, "content": {MEDIA_TYPE: schema}}
        for status in statuses
    }


def install(app: FastAPI) -> None:
    """Make the app answer every error as problem details."""

    async def on_problem(request: Request, error: Exception) -> Response:
        return answer(cast("ProblemError", error))

    async def on_http(request: Request, error: Exception) -> Response:
        http = cast("HTTPException", error)
        kind = HTTPStatus(http.status_code).phrase.lower().replace(" ", "-")
        headers = dict(http.headers or {})
        return answer(ProblemError(http.status_code, kind, str(http.detail), headers=headers))

    async def on_invalid(request: Request, error: Exception) -> Response:
        faults = [
            Fault(field=".".join(str(part) for part in each["loc"][1:]), message=each["msg"])
            for each in cast("RequestValidationError", error).errors()
        ]
        return answer(ProblemError(422, "invalid-parameter", "A parameter is not valid.", faults))

    async def on_crash(request: Request, error: Exception) -> Response:
        log.error("request_failed", exc_info=error)
        return answer(ProblemError(500, "internal", "The gateway failed; its log says why."))

    app.add_exception_handler(ProblemError, on_problem)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(Exception, on_crash)
