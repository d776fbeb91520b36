"""Story fingerprints: copies of one story share one."""

import hashlib
import re

_WORD = re.compile(r"[^\W_]+")


def fingerprint(text: str) -> str:
    """Return the story's fingerprint as 16 hex digits.

    It is the hash of the words in order, without case, punctuation, links and user names, so
    retweets and reprints share it. A retold story does not. A text without any word ("🚀🚀") is
    the story of its own characters.

    Args:
        text: A normalised text.
    """
    words = _WORD.findall(text.lower().replace("@user", " "))
    story = " ".join(words) or text
    return hashlib.blake2b(story.encode("utf-8", "replace"), digest_size=8).hexdigest()
