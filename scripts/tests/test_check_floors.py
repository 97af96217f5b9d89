"""What scripts/check-floors accepts and refuses. Run: python3 -m unittest discover scripts/tests"""

import importlib.machinery
import importlib.util
import pathlib
import tempfile
import unittest

PATH = pathlib.Path(__file__).resolve().parent.parent / "check-floors"


def load(path):
    """The script as a module; it has no .py at its end."""
    loader = importlib.machinery.SourceFileLoader("check_floors", str(path))
    spec = importlib.util.spec_from_loader("check_floors", loader)
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


check_floors = load(PATH)

DOCUMENT = """
| 9 | `Elsewhere` | not in the table |
<!-- floors: begin -->
| floor | targets | what |
|---|---|---|
| 0 | `CLinux` | C |
| 1 | `Engine` `Telemetry` | `CODE` in prose is not a target |
| 4 | `Retry` | modules |
| 7 | `fairlead` | start |
<!-- floors: end -->
"""


def target(name, *depends, kind="regular", path=None):
    return {
        "name": name,
        "type": kind,
        "path": path,
        "dependencies": [{"byName": [other, None]} for other in depends],
    }


def package(*targets):
    return {"targets": list(targets)}


class Table(unittest.TestCase):
    def test_only_the_table_between_the_markers_counts(self):
        self.assertEqual(
            check_floors.read_floors(DOCUMENT),
            {"CLinux": 0, "Engine": 1, "Telemetry": 1, "Retry": 4, "fairlead": 7},
        )

    def test_a_target_on_two_floors_is_refused(self):
        twice = DOCUMENT.replace("| 4 | `Retry`", "| 4 | `Engine`")
        with self.assertRaisesRegex(ValueError, "Engine on two floors"):
            check_floors.read_floors(twice)

    def test_a_document_without_markers_is_refused(self):
        with self.assertRaisesRegex(ValueError, "markers"):
            check_floors.read_floors("no table")


class Dependencies(unittest.TestCase):
    floors = {"CLinux": 0, "Engine": 1, "Telemetry": 1, "FilterSDK": 3, "Retry": 4, "fairlead": 7}

    def violations(self, *targets):
        missing = [target(name) for name in self.floors if name not in [t["name"] for t in targets]]
        return check_floors.find_violations(self.floors, package(*targets, *missing))

    def test_down_is_allowed(self):
        self.assertEqual(self.violations(target("Engine", "CLinux", "SomeProduct")), [])

    def test_sideways_is_refused(self):
        found = self.violations(target("Engine", "Telemetry"))
        self.assertEqual(found, ["Engine (floor 1) depends sideways on Telemetry (floor 1)"])

    def test_up_is_refused(self):
        found = self.violations(target("CLinux", "Engine"))
        self.assertEqual(found, ["CLinux (floor 0) depends up on Engine (floor 1)"])

    def test_a_dependency_written_as_target_is_seen(self):
        up = target("CLinux")
        up["dependencies"] = [{"target": ["Engine", None]}]
        self.assertEqual(len(self.violations(up)), 1)

    def test_a_target_without_a_floor_is_refused(self):
        self.assertIn("Stray is on no floor of ARCHITECTURE.md", self.violations(target("Stray")))

    def test_a_floor_without_its_target_is_refused(self):
        found = check_floors.find_violations({"Gone": 1}, package())
        self.assertEqual(found, ["ARCHITECTURE.md has Gone, Package.swift does not"])

    def test_a_module_sees_the_sdk(self):
        self.assertEqual(self.violations(target("Retry", "FilterSDK", path="Plugins/Retry")), [])

    def test_a_module_sees_nothing_else(self):
        found = self.violations(target("Retry", "Engine", path="Plugins/Retry"))
        self.assertEqual(found, ["the module Retry depends on Engine; a module sees FilterSDK only"])

    def test_a_test_may_depend_on_any_library(self):
        self.assertEqual(self.violations(target("EngineTests", "Engine", kind="test")), [])

    def test_nothing_depends_on_an_executable(self):
        found = self.violations(
            target("fairlead", kind="executable"), target("MainTests", "fairlead", kind="test")
        )
        self.assertEqual(found, ["MainTests depends on the executable fairlead"])


class Foundation(unittest.TestCase):
    def found(self, source, name="Engine"):
        with tempfile.TemporaryDirectory() as root:
            folder = pathlib.Path(root, "Sources", name)
            folder.mkdir(parents=True)
            (folder / "File.swift").write_text(source)
            floors = {"Engine": 1, "Resources": 2, "DataPlane": 6}
            return check_floors.find_foundation(
                floors, package(target(name)), pathlib.Path(root)
            )

    def test_each_way_to_import_it_is_seen(self):
        for line in (
            "import Foundation",
            "import FoundationEssentials",
            "internal import Foundation",
            "@preconcurrency import Foundation",
            "import struct Foundation.Data",
        ):
            with self.subTest(line):
                self.assertEqual(len(self.found(f"import CLinux\n{line}\n")), 1)

    def test_talking_about_it_is_allowed(self):
        self.assertEqual(self.found("// import Foundation would cost 7 MB\n"), [])

    def test_it_is_allowed_from_floor_6_and_in_resources(self):
        self.assertEqual(self.found("import Foundation\n", "DataPlane"), [])
        self.assertEqual(self.found("import Foundation\n", "Resources"), [])


if __name__ == "__main__":
    unittest.main()
