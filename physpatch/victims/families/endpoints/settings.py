"""How an endpoint is asked: its address, and the bounds of what is sent and waited for."""

import math
import os
import re
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from calibration.common.errors import InputError

ENCODINGS = ("json", "multipart")
_SCHEMES = ("http", "https")
_USER = re.compile(r"(?<=//)[^/?#]*@")
_HOST = re.compile(r"[\w.-]+")
_LONGEST_LABEL, _LONGEST_HOST = 63, 253  # of a name in DNS
# Larger numbers are slips, and some would overflow the clock.
_MOST_PICTURES, _MOST_RETRIES, _LONGEST_S, _FASTEST_PER_S = 1024, 20, 3600.0, 1e6


@dataclass(frozen=True)
class Endpoint:
    """How an endpoint is asked.

    Attributes:
        url: http or https.
        encoding: of :data:`ENCODINGS`.
        batch: the largest number of pictures in a request.
        timeout_s: for one attempt, from the look-up of the host to the last byte of the answer.
        retries: after a failure of the connection, or an answer that says to try again later.
        requests_per_s: the highest rate, of repeated attempts, too; None for as fast as it answers.
        token_env: the environment variable that holds a bearer token; the token is neither recorded nor shown.
    """

    url: str
    encoding: str = "json"
    batch: int = 16
    timeout_s: float = 20.0
    retries: int = 4
    requests_per_s: float | None = None
    token_env: str | None = None

    def __post_init__(self) -> None:
        _check_address(self.url)
        if self.encoding not in ENCODINGS:
            raise InputError(f"endpoint encoding {self.encoding!r}; expected {' or '.join(ENCODINGS)}")
        _check_range("batch", self.batch, 1, _MOST_PICTURES)
        _check_range("retries", self.retries, 0, _MOST_RETRIES)
        _check_range("timeout_s", self.timeout_s, 0, _LONGEST_S, open_below=True)
        if self.requests_per_s is not None:
            _check_range("requests_per_s", self.requests_per_s, 1 / _LONGEST_S, _FASTEST_PER_S)
        if self.token_env:
            self._token()

    @property
    def name(self) -> str:
        """Return the address without its query, which may hold keys."""
        return urlunsplit(urlsplit(self.url)._replace(query="", fragment=""))

    @property
    def headers(self) -> dict[str, str]:
        """Return what is sent beside the pictures: the token, if there is one."""
        return {"Authorization": f"Bearer {self._token()}"} if self.token_env else {}

    def _token(self) -> str:
        """Read the token.

        Raises:
            InputError: it is not set, or cannot be sent; the message does not show it.
        """
        token = os.environ.get(str(self.token_env), "").strip()
        if not token:
            raise InputError(f"the environment variable {self.token_env}, which holds the endpoint's token, is not set")
        if not (token.isascii() and token.isprintable()):
            raise InputError(f"the token in {self.token_env} has characters that no header can hold")
        return token


def _check_range(name: str, value: float, least: float, most: float, *, open_below: bool = False) -> None:
    if not (math.isfinite(value) and least <= value <= most) or (open_below and value == least):
        begin = f"above {least:g}" if open_below else f"{least:.3g}"
        raise InputError(f"an endpoint's {name} is {value}; expected {begin} to {most:g}")


def _check_address(url: str) -> None:
    shown_url = ascii(_USER.sub("…@", url)) if not url.isprintable() else _USER.sub("…@", url)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:  # an open bracket, or a port that is none
        raise InputError(f"{shown_url} is no address of an endpoint ({error}); expected http(s)://host/path") from error
    if parts.username or parts.password:
        raise InputError("leave the password out of the address; name the environment variable of a token: token_env")
    bracketed = "[" in parts.netloc  # IPv6, whose form urlsplit has checked
    sound = bracketed or (_HOST.fullmatch(host) and len(host) <= _LONGEST_HOST)
    long = any(len(label) > _LONGEST_LABEL for label in host.split("."))
    if parts.scheme not in _SCHEMES or not url.isprintable() or not sound or port == 0 or (long and not bracketed):
        raise InputError(f"{shown_url} is no address of an endpoint; expected http(s)://host/path")
