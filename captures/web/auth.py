"""Authentication by keys in links and cookies in browsers."""

import secrets
import threading
from typing import Literal

Role = Literal["page", "phone"]


class Authenticator:
    """Exchange keys from links for cookies, and check cookies.

    The key of the page can be used repeatedly, because only the user of this machine sees it. The link for a phone is valid
    for one browser.
    """

    def __init__(self) -> None:
        self.page_key = secrets.token_urlsafe(18)
        self._links: set[str] = set()
        self._cookies: dict[str, Role] = {}
        self._lock = threading.Lock()

    def new_link_key(self) -> str:
        """Create a key that admits one phone, once; earlier unused keys become invalid."""
        with self._lock:
            self._links = {secrets.token_urlsafe(18)}
            return next(iter(self._links))

    def admit(self, key: str) -> tuple[str, Role] | None:
        """Exchange a key for a new cookie and its role; return None if the key is wrong or was used."""
        with self._lock:
            role: Role = "page"
            if not secrets.compare_digest(key.encode(), self.page_key.encode()):
                encoded = key.encode()
                link = next((token for token in self._links if secrets.compare_digest(encoded, token.encode())), None)
                if link is None:
                    return None
                self._links.discard(link)
                role = "phone"
            cookie = secrets.token_urlsafe(24)
            self._cookies[cookie] = role
            return cookie, role

    def role(self, cookie: str | None) -> Role | None:
        """Return the role of a cookie; None if the cookie is not valid."""
        with self._lock:
            return self._cookies.get(cookie or "")
