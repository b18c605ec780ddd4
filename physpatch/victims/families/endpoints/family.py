"""``http(s)://host/predict``: a product's endpoint, asked for predictions; docs/howto/models.md describes the messages."""

import hashlib
from typing import Any, ClassVar

import numpy as np

from calibration.common.errors import InputError
from physpatch.victims.detector import TableDetector
from physpatch.victims.families.base import wrapped
from physpatch.victims.families.endpoints.client import Client
from physpatch.victims.families.endpoints.settings import Endpoint
from physpatch.victims.labels import read_labels
from physpatch.victims.networks.outputs import FixedBatch, Predictions
from physpatch.victims.preprocessing import PLAIN, Adaptation, Preprocessing
from physpatch.victims.protocol import BareFamily, CatalogueEntry, Victim, WeightsInfo

_SIZE, _DETECTOR_SIZE = 224, 640  # sides of the pictures that are sent, where nothing else is said


class Endpoints(BareFamily):
    """Endpoints over HTTP. Pictures leave this machine for the host that the user names."""

    name: ClassVar[str] = "endpoint"
    summary: ClassVar[str] = "an endpoint http(s)://host/path that classifies or detects: predictions only"
    caution: ClassVar[str] = "model {name}: photographs are sent to this host"

    def catalogue(self) -> list[CatalogueEntry]:
        source = "an endpoint that answers with scores or boxes"
        return [CatalogueEntry("HTTP(S)://HOST/PATH", "either", source, True, gradients=False, heat=False)]

    def knows(self, name: str) -> bool:
        return name.lower().startswith(("http://", "https://"))

    def caution_for(self, name: str) -> str:
        """Name the host, without what may be a password or a key in its address.

        Raises:
            InputError: it is no address.
        """
        return super().caution_for(Endpoint(name).name)

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
    preprocessing = said.preprocessing(Preprocessing(usual, usual, *PLAIN))  # pictures are sent as they are
    client.predict(np.full((1, 3, preprocessing.size, preprocessing.size), 0.5, np.float32))
    if len(client.labels) < 2 and not client.finds_boxes:
        raise InputError(f"{endpoint.name} has one class, {client.labels[0]!r}; expected the scores of two or more")
    identity = hashlib.sha256("\n".join([endpoint.name, *client.labels]).encode()).hexdigest()
    info = WeightsInfo(
        f"endpoint {endpoint.name}, whose weights are unknown; the hash is of its address and labels", identity
    )
    network = FixedBatch(Predictions(client.predict, client), endpoint.batch, filled=False)
    if not client.finds_boxes:
        return wrapped(
            network, endpoint.name, info, said, preprocessing, categories=client.labels, differentiable=False
        )
    victim = TableDetector(
        endpoint.name, "detect", client.labels, preprocessing, network, None, info, differentiable=False
    )
    return victim.adapted(said)
