"""The web console: pages in `static/`, hand-written ES modules that talk to the public API, and the routes that serve them."""
