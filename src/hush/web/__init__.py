"""hush as a server: an HTTP API, and a page for a browser. Needs the extra ``web``."""
