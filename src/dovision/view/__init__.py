"""Live view: brush over an image in a browser and see P(y | do) move; computation, server and page apart."""
