"""Who may come in: keys in links, cookies in browsers."""

import secrets
import threading
from typing import Literal

Role = Literal["page", "phone"]


class Authenticator:
    """Exchanges a key from a link for a cookie, and knows the cookies that it gave.

    The page's key may be used again: it is only told to the person at this machine. A phone's link is good for one browser.
    """

    def __init__(self) -> None:
        self.page_key = secrets.token_urlsafe(18)
        self._links: set[str] = set()
        self._cookies: dict[str, Role] = {}
        self._lock = threading.Lock()

    def new_link_key(self) -> str:
        """A key that lets one phone in, once. It makes the earlier ones that nobody used invalid."""
        with self._lock:
            self._links = {secrets.token_urlsafe(18)}
            return next(iter(self._links))

    def admit(self, key: str) -> tuple[str, Role] | None:
        """A fresh cookie and what it is for, in exchange for a key; None for a wrong or used one."""
        with self._lock:
            role: Role = "page"
            if not secrets.compare_digest(key.encode(), self.page_key.encode()):
                link = next((one for one in self._links if secrets.compare_digest(key.encode(), one.encode())), None)
                if link is None:
                    return None
                self._links.discard(link)
                role = "phone"
            cookie = secrets.token_urlsafe(24)
            self._cookies[cookie] = role
            return cookie, role

    def role(self, cookie: str | None) -> Role | None:
        """What a cookie is for; None where it is none of ours."""
        with self._lock:
            return self._cookies.get(cookie or "")
