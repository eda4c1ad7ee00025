"""Damaged files for hypothesis: bits flipped, parts cut, moved, repeated and mixed, and numbers that claim too much."""

import copy
import io
import json
import struct
import zipfile
import zlib

import hypothesis.strategies as st

MOST = 1 << 20  # bytes of a damaged file
NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1)
FORMS = ("<B", "<H", ">H", "<I", ">I", "<Q", ">Q")
HEAD = 256  # bytes in which half of all edits fall: headers decide most
KINDS = (
    "bit",
    "byte",
    "number",
    "bit",
    "byte",
    "number",
    "cut",
    "delete",
    "double",
    "repeat",
    "splice",
    "zeros",
    "insert",
)

EDIT = st.tuples(st.sampled_from(KINDS), st.booleans(), *[st.integers(0, 2**20 - 1)] * 3)


def edit(data, others, change):
    """Returns the bytes after one edit; `change` is drawn from `EDIT`."""
    kind, in_head, a, b, c = change
    if not data:
        return data
    at = a % min(len(data), HEAD) if in_head else a * len(data) >> 20
    length = 1 + b % (64 if c % 2 else max(1, len(data) // 2))
    before, part, after = data[:at], data[at : at + length], data[at + length :]
    match kind:
        case "bit":
            return before + bytes([data[at] ^ 1 << b % 8]) + data[at + 1 :]
        case "byte":
            return before + bytes([b % 256]) + data[at + 1 :]
        case "number":
            form = FORMS[c % len(FORMS)]
            size = struct.calcsize(form)
            number = (*NUMBERS, len(data), 2 * len(data))[b % (len(NUMBERS) + 2)] % 256**size
            return before + struct.pack(form, number) + data[at + size :]
        case "cut":
            return before
        case "delete":
            return before + after
        case "double":
            return before + part + part + after
        case "repeat":  # nesting
            part = part[: 1 + b % 4]
            return before + part * (1 + c % 20_000) + data[at:]
        case "splice":
            other = others[b % len(others)]
            start = c * len(other) >> 20
            return before + other[start : start + length] + after
        case "zeros":
            return before + bytes(len(part)) + after
        case _:
            return before + c.to_bytes(3, "little") + data[at:]


def damaged(*files):
    """Returns a strategy of damaged files; `files` are bytes, whole ones."""

    def apply(index, changes):
        data = files[index]
        for change in changes:
            data = edit(data, files, change)[:MOST]
        return data

    return st.builds(apply, st.integers(0, len(files) - 1), st.lists(EDIT, min_size=1, max_size=3))


def damaged_members(*files):
    """Returns a strategy of zips whose members are damaged, and whose directory and checksums are right."""
    contents = []
    for data in files:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            contents.append({info.filename: archive.read(info) for info in archive.infolist()})

    def apply(index, damages, compression):
        members = dict(contents[index])
        names = sorted(members)
        for place, change in damages:
            name = names[place % len(names)]
            members[name] = edit(members[name], list(members.values()), change)[:MOST]
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", compression) as archive:
            for name, data in members.items():
                archive.writestr(name, data)
        return file.getvalue()

    damages = st.lists(st.tuples(st.integers(0, 99), EDIT), min_size=1, max_size=4)
    methods = st.sampled_from([zipfile.ZIP_STORED] * 5 + [zipfile.ZIP_DEFLATED])
    return st.builds(apply, st.integers(0, len(files) - 1), damages, methods)


def damaged_chunks(*files):
    """Returns a strategy of PNG files whose chunks are damaged, and whose checksums are right."""

    def apply(index, place, changes):
        data, at, chunks = files[index], 8, []
        while at + 8 <= len(data):
            (length,) = struct.unpack_from(">I", data, at)
            chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
            at += 12 + length
        for change in changes:
            kind, body = chunks[place % len(chunks)]
            chunks[place % len(chunks)] = (kind, edit(body, [other for _, other in chunks if other], change)[:MOST])
        packed = [
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
            for kind, body in chunks
        ]
        return data[:8] + b"".join(packed)

    return st.builds(apply, st.integers(0, len(files) - 1), st.integers(0, 20), st.lists(EDIT, min_size=1, max_size=3))


PLAIN = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_subnormal=False),  # XLA leaves the processor in a mode without subnormal numbers
    st.text(max_size=8),
    st.sampled_from([0, 1, -1, 2**31 - 1, 2**53, 1e308, "", "none", "mask", [], {}, [[]], {"": {}}]),
)
VALUE = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


def changed_json(*objects):
    """Returns a strategy of JSON objects, as bytes, in which a few values, of any depth, are replaced or removed."""

    def places(node, path=()):
        items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        for key, item in items:
            yield (*path, key)
            yield from places(item, (*path, key))

    def apply(index, changes):
        tree = json.loads(json.dumps(objects[index]))
        for place, remove, name, value in changes:
            if not (found := list(places(tree))):
                break
            *path, last = found[place % len(found)]
            node = tree
            for key in path:
                node = node[key]
            if remove:
                del node[last]
            elif isinstance(node, dict) and name is not None:
                node[name] = copy.deepcopy(value)  # a list of `PLAIN` could come to hold itself
            else:
                node[last] = copy.deepcopy(value)
        return json.dumps(tree).encode()

    change = st.tuples(st.integers(0, 10**4), st.booleans(), st.none() | st.text(max_size=6), VALUE)
    return st.builds(apply, st.integers(0, len(objects) - 1), st.lists(change, min_size=1, max_size=3))
