"""What goes wrong between here and a bucket, in words without secrets."""

from __future__ import annotations

import errno
import re

_MOST = 200
"""Characters of a server's own words that are repeated."""
_SECRETS = (
    # signatures are in the query of a URL, passwords before its host
    (re.compile(r"(://)[^/\s'\"@]*@"), r"\1"),
    (re.compile(r"(://[^\s'\"?]*)\?[^\s'\"]*"), r"\1"),
    (re.compile(r"(?i)\b(bearer|token|secret|password|signature|credential)(\W+)\S+"), r"\1\2..."),
)
_UNREACHABLE = (
    "EndpointConnectionError", "ConnectTimeoutError", "ConnectionClosedError", "ReadTimeoutError",
    "ClientConnectorError", "ClientConnectorDNSError", "ServerTimeoutError", "FSTimeoutError",
    "ConnectionError", "TimeoutError", "ServerDisconnectedError", "HTTPClientError",
    "ConnectError", "ConnectTimeout", "gaierror",
)  # fmt: skip
_BAD_CREDENTIALS = ("PartialCredentialsError", "ProfileNotFound", "DefaultCredentialsError")


def without_secrets(text: str) -> str:
    """One line of what a server or a library says, without what opens its doors."""
    line = " ".join(text.split())
    for pattern, instead in _SECRETS:
        line = pattern.sub(instead, line)
    return line if len(line) <= _MOST else line[:_MOST] + "..."


def reason(error: BaseException) -> str:
    """Say why a request failed."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if isinstance(error, FileNotFoundError):
        return "there is nothing of this name"
    if isinstance(error, PermissionError):
        return "access is denied"
    if "NoCredentialsError" in kinds:
        return "no credentials in the environment (for a public bucket set FSSPEC_S3_ANON=true)"
    if kinds.intersection(_BAD_CREDENTIALS):
        return f"no credentials can be had from the environment ({without_secrets(str(error))})"
    if kinds.intersection(_UNREACHABLE):
        return f"the server cannot be reached ({type(error).__name__})"
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    said = without_secrets(text)
    if isinstance(error, OSError) and said:
        return said
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def as_os_error(error: BaseException) -> OSError:
    """Return what a reader expects of a file that cannot be read, whoever complained."""
    if isinstance(error, FileNotFoundError):
        return FileNotFoundError(errno.ENOENT, reason(error))
    if isinstance(error, PermissionError):
        return PermissionError(errno.EACCES, reason(error))
    return OSError(errno.EIO, reason(error))
