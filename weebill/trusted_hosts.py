"""Which names of hosts a program answers to."""

from __future__ import annotations
