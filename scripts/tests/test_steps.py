"""scripts/test after a build that fails: what needs it is skipped and told, the rest still runs."""

import pathlib
import shutil
import subprocess
import tempfile
import unittest

SCRIPTS = pathlib.Path(__file__).resolve().parents[1]


class StepsTest(unittest.TestCase):
    """Runs scripts/test in a folder of its own, where every tool is a stand-in."""

    def run_tests(self, *options, **tools):
        """Each tool is a line of shell; returns (exit code, the summary's outcomes by step)."""
        done = self.run_script(*options, **tools)
        outcomes = {}
        for line in done.stdout.splitlines():
            step, separator, outcome = line.partition(" s  ")
            if separator:
                outcomes[step[:44].strip()] = outcome
        return done.returncode, outcomes

    def run_script(self, *options, **tools):
        """The same, returning all that it said."""
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            stand_ins = {
                "scripts/install-deps": "true", "scripts/build": "true", "examples/run-all": "true",
                "scripts/quickstart": "true",
                "fuzz/run": "true",
                ".venv/bin/python": "true", "bin/swift": "true", **tools,
            }
            for path, line in stand_ins.items():
                file = root / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(f"#!/usr/bin/env bash\n{line}\n")
                file.chmod(0o755)
            shutil.copy(SCRIPTS / "test", root / "scripts" / "test")
            wanted = root / "Tests" / "EndToEnd" / "requirements.txt"
            wanted.parent.mkdir(parents=True)
            wanted.write_text("")
            return subprocess.run(
                [root / "scripts" / "test", *options], capture_output=True, text=True, timeout=60,
                check=False, env={"PATH": f"{root}/bin:/usr/bin:/bin", "HOME": folder})

    def test_all_pass(self):
        """Every step runs, and the script says so."""
        code, outcomes = self.run_tests()
        self.assertEqual(code, 0)
        self.assertEqual(set(outcomes.values()), {"passed"})
        self.assertIn("end-to-end tests, thread sanitizer", outcomes)

    def test_a_failed_release_build(self):
        """Its end-to-end tests and examples are skipped; unit tests are not."""
        code, outcomes = self.run_tests("--quick", **{"scripts/build": "exit 1"})
        self.assertEqual(code, 1)
        self.assertEqual(outcomes["release build"], "FAILED")
        self.assertEqual(outcomes["unit tests"], "passed")
        for step in ("end-to-end tests", "quickstart", "examples"):
            self.assertEqual(outcomes[step], "skipped: 'release build' did not pass")

    def test_what_failed_is_repeated_at_the_end(self):
        """A long log need not be searched: the failed test's name stands below the summary."""
        words = "echo 'FAILED some_test.py::test_this'; echo 'and so on'; exit 1"
        said = self.run_script("--quick", **{"examples/run-all": words}).stdout
        summary = said.rindex(" s  FAILED")
        self.assertIn("== examples\nFAILED some_test.py::test_this\n", said[summary:])
        self.assertTrue(said.endswith("test: there were failures\n"))

    def test_a_failed_sanitizer_build(self):
        """What runs its binaries is skipped; the other sanitizer is not."""
        code, outcomes = self.run_tests(
            **{"bin/swift": '[[ "$1 $*" != "build "*"--sanitize address"* ]]'})
        self.assertEqual(code, 1)
        self.assertEqual(outcomes["build, address sanitizer"], "FAILED")
        for step in ("unit tests", "end-to-end tests", "reports"):
            self.assertEqual(
                outcomes[f"{step}, address sanitizer"],
                "skipped: 'build, address sanitizer' did not pass")
            self.assertEqual(outcomes[f"{step}, thread sanitizer"], "passed")

    def test_failed_tests_do_not_hide_reports(self):
        """Reports are looked at after tests that failed."""
        code, outcomes = self.run_tests(**{".venv/bin/python": "[[ $2 != pytest ]]"})
        self.assertEqual(code, 1)
        self.assertEqual(outcomes["end-to-end tests, address sanitizer"], "FAILED")
        self.assertEqual(outcomes["reports, address sanitizer"], "passed")


if __name__ == "__main__":
    unittest.main()
