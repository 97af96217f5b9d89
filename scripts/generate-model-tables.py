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


# Envoy's messages in full, for whoever writes them as they are (EnvoyFilter): of these packages, and what
# they lead to.
WIDE_PACKAGES = ("envoy.config.", "envoy.extensions.", "envoy.type.", "xds.type.", "xds.core.", "udpa.type.")
WELL_KNOWN = {"Any", "Duration", "Struct", "Value", "BoolValue", "UInt32Value", "UInt64Value", "Int32Value",
              "Int64Value", "DoubleValue", "FloatValue", "StringValue", "BytesValue"}
EMPTY = "google.protobuf.Empty"


def wide_word(field):
    """The type of a field as the table has it, and the message or enum that it leads to; None for a type
    that the reader does not know."""
    if field.enum_type:
        return field.enum_type.full_name, field.enum_type
    if field.message_type:
        name = field.message_type.full_name
        if name == EMPTY or not name.startswith("google."):
            return name, field.message_type
        known = name.rpartition(".")
        return (name, None) if known[0] == "google.protobuf" and known[2] in WELL_KNOWN else None
    word = SCALARS[field.type]
    return (word, None) if word in READ_SCALARS else None


READ_SCALARS = {"double", "float", "int32", "int64", "uint32", "uint64", "bool", "string", "bytes"}


def wide_field(field):
    """One line, and what it leads to; None for a field that cannot be read."""
    repeated = field.is_repeated
    if field.message_type and field.message_type.GetOptions().map_entry:
        key, value = field.message_type.fields
        inner = wide_word(value)
        if key.type != key.TYPE_STRING or not inner:
            return None
        word, target = f"map<string,{inner[0]}>", inner[1]
    else:
        inner = wide_word(field)
        if not inner:
            return None
        word, target = ("[]" if repeated else "") + inner[0], inner[1]
    words = [str(field.number), word, field.name]
    if field.containing_oneof:
        words.append(f"oneof={field.containing_oneof.index}")
    return " ".join(words), target


def wide_tables(files):
    """The messages in full, and what of them is missing."""
    queue = [
        message for file in files
        if file.package.startswith(WIDE_PACKAGES) and (
            file.package.endswith(".v3") or not file.package.startswith("envoy."))
        for message in messages_of(file)
    ]
    lines, names, seen = [], [], set()
    newer, extensions = newer_names()
    while queue:
        one = queue.pop(0)
        if one.full_name in seen:
            continue
        seen.add(one.full_name)
        if not hasattr(one, "fields"):
            lines.append(f"enum {one.full_name}")
            lines += [f"{value.number} {value.name}" for value in one.values]
            continue
        lines.append(f"message {one.full_name}")
        lines += [f"oneof {oneof.name}" for oneof in one.oneofs]
        missing = []
        for field in one.fields:
            found = wide_field(field)
            if found:
                lines.append(found[0])
                queue += [found[1]] if found[1] else []
            else:
                missing.append(f"{field.name}={field.number}")
        missing += newer.get(one.full_name, [])
        if missing:
            names.append(f"{one.full_name} {' '.join(missing)}")
    return lines, sorted(names) + ["types"] + sorted(set(extensions) - seen)


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
    files = load_published()
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
        wide, missing = wide_tables(files)
        write(f"{out}/EnvoySchemaTable.swift", "wholeEnvoyTable",
              "Envoy's v3 API in full, without its bounds, for `SchemaCatalog`.", wide)
        write(f"{out}/EnvoyGaps.swift", "wholeEnvoyGaps",
              "What the current Envoy has and `wholeEnvoyTable` does not.", missing)
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
