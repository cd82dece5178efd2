"""Files behind URLs, by fsspec: which texts are URLs, and one sentence for whatever a file system raises."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ganzoo.errors import GanzooError, UserError

__all__ = ["file_system", "is_url", "reached", "without_secrets"]


def is_url(place: str) -> bool:
    """Return whether a text names a place behind a URL, and not one on disk."""
    return re.match(r"[a-z][a-z0-9+.-]+://", place) is not None


def file_system(url: str) -> tuple[Any, str]:
    """Return the file system of a URL, which fsspec keeps for each process and thread, and the path in it."""
    from fsspec.core import url_to_fs

    found: tuple[Any, str] = url_to_fs(url)
    return found


def without_secrets(place: str) -> str:
    """Return a place as it may be shown: a URL without a user's password and without a query, which may sign it."""
    return re.sub(r"(?<=://)[^/@]*:[^/@]*@", "", place.partition("?")[0]) if is_url(place) else place


@contextmanager
def reached(place: str, verb: str = "read") -> Iterator[None]:
    """Turn whatever the body stumbles over on the way to a file into one :class:`UserError`."""
    try:
        yield
    except GanzooError:
        raise
    except ImportError as error:  # fsspec's own words say which package to install
        raise UserError(f"{without_secrets(place)} needs a package that is not installed: {error}") from None
    except Exception as error:  # every file system has errors of its own
        reason, words = error.strerror if isinstance(error, OSError) else None, str(error)
        if reason is None and isinstance(error, FileNotFoundError):
            # fsspec's names the place alone; a server's answer is what it comes from. Others have words of their own.
            words = str(error.__cause__ or error)
            words = words if " " in words else "there is no such file"
        if "range requests" in words:
            words = "its server sends files as a whole, and parts of them are needed; download them first"
        # They may name the URL as it was sent, which is quoted in another way than the place.
        words = re.sub(
            r"[a-z]+://[^\s'\"]+", lambda url: without_secrets(url[0]), words.replace(place, without_secrets(place))
        )
        reason = reason or " ".join(words.split())[:200]
        raise UserError(f"{without_secrets(place)} cannot be {verb}: {reason or type(error).__name__}") from None
