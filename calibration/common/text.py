"""Text that strangers give: from clients, names of files and models, and the command line; and sizes and numbers for people."""

import re
import unicodedata

_UNKNOWN = "\N{REPLACEMENT CHARACTER}"
_SECRET = re.compile(r"(?<![a-z])(user(?:name)?|usr|login|pass(?:word|wd)?|pwd|token)=[^&?/#;]*", re.IGNORECASE)
_HIDDEN = "***"  # in an address without its password
_PORT = re.compile(r"\d*|.*\]")  # or the end of an address in brackets


def has_controls(text: str) -> bool:
    """Tell whether a text has control characters, such as line breaks and tabs, or lone surrogates."""
    return any(unicodedata.category(letter) in ("Cc", "Cs") for letter in text)


def cleaned(text: str) -> str:
    """Replace what cannot be stored or shown: lone surrogates by U+FFFD, other unprintable characters by spaces.

    A lone surrogate comes from JSON's escapes, and from names of files that are not UTF-8. It cannot be encoded.
    """
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else _UNKNOWN if "\ud800" <= letter <= "\udfff" else " " for letter in text
    )


def without_password(address: str) -> str:
    """Replace the user and password of a URL, such as that of a network camera, by ``***``; other texts stay as they are.

    Also what cameras put into the path or the query, such as ``user=admin&password=…``.
    """
    scheme, mark, location = address.partition("://")
    if not mark:
        return address
    host, slash, path = location.partition("/")
    _, colon, port = host.rpartition(":")
    if "@" not in host and colon and not _PORT.fullmatch(port):  # a password with a slash
        before, at, _ = re.split("[?#]", location, maxsplit=1)[0].rpartition("@")
        if at:
            host, slash, path = location[len(before) :].partition("/")
    _, at, host = host.rpartition("@")
    return f"{scheme}{mark}{_HIDDEN if at else ''}{at}" + _SECRET.sub(rf"\1={_HIDDEN}", f"{host}{slash}{path}")


def lacks_password(address: str) -> bool:
    """Tell whether :func:`without_password` has replaced something in a URL."""
    return f"={_HIDDEN}" in address or f"://{_HIDDEN}@" in address


def without_user(address: str) -> str:
    """Return what :func:`without_password` made of a URL without the mark before its host, which it once did not leave."""
    return address.replace(f"://{_HIDDEN}@", "://")


def shortened(text: str, most: int) -> str:
    """Return a text of at most ``most`` characters as it is, and of a longer one that many and an ellipsis."""
    return text if len(text) <= most else f"{text[:most]}…"


def in_markdown(text: str) -> str:
    """Escape a text so that Markdown, also within a table, shows it as it is, in one line."""
    plain = cleaned(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*\[\]|])", r"\\\1", plain)


def number_of(count: int, thing: str) -> str:
    """Format a number of things for people, such as ``1 clip`` or ``3 clips``."""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def size_words(size_bytes: int) -> str:
    """Format a size for people, such as ``3.4 MB``."""
    size, unit = float(size_bytes), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
