"""From bytes to characters, as RFC 7303 and the practice of feeds have it."""

import codecs
import re
from email.message import Message
from typing import Final

_BOMS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark its own begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_DECLARED: Final = re.compile(
    rb"""^\s*<\?xml[^>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9._-]{1,40})"""
)
_DECLARATION: Final = re.compile(r"^\s*<\?xml[^>]{0,300}\?>")
# Browsers and feed readers read these names as their larger siblings, and so do their authors.
_MEANT: Final = {"iso8859-1": "cp1252", "ascii": "cp1252", "gb2312": "gb18030", "gbk": "gb18030"}
_NEVER: Final = ("utf-7", "idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined")


def decode_markup(body: bytes, content_type: str) -> str:
    """Return the characters of an XML document, without its declaration. Total.

    The byte order mark decides, else the charset of the header, else the declaration, else UTF-8; a
    charset that is unknown or does not fit gives way to the next. What fits none is read as UTF-8
    with replacement characters.
    """
    for mark, name in _BOMS:
        if body.startswith(mark):
            return _bare(body.decode(name, "replace").removeprefix("\ufeff"))
    declared = _DECLARED.match(body)
    for charset in (charset_of(content_type), declared and declared[1].decode(), "utf-8", "cp1252"):
        found = _known(charset)
        if found is not None:
            try:
                return _bare(body.decode(found))
            except UnicodeDecodeError:
                continue
    return _bare(body.decode("utf-8", "replace"))


def charset_of(content_type: str) -> str | None:
    """Return the charset that a Content-Type header names."""
    message = Message()
    message["Content-Type"] = content_type.replace("\n", " ").replace("\r", " ")
    return message.get_content_charset()


def _known(charset: str | None) -> str | None:
    try:
        info = codecs.lookup(charset or "")
    except (LookupError, ValueError):
        return None
    # The others turn bytes into bytes (gzip, hex), or hide markup from those who look for it.
    if not getattr(info, "_is_text_encoding", True) or info.name.replace("-", "_") in {
        name.replace("-", "_") for name in _NEVER
    }:
        return None
    return _MEANT.get(info.name, info.name)


def _bare(text: str) -> str:
    return _DECLARATION.sub("", text, count=1)
