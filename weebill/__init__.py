"""Weebill: a small web framework that brings its own HTTP server."""

__version__ = "0.1.0"
