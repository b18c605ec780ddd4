"""A session with an endpoint: what is sent, how often and how long, and what came back."""

import base64
import io
import os
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from queue import Empty, SimpleQueue
from typing import Any, TypeVar
from urllib.parse import urlsplit

import numpy as np
import requests
from numpy.typing import NDArray
from PIL import Image
from urllib3.exceptions import HTTPError

from calibration.common.errors import InputError, UnavailableError, first_line
from calibration.common.text import cleaned, shortened
from physpatch.victims.families.endpoints.answers import (
    Answer,
    UnexpectedAnswerError,
    UnnamedClassesError,
    read_answer,
)
from physpatch.victims.families.endpoints.settings import Endpoint
from physpatch.victims.networks.outputs import Queries

_CONNECT_S = 4.0
_TRY_AGAIN = (429, 500, 502, 503, 504)
_NOT_ALLOWED = (401, 403)
_LONGEST_LOCATION = 80  # characters of a redirect's in a message
_BACKOFF_S = 0.5  # before the second attempt, doubled each time, unless the host says Retry-After
_LONGEST_PAUSE_S = 60.0  # that a host may ask for
_LARGEST_ANSWER = 64 * 2**20
_CHUNK = 2**16
_CERTIFICATES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")  # environment variables that name a company's own authority

T = TypeVar("T")


@dataclass(frozen=True)
class _Reply:
    """What came back in one attempt; ``retry_after`` and ``location`` are headers, empty without one."""

    status: int
    reason: str
    retry_after: str
    location: str
    body: bytes


class Client:
    """A session with an endpoint, which counts what it sends.

    Attributes:
        labels: names of the classes; from the first answer, where they are not given.
        finds_boxes: whether the last answer was of boxes.
        queries: the numbers of requests and of pictures sent so far, repeated attempts included.
    """

    def __init__(self, endpoint: Endpoint, labels: tuple[str, ...] | None) -> None:
        self._endpoint = endpoint
        self.labels: tuple[str, ...] = labels or ()
        self.finds_boxes = False
        self.queries = Queries(0, 0)
        self._first: Answer | None = None
        self._next_s = 0.0
        self._session = _opened(endpoint)

    def predict(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Ask about images (B, 3, H, W) in [0, 1]: for logits (B, K), or a table of boxes (B, A, 4 + K).

        A row of the table is a box: left, top, right, bottom in pixels, and a probability of each class.

        Raises:
            InputError: an answer that is not as documented.
            UnavailableError: no answer within the time and attempts allowed.
        """
        body = self._ask([_png(image) for image in images])
        name = self._endpoint.name
        try:
            answer = read_answer(body, len(images), self.labels)
        except UnexpectedAnswerError as error:
            raise InputError(f"the answer of {name} is not as documented: {error}") from error
        except UnnamedClassesError as error:
            raise InputError(f"{name} names only {error}; give all classes with --labels") from error
        self._check_alike(answer)
        self.labels, self.finds_boxes, self._first = answer.labels, answer.finds_boxes, self._first or answer
        return answer.values

    def _check_alike(self, answer: Answer) -> None:
        """Check that an answer has the form and the labels of the first: another model may have taken its place."""
        first = self._first or answer
        if answer.finds_boxes != first.finds_boxes or (answer.told and first.told and answer.told != first.told):
            aspect = "labels" if answer.finds_boxes == first.finds_boxes else "forms"
            raise InputError(f"the answers of {self._endpoint.name} have other {aspect} than at first; load it again")

    def _ask(self, pictures: list[bytes]) -> bytes:
        """Send pictures until there is an answer, or no more attempts."""
        content = _content(self._endpoint, pictures)
        attempt = 0
        while True:
            self._keep_pace()
            self.queries = Queries(self.queries.requests + 1, self.queries.images + len(pictures))
            reply = self._attempt(content)
            if isinstance(reply, _Reply) and reply.status not in _TRY_AGAIN:
                return self._body(reply)
            pause_s = self._pause_s(reply, attempt)
            if attempt >= self._endpoint.retries:
                raise self._unavailable(reply, attempt + 1)
            time.sleep(pause_s)
            attempt += 1

    def _keep_pace(self) -> None:
        rate = self._endpoint.requests_per_s
        if rate is not None:
            time.sleep(max(0.0, self._next_s - time.monotonic()))
            self._next_s = time.monotonic() + 1 / rate

    def _attempt(self, content: dict[str, Any]) -> _Reply | str:
        """Send once: what came back, or why nothing did."""
        session, endpoint = self._session, self._endpoint
        limit_s = endpoint.timeout_s

        def send() -> _Reply | str:
            ends_s = time.monotonic() + limit_s
            try:
                with session.post(
                    endpoint.url,
                    timeout=(min(_CONNECT_S, limit_s), limit_s),
                    allow_redirects=False,  # pictures go to the host that was named, and to no other
                    stream=True,
                    **content,
                ) as response:
                    after, location = (response.headers.get(name, "") for name in ("Retry-After", "Location"))
                    return _Reply(response.status_code, response.reason or "", after, location, _read(response, ends_s))
            except (requests.RequestException, HTTPError, OSError, ValueError) as error:
                return _reason(error, endpoint)

        try:
            return _within(limit_s, send)
        except TimeoutError:
            self._session = _opened(endpoint)  # the other still waits
            return f"no whole answer within {limit_s:g} s"

    def _pause_s(self, reply: _Reply | str, attempt: int) -> float:
        """Choose how long to wait before another attempt.

        Raises:
            UnavailableError: the host asks for longer than anybody would wait.
        """
        wanted_s = None if isinstance(reply, str) else _seconds(reply.retry_after)
        if wanted_s is None:
            return min(_BACKOFF_S * 2**attempt, _LONGEST_PAUSE_S)
        if wanted_s > _LONGEST_PAUSE_S and isinstance(reply, _Reply):
            raise UnavailableError(
                f"{self._answers(reply)} and asks to wait {wanted_s:.0f} s (Retry-After), longer than the "
                f"{_LONGEST_PAUSE_S:.0f} s that are waited; try again later"
            )
        return wanted_s

    def _body(self, reply: _Reply) -> bytes:
        if reply.status != requests.codes.ok:
            raise UnavailableError(f"{self._answers(reply)}{self._cure(reply)}")
        if len(reply.body) > _LARGEST_ANSWER:
            raise InputError(f"the answer of {self._endpoint.name} is larger than {_LARGEST_ANSWER // 2**20} MiB")
        return reply.body

    def _unavailable(self, reply: _Reply | str, attempts: int) -> UnavailableError:
        tried = f" in each of {attempts} attempts" if attempts > 1 else ""
        if isinstance(reply, _Reply):
            return UnavailableError(f"{self._answers(reply)}{tried}")
        cure = "is it running, and the address right?"
        return UnavailableError(f"{self._endpoint.name} does not answer{tried} ({reply}); {cure}")

    def _cure(self, reply: _Reply) -> str:
        """Say what to do about an answer that another attempt would not change; empty where nothing is known."""
        if reply.status in _NOT_ALLOWED:
            return f"; {'the token may be wrong' if self._endpoint.token_env else 'it may want a token: token_env'}"
        if reply.location:
            elsewhere = shortened(cleaned(reply.location), _LONGEST_LOCATION)
            return (
                f", to {elsewhere}; pictures are sent to no other address than the one given: if it is right, give it"
            )
        return ""

    def _answers(self, reply: _Reply) -> str:
        return f"{self._endpoint.name} answers with status {reply.status} ({cleaned(reply.reason)[:80]})"


def _opened(endpoint: Endpoint) -> requests.Session:
    """Open a session that sends what the endpoint's settings say, and nothing of the environment."""
    session = requests.Session()
    session.trust_env = False  # no passwords of ~/.netrc, and no proxy that sees the pictures
    session.verify = next((os.environ[name] for name in _CERTIFICATES if os.environ.get(name)), True)
    session.headers.update(endpoint.headers)
    return session


def _content(endpoint: Endpoint, pictures: list[bytes]) -> dict[str, Any]:
    if endpoint.encoding == "json":
        return {"json": {"images": [base64.b64encode(p).decode("ascii") for p in pictures]}}
    return {"files": [("images", (f"{i}.png", p, "image/png")) for i, p in enumerate(pictures)]}


def _read(response: requests.Response, ends_s: float) -> bytes:
    """Read a body up to a little more than the largest answer, until ``ends_s`` by the monotonic clock."""
    body = bytearray()
    for chunk in response.raw.stream(_CHUNK, decode_content=True):
        body += chunk
        if len(body) > _LARGEST_ANSWER or time.monotonic() > ends_s:
            break
    return bytes(body)


def _within(limit_s: float, run: Callable[[], T]) -> T:
    """Call a function in a thread of its own, and wait no longer than ``limit_s``.

    Time limits of sockets are for each part of an answer, and there are none for the look-up of a name: a host that sends a
    byte now and then would never be given up. Nobody waits for such a thread when the program ends.

    Raises:
        TimeoutError: it has not returned by then.
    """
    result: SimpleQueue[T] = SimpleQueue()
    threading.Thread(target=lambda: result.put(run()), daemon=True).start()
    try:
        return result.get(timeout=limit_s)
    except Empty:
        raise TimeoutError from None


def _seconds(header: str) -> float | None:
    """Read Retry-After, seconds or a date; None where there is none that can be read."""
    if re.fullmatch(r"\s*[0-9]+\s*", header):
        return float(header)
    try:
        at = parsedate_to_datetime(header)
        return max(0.0, ((at if at.tzinfo else at.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError, OverflowError):
        return None


def _png(image: NDArray[np.float32]) -> bytes:
    pixels = (image.transpose(1, 2, 0).clip(0, 1) * 255).round().astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="png")
    return buffer.getvalue()


def _reason(error: Exception, endpoint: Endpoint) -> str:
    """Describe a failure without the query of the address, which may hold keys."""
    inner = getattr(error.args[0], "reason", None) if error.args else None  # what urllib3 says, without the address
    words = first_line(inner if isinstance(inner, Exception) else error)
    query = urlsplit(endpoint.url).query
    return cleaned(words.replace(query, "…") if query else words)
