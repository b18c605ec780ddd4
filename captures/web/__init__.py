"""The session in a browser: a page to watch and steer it, and a phone as its camera."""
