"""The built-in page: a few static files, and Plotly out of its own wheel."""

import hashlib
from importlib.metadata import version
from pathlib import Path
from typing import Final

import plotly
from fastapi import APIRouter, Request, Response

from streams.gateway.problems import ProblemError

_STATIC: Final = Path(__file__).parent / "static"
_PLOTLY: Final = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


class _File:
    def __init__(self, path: Path, etag: str | None = None) -> None:
        self.body = path.read_bytes()
        self.media_type = _TYPES[path.suffix]
        self.etag = etag or f'"{hashlib.blake2b(self.body, digest_size=8).hexdigest()}"'

    def answer(self, request: Request) -> Response:
        """Return the file, or 304 where the browser has it already."""
        # The browser asks each time and gets 304: an upgrade shows at once.
        headers = {"Cache-Control": "no-cache", "ETag": self.etag}
        if request.headers.get("if-none-match") == self.etag:
            return Response(status_code=304, headers=headers)
        return Response(self.body, headers=headers, media_type=self.media_type)


def page_router() -> APIRouter:
    """Return the routes of the page; its files are read once."""
    router = APIRouter(include_in_schema=False)
    files = {path.name: _File(path) for path in _STATIC.iterdir() if path.suffix in _TYPES}
    files["plotly.min.js"] = _File(_PLOTLY, f'"plotly-{version("plotly")}"')
    index = files.pop("index.html")

    @router.get("/")
    async def show_page(request: Request) -> Response:
        return index.answer(request)

    @router.get("/static/{name}")
    async def show_file(name: str, request: Request) -> Response:
        file = files.get(name)
        if file is None:
            raise ProblemError(404, "not-found", "There is no such file.")
        return file.answer(request)

    return router
