"""CPython's own tests of `smtplib`, with ours in its place."""
from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec

import pytest

# What does not pass, and why. Nothing, so far: what is different on purpose is what CPython does not test.
EXCEPTED: dict[str, str] = {}

RUN = """
import json, sys, unittest
from smtp_from_scratch import compat
sys.modules["smtplib"] = compat
from test import test_smtplib
assert test_smtplib.smtplib is compat
suite = unittest.defaultTestLoader.loadTestsFromModule(test_smtplib)
result = unittest.TextTestRunner(stream=sys.stderr).run(suite)
failed = {test.id().partition("test_smtplib.")[2]: text for test, text in result.failures + result.errors}
print(json.dumps({"run": result.testsRun, "skipped": [str(test) for test, _ in result.skipped], "failed": failed}))
"""


def test_cpythons_tests_of_smtplib_pass_with_ours() -> None:
    if find_spec("test") is None or find_spec("test.test_smtplib") is None:
        pytest.skip("this Python came without its own tests: Debian's does, one from python.org has them")
    done = subprocess.run([sys.executable, "-c", RUN], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["run"] >= 82 and result["skipped"] == []
    assert result["failed"].keys() == EXCEPTED.keys(), "\n".join(result["failed"].values())
