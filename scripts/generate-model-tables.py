#!/usr/bin/env python3
"""Writes the two tables that the configuration reader knows its messages by.

usage: generate-model-tables.py model|mesh DESCRIPTOR_SET OUT_DIRECTORY   (called by generate-model)

`model` is Envoy's API, `mesh` Istio's and Kubernetes' (whose fields are known by their JSON names, the
only ones that people write, and of which generate-model-istio.txt has what the model lacks).

SchemaTable.swift  every message and enum of protos/: field names, numbers and types from our own
                   descriptors; the bounds of each field from the published ones (xds-protos).
EnvoyNames.swift   every field and enum value that Envoy's v3 API has in those messages, and every
                   extension type it has, so that a refusal can tell "not supported here" from
                   "no such thing".

The format of both is described where they are read: Sources/Resources/Schema.
"""
import glob
import importlib
import os
import sys
import warnings

warnings.filterwarnings("ignore")
from google.protobuf import descriptor, descriptor_pb2, descriptor_pool

PUBLISHED = descriptor_pool.Default()
PACKAGES = ("envoy", "udpa", "xds", "validate")

# Bounds of our own messages, which no published descriptor has.
OWN_RULES = {
    "fairlead.filters.http.timeout.v1.Timeout.timeout": ["gte=0"],
    "fairlead.filters.http.timeout.v1.Timeout.idle_timeout": ["gte=0"],
}

# Messages that are no part of any configuration: what travels between programs.
STREAMS = {"envoy/service/discovery/v3/streams.proto", "istio/v1/auth/ca.proto"}

# Whether fields are known by their names in JSON.
JSON_NAMES = sys.argv[1] == "mesh"

SCALARS = {
    number: name[5:].lower()
    for name, number in vars(descriptor.FieldDescriptor).items()
    if name.startswith("TYPE_")
}


def load_published():
    """Imports every published module, which registers its descriptors in the default pool."""
    site = next(p for p in sys.path if os.path.isdir(os.path.join(p, "envoy", "config")))
    modules = []
    for package in PACKAGES:
        modules += glob.glob(os.path.join(site, package, "**", "*_pb2.py"), recursive=True)
    files = []
    for module in sorted(modules):
        relative = os.path.relpath(module, site)
        try:
            importlib.import_module(relative[:-3].replace("/", "."))
            files.append(PUBLISHED.FindFileByName(relative[: -len("_pb2.py")] + ".proto"))
        except (ImportError, KeyError, TypeError):
            pass  # contrib packages with dependencies of their own
    return files


def messages_of(file):
    """Every message of a published file, nested ones after their parents."""
    queue = list(file.message_types_by_name.values())
    while queue:
        message = queue.pop(0)
        if not message.GetOptions().map_entry:
            yield message
            queue += message.nested_types


def nanoseconds(duration):
    return duration.seconds * 1_000_000_000 + duration.nanos


def number(value):
    return repr(value).removesuffix(".0")


def rules_of_type(kind, rules):
    """The words for one `validate.FieldRules` branch."""
    words = []
    for field, value in rules.ListFields():
        name = field.name
        if kind == "repeated" and name == "items":
            words += ["items." + word for word in words_of(value)]
        elif kind == "map" and name == "keys":
            words += ["keys." + word for word in words_of(value)]
        elif name in ("gt", "gte", "lt", "lte"):
            words.append(f"{name}={nanoseconds(value) if kind == 'duration' else number(value)}")
        elif name in ("min_len", "max_len", "min_bytes", "max_bytes", "min_items", "max_items"):
            words += [f"{name}={value}"] if value else []
        elif name in ("required", "unique"):
            words += [name] if value else []
        elif kind == "string" and name == "in":
            words.append("in=" + ",".join(value))
        elif kind == "string" and name == "well_known_regex":
            # Where it is not strict: anything but NUL, CR and LF. 1 stands for HTTP_HEADER_NAME.
            words.append("field_name" if rules.strict and value == 1 else "single_line")
        elif kind == "string" and name == "pattern" and value == "^[^?#]+[^?#/]$":
            words.append("separated_prefix")
        elif kind == "enum" and name == "not_in":
            words.append("not_in=" + ",".join(map(str, value)))
        elif kind == "bool" and name == "const" and value:
            words.append("must_be_true")
        elif name in ("defined_only", "strict", "skip", "const", "ignore_empty"):
            pass  # an enum takes its own values only, whatever the rule says
        else:
            raise SystemExit(f"no word for rule {kind}.{name} = {value}")
    return words


def words_of(field_rules):
    words = []
    for field, value in field_rules.ListFields():
        words += rules_of_type(field.name, value)
    return sorted(set(words))


def published_rules(field):
    for extension, value in field.GetOptions().ListFields():
        if extension.full_name == "validate.rules":
            return words_of(value)
    return []


def oneof_required(message, name):
    published = message and message.oneofs_by_name.get(name)
    if not published:
        return False
    return any(
        extension.full_name == "validate.required" and value
        for extension, value in published.GetOptions().ListFields()
    )


def find(full_name):
    try:
        return PUBLISHED.FindMessageTypeByName(full_name)
    except KeyError:
        return None


def type_word(field, maps):
    if field.type_name:
        name = field.type_name[1:]
        if name in maps:
            key, value = maps[name].field
            return f"map<{SCALARS[key.type]},{type_word(value, maps)}>"
        return name
    return SCALARS[field.type]


def schema_of_message(name, message, lines):
    maps = {f"{name}.{n.name}": n for n in message.nested_type if n.options.map_entry}
    published = find(name)
    lines.append(f"message {name}")
    for oneof in message.oneof_decl:
        required = " required" if oneof_required(published, oneof.name) else ""
        lines.append(f"oneof {oneof.name}{required}")
    for field in message.field:
        word = type_word(field, maps)
        repeated = field.label == field.LABEL_REPEATED and not word.startswith("map<")
        shown = field.json_name if JSON_NAMES else field.name
        words = [str(field.number), ("[]" if repeated else "") + word, shown]
        if field.HasField("oneof_index"):
            words.append(f"oneof={field.oneof_index}")
        if field.options.deprecated:
            words.append("deprecated")
        if published:
            words += published_rules(published.fields_by_name[field.name])
        words += OWN_RULES.get(f"{name}.{field.name}", [])
        lines.append(" ".join(words))
    for enum in message.enum_type:
        schema_of_enum(f"{name}.{enum.name}", enum, lines)
    for nested in message.nested_type:
        if not nested.options.map_entry:
            schema_of_message(f"{name}.{nested.name}", nested, lines)


def schema_of_enum(name, enum, lines):
    lines.append(f"enum {name}")
    lines += [f"{value.number} {value.name}" for value in enum.value]


def newer_names():
    """What the current Envoy has beyond the published descriptors."""
    fields, extensions = {}, []
    path = os.path.join(os.path.dirname(__file__), "generate-model-newer.txt")
    with open(path) as file:
        for line in file:
            words = line.split()
            if line.startswith("#"):
                continue
            if len(words) == 2:
                fields.setdefault(words[0], []).append(words[1])
            else:
                extensions += words
    return fields, extensions


def names_of(types, files):
    """What Envoy has and `types` lack: one line for each type that differs."""
    lines = []
    newer, extensions = newer_names()
    for name, own in sorted(types.items()):
        published = find(name)
        if published:
            missing = [f"{f.name}={f.number}" for f in published.fields if f.name not in own]
        else:
            try:
                enum = PUBLISHED.FindEnumTypeByName(name)
            except KeyError:
                continue  # ours
            missing = [f"{v.name}={v.number}" for v in enum.values if v.name not in own]
        missing += [word for word in newer.get(name, []) if word.split("=")[0] not in own]
        if missing:
            lines.append(f"{name} {' '.join(missing)}")
    lines.append("types")
    for file in files:
        if file.package.startswith(("envoy.extensions.", "xds.type.", "udpa.type.")):
            extensions += [m.full_name for m in file.message_types_by_name.values()]
    return lines + sorted(name for name in set(extensions) if name not in types)


def write(path, constant, summary, lines):
    with open(path, "w") as out:
        out.write(f"// Generated by scripts/generate-model. DO NOT EDIT.\n// swift-format-ignore-file\n\n")
        out.write(f"/// {summary}\n")
        out.write(f'package let {constant}: StaticString = #"""\n')
        out.write("\n".join(lines))
        out.write('\n"""#\n')


def main():
    kind, descriptor_set, out = sys.argv[1:]
    with open(descriptor_set, "rb") as file:
        own = descriptor_pb2.FileDescriptorSet.FromString(file.read())
    files = load_published() if kind == "model" else []
    lines = []
    for file in own.file:
        if file.package.startswith("google.") or file.name in STREAMS:
            continue
        for enum in file.enum_type:
            schema_of_enum(f"{file.package}.{enum.name}", enum, lines)
        for message in file.message_type:
            schema_of_message(f"{file.package}.{message.name}", message, lines)
    if kind == "mesh":
        write(f"{out}/MeshSchemaTable.swift", "meshSchemaTable",
              "Every message and enum of the mesh's model, for `SchemaCatalog`.", lines)
        with open(os.path.join(os.path.dirname(__file__), "generate-model-istio.txt")) as file:
            left = [line.rstrip("\n") for line in file if not line.startswith("#")]
        write(f"{out}/IstioNames.swift", "istioNames",
              "What Istio's API has and the mesh's model does not.", left)
        return
    types = {}
    for line in lines:
        words = line.split(" ")
        if words[0] in ("message", "enum"):
            current = types.setdefault(words[1], set())
        elif words[0] != "oneof":
            current.add(words[2] if len(words) > 2 else words[1])
    write(f"{out}/SchemaTable.swift", "schemaTable",
          "Every message and enum of the model, for `SchemaCatalog`.", lines)
    write(f"{out}/EnvoyNames.swift", "envoyNames",
          "What Envoy's v3 API has and the model does not, for `EnvoyNames`.",
          names_of(types, files))


main()
