"""The built-in page: a few static files, and Plotly out of its own wheel."""

import hashlib
import re
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
_MARK: Final = b"<!-- plotly-styles -->"
_OWN_STYLE: Final = re.compile(rb'document\.getElementById\("([0-9a-f]{64})"\)')


class _File:
    def __init__(self, body: bytes, suffix: str) -> None:
        self.body = body
        self.media_type = _TYPES[suffix]
        self.etag = f'"{hashlib.blake2b(body, digest_size=8).hexdigest()}"'

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
    files = {path.name: _File(path.read_bytes(), path.suffix) for path in _pages()}
    plotly_js = _PLOTLY.read_bytes()
    files["plotly.min.js"] = _File(plotly_js, ".js")
    page = files.pop("index.html").body.replace(_MARK, _style_marks(plotly_js))
    index = _File(page, ".html")

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


def _pages() -> list[Path]:
    return [path for path in _STATIC.iterdir() if path.suffix in _TYPES]


def _style_marks(plotly_js: bytes) -> bytes:
    """Return elements with the ids of the inline styles that Plotly would add, for maps.

    It adds none whose id is there already; the page forbids inline styles and draws no maps.
    """
    ids = sorted(set(_OWN_STYLE.findall(plotly_js)))
    return b"".join(b'<meta id="%s" name="plotly-style" content="none">' % each for each in ids)
