"""``http(s)://host/predict``: a product's endpoint, asked for predictions; docs/howto/models.md describes the messages."""

import base64
import hashlib
import io
import json
import os
import time
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import urlsplit, urlunsplit

import numpy as np
import requests
from numpy.typing import NDArray
from PIL import Image
from requests.adapters import HTTPAdapter
from torch import nn
from urllib3.util import Retry

from calibration.common.errors import InputError, UnavailableError
from physpatch.victims.detector import TableDetector
from physpatch.victims.families.base import wrapped
from physpatch.victims.labels import read_labels
from physpatch.victims.networks.outputs import Predictions, Queries
from physpatch.victims.preprocessing import PLAIN, Adaptation, Preprocessing
from physpatch.victims.protocol import BareFamily, CatalogueEntry, Victim, WeightsInfo

ENCODINGS = ("json", "multipart")
_SIZE, _DETECTOR_SIZE = 224, 640  # sides of the pictures that are sent, where nothing else is said
_CONNECT_S = 4.0
_RETRIED = (429, 500, 502, 503, 504)
_BACKOFF_S = 0.5  # before the second attempt, doubled each time, unless the host says Retry-After
_LARGEST_ANSWER = 64 * 2**20
_LEAST = 1e-9  # probability of a class that the answer leaves out, if nothing remains for it


@dataclass(frozen=True)
class Endpoint:
    """How an endpoint is asked.

    Attributes:
        url: http or https.
        encoding: of :data:`ENCODINGS`.
        batch: the largest number of pictures in a request.
        timeout_s: for an answer.
        retries: after a failure of the connection, or an answer that says to try again later.
        requests_per_s: the highest rate; None for as fast as it answers.
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
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError(f"{self.url} is no address of an endpoint; expected http(s)://host/path")
        if parts.username or parts.password:
            raise InputError(
                "leave the password out of the address; name the environment variable of a token: token_env"
            )
        if self.encoding not in ENCODINGS:
            raise InputError(f"endpoint encoding {self.encoding!r}; expected {' or '.join(ENCODINGS)}")
        if self.batch < 1 or self.timeout_s <= 0 or self.retries < 0 or (self.requests_per_s or 1) <= 0:
            raise InputError(
                "an endpoint's batch, timeout_s and requests_per_s must be positive, and retries 0 or more"
            )
        if self.token_env and self.token_env not in os.environ:
            raise InputError(f"the environment variable {self.token_env}, which holds the endpoint's token, is not set")

    @property
    def name(self) -> str:
        """Return the address without its query, which may hold keys."""
        return urlunsplit(urlsplit(self.url)._replace(query="", fragment=""))


class Endpoints(BareFamily):
    """Endpoints over HTTP. Pictures leave this machine for the host that the user names."""

    name: ClassVar[str] = "endpoint"
    summary: ClassVar[str] = "an endpoint http(s)://host/path that classifies or detects: predictions only"
    caution: ClassVar[str] = "model {name}: photographs are sent to this host"

    def catalogue(self) -> list[CatalogueEntry]:
        source = "an endpoint that answers with scores or boxes"
        return [CatalogueEntry("HTTP(S)://HOST/PATH", "either", source, True, gradients=False, heat=False)]

    def knows(self, name: str) -> bool:
        return name.startswith(("http://", "https://"))

    def load_adapted(self, name: str, weights: Any, trust: bool, said: Adaptation) -> Victim:
        if weights is not None:
            raise InputError(f"{name} has its own weights; leave out --weights")
        return load_endpoint(Endpoint(name), said)


def load_endpoint(endpoint: Endpoint, said: Adaptation) -> Victim:
    """Ask an endpoint about one grey picture, and make a victim of it.

    Raises:
        InputError: an answer that is not as documented.
        UnavailableError: no answer.
    """
    client = Client(endpoint, None if said.labels is None else read_labels(said.labels))
    usual = _DETECTOR_SIZE if said.task == "detect" else _SIZE
    given = said.preprocessing(Preprocessing(usual, usual, *PLAIN))  # pictures are sent as they are
    client.predict(np.full((1, 3, given.size, given.size), 0.5, np.float32))
    identity = hashlib.sha256("\n".join([endpoint.name, *client.labels]).encode()).hexdigest()
    info = WeightsInfo(
        f"endpoint {endpoint.name}, whose weights are unknown; the hash is of its address and labels", identity
    )
    network: nn.Module = Predictions(client.predict, endpoint.batch, client)
    if not client.finds_boxes:
        return wrapped(network, endpoint.name, info, said, given, categories=client.labels, differentiable=False)
    victim = TableDetector(endpoint.name, "detect", client.labels, given, network, None, info, differentiable=False)
    return victim.adapted(said)


class Client:
    """A session with an endpoint, which counts what it sends.

    Attributes:
        labels: names of the classes; from the first answer, where they are not given.
        finds_boxes: whether the last answer was of boxes.
        queries: the numbers of requests and of pictures sent so far, without repeated attempts.
    """

    def __init__(self, endpoint: Endpoint, labels: tuple[str, ...] | None) -> None:
        self._endpoint = endpoint
        self.labels: tuple[str, ...] = labels or ()
        self.finds_boxes = False
        self.queries = Queries(0, 0)
        self._next_s = 0.0
        retry = Retry(
            total=endpoint.retries,
            backoff_factor=_BACKOFF_S,
            status_forcelist=_RETRIED,
            allowed_methods=None,  # a prediction changes nothing, so POST may be repeated
            raise_on_status=False,
        )
        self._session = requests.Session()
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(max_retries=retry))
        if endpoint.token_env:
            self._session.headers["Authorization"] = f"Bearer {os.environ[endpoint.token_env]}"

    def predict(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Ask about images (B, 3, H, W) in [0, 1]: for logits (B, K), or a table of boxes (B, A, 4 + K).

        A row of the table is a box: left, top, right, bottom in pixels, and a probability of each class.

        Raises:
            InputError: an answer that is not as documented.
            UnavailableError: no answer within the time and attempts allowed.
        """
        answer = self._ask([_png(image) for image in images])
        if not isinstance(answer, dict):
            raise self._unexpected("no object")
        if not self.labels:
            self.labels = tuple(map(str, answer.get("labels") or ()))
        self.finds_boxes = "boxes" in answer
        return self._table(answer["boxes"], len(images)) if self.finds_boxes else self._logits(answer, len(images))

    def _ask(self, pictures: list[bytes]) -> Any:
        rate = self._endpoint.requests_per_s
        if rate is not None:
            time.sleep(max(0.0, self._next_s - time.monotonic()))
            self._next_s = time.monotonic() + 1 / rate
        self.queries = Queries(self.queries.requests + 1, self.queries.images + len(pictures))
        if self._endpoint.encoding == "json":
            content: dict[str, Any] = {"json": {"images": [base64.b64encode(p).decode("ascii") for p in pictures]}}
        else:
            content = {"files": [("images", (f"{i}.png", p, "image/png")) for i, p in enumerate(pictures)]}
        name = self._endpoint.name
        try:
            with self._session.post(
                self._endpoint.url,
                timeout=(_CONNECT_S, self._endpoint.timeout_s),
                allow_redirects=False,  # pictures go to the host that was named, and to no other
                stream=True,
                **content,
            ) as response:
                body = response.raw.read(_LARGEST_ANSWER + 1, decode_content=True)
        except (requests.RequestException, OSError) as error:
            cure = "is it running, and the address right?"
            raise UnavailableError(f"{name} does not answer ({_reason(error)}); {cure}") from error
        if response.status_code != requests.codes.ok:
            raise UnavailableError(f"{name} answers with status {response.status_code} ({response.reason})")
        try:
            return json.loads(body) if len(body) <= _LARGEST_ANSWER else None
        except ValueError as error:
            raise InputError(f"the answer of {name} is not JSON ({error})") from error

    def _logits(self, answer: dict[str, Any], count: int) -> NDArray[np.float32]:
        if "predictions" in answer:
            scores = self._logits_of_best(answer["predictions"], count)
        elif "logits" in answer or "probabilities" in answer:
            try:
                scores = np.asarray(answer.get("logits", answer.get("probabilities")), np.float32)
            except (TypeError, ValueError) as error:
                raise self._unexpected(str(error)) from error
            if "logits" not in answer:
                scores = np.log(np.clip(scores, _LEAST, None))
        else:
            raise self._unexpected("none of logits, probabilities, predictions and boxes")
        if not self.labels and scores.ndim == 2:
            self.labels = tuple(f"class {i}" for i in range(scores.shape[1]))
        if scores.shape != (count, len(self.labels)) or not np.isfinite(scores).all():
            raise self._unexpected(f"scores of shape {scores.shape} for {count} pictures and {len(self.labels)} labels")
        return scores.astype(np.float32)

    def _table(self, boxes: Any, count: int) -> NDArray[np.float32]:
        """Turn the boxes of each picture into a table, in which those of shorter lists have the probability 0."""
        index = self._index("boxes")
        if not isinstance(boxes, list) or len(boxes) != count or not all(isinstance(found, list) for found in boxes):
            raise self._unexpected("not one list of boxes for each picture")
        table = np.zeros((count, max(1, *map(len, boxes)), 4 + len(self.labels)), np.float32)
        for rows, found in zip(table, boxes, strict=True):
            for row, entry in zip(rows, found, strict=False):
                try:
                    row[:4] = entry["box"]
                    row[4 + index[str(entry["label"])]] = float(entry["score"])
                except (KeyError, TypeError, ValueError) as error:
                    what = (
                        f"a box that is not {{label, score, box: [left, top, right, bottom]}} of a known label: {error}"
                    )
                    raise self._unexpected(what) from error
        if not np.isfinite(table).all():
            raise self._unexpected("numbers that are not finite")
        return table

    def _index(self, what: str) -> dict[str, int]:
        """Number the labels.

        Raises:
            InputError: they are not known; the answer has ``what`` of some classes only.
        """
        if not self.labels:
            raise InputError(f"{self._endpoint.name} names only {what}; give all classes with --labels")
        return {name: i for i, name in enumerate(self.labels)}

    def _logits_of_best(self, predictions: Any, count: int) -> NDArray[np.float32]:
        """Turn the best classes of each picture into logits; what their scores leave is spread over the others."""
        index = self._index("its best classes")
        if not isinstance(predictions, list) or len(predictions) != count:
            raise self._unexpected("not one list of predictions for each picture")
        rows = np.zeros((count, len(self.labels)))
        for row, best in zip(rows, predictions, strict=True):
            try:
                named = {index[str(entry["label"])]: float(entry["score"]) for entry in best}
            except (KeyError, TypeError, ValueError) as error:
                raise self._unexpected(
                    f"a prediction that is not {{label, score}} of a known label: {error}"
                ) from error
            remaining = max(0.0, 1 - sum(named.values())) / max(1, len(row) - len(named))
            row[:] = max(remaining, _LEAST)
            row[list(named)] = [max(score, _LEAST) for score in named.values()]
        return np.log(rows).astype(np.float32)

    def _unexpected(self, what: str) -> InputError:
        return InputError(f"the answer of {self._endpoint.name} is not as documented: {what}")


def _png(image: NDArray[np.float32]) -> bytes:
    pixels = (image.transpose(1, 2, 0).clip(0, 1) * 255).round().astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="png")
    return buffer.getvalue()


def _reason(error: Exception) -> str:
    return str(error).splitlines()[0][:160] if str(error) else type(error).__name__
