"""The fields that Fairlead's trimmed protos have, and which of them a configuration sets."""

import pathlib
import re

PROTOS = pathlib.Path(__file__).resolve().parents[3] / "protos"

_TOKEN = re.compile(r'//[^\n]*|/\*.*?\*/|"[^"]*"|[\w.]+|\S', re.DOTALL)


class Schema:
    """Messages by full name, each with its fields: {name: (type name, is map)}."""

    def __init__(self, root=PROTOS):
        self.messages = {}
        for file in sorted(root.rglob("*.proto")):
            tokens = [t for t in _TOKEN.findall(file.read_text()) if not t.startswith(("//", "/*"))]
            _File(self, tokens).read()

    def resolve(self, name, scope):
        """The message a type name means in a scope, or None for a scalar or an enumeration."""
        parts = scope.split(".")
        for depth in range(len(parts), -1, -1):
            full = ".".join(parts[:depth] + [name])
            if full in self.messages:
                return full
        return None

    def used(self, document, message, found, unknown, place=""):
        """Adds the (message, field) pairs that a document sets to `found`, others to `unknown`."""
        if not isinstance(document, dict):
            return
        if message is None or message == "google.protobuf.Any":
            message = document.get("@type", "").rpartition("/")[2]
        if message not in self.messages:
            if message and not message.startswith("google.protobuf."):
                unknown.add(message)
            return
        for key, value in document.items():
            if key == "@type":
                continue
            field = self.messages[message].get(key)
            if field is None:
                unknown.add(f"{message}.{key}")
                continue
            found.add((message, key))
            kind, is_map = field
            child = "google.protobuf.Any" if kind == "google.protobuf.Any" else self.resolve(
                kind, message)
            if child is None:
                continue
            for item in value.values() if is_map else value if isinstance(value, list) else [value]:
                self.used(item, child, found, unknown, f"{place}.{key}")


class _File:
    """Reads one file's tokens."""

    def __init__(self, schema, tokens):
        self.schema = schema
        self.tokens = tokens
        self.at = 0

    def next(self):
        self.at += 1
        return self.tokens[self.at - 1]

    def skip_to(self, mark):
        while self.next() != mark:
            pass

    def read(self):
        package = ""
        while self.at < len(self.tokens):
            word = self.next()
            if word == "package":
                package = self.next()
                self.skip_to(";")
            elif word == "message":
                self.message(package)
            elif word == "enum":
                self.enumeration()
            else:
                self.skip_to(";")

    def enumeration(self):
        self.skip_to("}")

    def message(self, scope):
        full = f"{scope}.{self.next()}"
        fields = self.schema.messages.setdefault(full, {})
        assert self.next() == "{"
        self.fields(full, fields)

    def fields(self, full, fields):
        while (word := self.next()) != "}":
            if word == "message":
                self.message(full)
            elif word == "enum":
                self.enumeration()
            elif word == "oneof":
                self.next()
                assert self.next() == "{"
                self.fields(full, fields)
            elif word in ("reserved", "option"):
                self.skip_to(";")
            elif word == "map":
                self.skip_to(",")
                kind = self.next()
                assert self.next() == ">"
                fields[self.next()] = (kind, True)
                self.skip_to(";")
            elif word != ";":
                kind = self.next() if word in ("repeated", "optional") else word
                fields[self.next()] = (kind, False)
                self.skip_to(";")
