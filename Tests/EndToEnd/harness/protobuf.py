"""Protobuf's binary form, as far as a test needs it to write and read discovery messages."""


def _varint(number):
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def field(number, value):
    """A field: text, bytes (or a message's bytes), or a whole number."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    data = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def fields(number, values):
    """A repeated field."""
    return b"".join(field(number, value) for value in values)


def parse(data):
    """The fields of a message: number to a list of whole numbers and bytes."""
    found, position = {}, 0

    def varint():
        nonlocal position
        value = shift = 0
        while True:
            byte = data[position]
            position += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while position < len(data):
        tag = varint()
        if tag & 7 == 0:
            value = varint()
        elif tag & 7 == 2:
            length = varint()
            value = data[position:position + length]
            position += length
        else:
            size = 8 if tag & 7 == 1 else 4
            value = data[position:position + size]
            position += size
        found.setdefault(tag >> 3, []).append(value)
    return found


def text(message, number):
    """A text field; empty when it is not there."""
    return message.get(number, [b""])[-1].decode()
