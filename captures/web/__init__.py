"""The session in a browser: a page to watch and control it, and a phone as its camera."""
