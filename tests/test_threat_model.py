"""THREAT_MODEL.md is kept alive: each promise has its tests, each limit its promise."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from weebill.settings import options

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "THREAT_MODEL.md").read_text(encoding="utf-8")
REFERENCE = re.compile(r"`(test_\w+\.py)::(\w+)`")

# The rows of a table: a promise, and the tests that hold it.
PROMISES = [
    line.strip("| ").split(" | ") for line in PAGE.splitlines() if re.match(r"\| (?!We promise|---)", line)
]

# Rows of the settings table that are limits.
LIMITS = [o.name for o in options() if o.group in ("How much it takes", "How long it waits")]
LIMITS += ["threads", "thread_queue"]


def functions_of(file: str) -> set[str]:
    tree = ast.parse((ROOT / "tests" / file).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise[0][:40])
def test_each_promise_is_held_by_tests_that_exist(promise: list[str]) -> None:
    _, held_by = promise
    references = REFERENCE.findall(held_by)
    assert references
    assert REFERENCE.sub("", held_by).strip(", ") == ""
    assert [f"{file}::{test}" for file, test in references if test not in functions_of(file)] == []


def test_the_page_has_promises_against_each_attacker() -> None:
    parts = PAGE.split("\n## ")[1:-1]
    assert len(parts) == 8
    for part in parts:
        assert "| We promise | Held by |" in part
        assert "\nWe do not promise " in part
    assert len(PROMISES) > 30


@pytest.mark.parametrize("limit", LIMITS)
def test_each_limit_is_part_of_a_promise(limit: str) -> None:
    assert any(f"`{limit}`" in promise for promise, _ in PROMISES)


def test_security_md_is_short_and_says_how_to_report() -> None:
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 20
    assert "Report a vulnerability" in text
    assert "THREAT_MODEL.md" in text
    assert "@" not in text
