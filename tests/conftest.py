"""Fixtures for every test, and the rule that a golden test that could run does run."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator
from pathlib import Path

import pytest

SHARED = os.environ.get("WALCORE_SHARED")
# Subprocesses started in the checkout must find the installed package too, not the uncompiled folder before their feet.
os.environ["PYTHONSAFEPATH"] = "1"
# A shell's job in the background is born deaf to Ctrl-C, and so is what a test starts, interrupts and waits for.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with RDF4J's golden logs, the harness that wrote them, and a maker of power cuts; no part of this."""
    if not SHARED:
        pytest.skip("WALCORE_SHARED is not set: it names the folder that holds golden/, upstream/ and crashstates/")
    return Path(SHARED)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where the golden logs are there, a golden test that skips itself has failed: nobody reads a list of skips."""
    report = yield
    if SHARED and report.skipped and not hasattr(report, "wasxfail") and "golden" in item.path.parts:
        report.outcome = "failed"
        report.longrepr = f"skipped although WALCORE_SHARED is set: {report.longrepr}"
    return report
