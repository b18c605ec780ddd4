"""A product's endpoint over HTTP."""

from physpatch.victims.families.endpoints.client import Client
from physpatch.victims.families.endpoints.family import Endpoints, load_endpoint
from physpatch.victims.families.endpoints.settings import Endpoint

__all__ = ["Client", "Endpoint", "Endpoints", "load_endpoint"]
