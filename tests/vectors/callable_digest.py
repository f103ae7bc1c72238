#!/usr/bin/env python3
"""The identity of a callable, computed a second time and independently of the library.

Prints the table that tests/unit/test_digest.c includes. `--check FILE` instead compares it with
FILE, byte for byte, and fails where they differ. Byte i of a state is (first + i) % 256.
"""
import hashlib
import struct
import sys

SUB, ORCH, CHIP = 1, 2, 3
ABI = 1

# Of a program's function: the build id of the object that holds it, and its offset there.
BUILD = bytes.fromhex("0123456789abcdef0123456789abcdef01234567")

# kind, callable ABI, origin (the module's bytes, the library's name as text, or build and offset),
# name, first byte and size of the state
CASES = [
    (SUB, ABI, b"", "f", 0, 0),
    (SUB, ABI, b"module", "add", 0, 0),
    (ORCH, ABI, b"module", "add", 0, 0),
    (CHIP, ABI, b"module", "add", 0, 0),
    (SUB, ABI + 1, b"module", "add", 0, 0),
    (SUB, ABI, b"another module", "add", 0, 0),
    (SUB, ABI, b"module", "add", 0, 1),
    (SUB, ABI, b"module", "add", 0, 2),
    (SUB, ABI, b"module", "add", 255, 1),
    (SUB, ABI, b"module", "n" * 63, 7, 64),
    (SUB, ABI, b"module", "ad", ord("d"), 1),
    (SUB, ABI, b"module", "largest_state", 1, 65536),
    (SUB, ABI, "module", "add", 0, 0),
    (ORCH, ABI, "lib-linear_2.so", "solve", 3, 5),
    (ORCH, ABI, "l" * 63, "solve", 3, 5),
    (SUB, ABI, (BUILD, 0x1139), "add", 0, 0),
    (SUB, ABI, (BUILD, 0x113a), "add", 0, 0),
    (CHIP, ABI, (BUILD[::-1], 0x123456789abcdef0), "scale", 9, 64),
]


def field(value):
    return struct.pack("<Q", len(value)) + value


def source(origin):
    """The origin's number in C, what its digest is of as text, and the offset in it."""
    if isinstance(origin, str):
        return "ORIGIN_LIBRARY", origin, 0
    if isinstance(origin, tuple):
        return "ORIGIN_PROGRAM", origin[0].hex(), origin[1]
    return "ORIGIN_MODULE", origin.decode("ascii"), 0


def object_digest(origin):
    if isinstance(origin, str):
        return b""
    return hashlib.sha256(origin[0] if isinstance(origin, tuple) else origin).digest()


def origin_fields(origin):
    if isinstance(origin, str):
        return field(b"library") + field(origin.encode("ascii"))
    if isinstance(origin, tuple):
        return (field(b"program") + field(object_digest(origin))
                + field(struct.pack("<Q", origin[1])))
    return field(b"module") + field(object_digest(origin))


def callable_digest(kind, abi, origin, name, state):
    return hashlib.sha256(
        field(b"simpler.callable")
        + field(struct.pack("<I", kind))
        + field(struct.pack("<I", abi))
        + origin_fields(origin)
        + field(name.encode("ascii"))
        + field(state)
    ).digest()


def table():
    yield "/* Made by callable_digest.py; a test compares them. */\n"
    for kind, abi, origin, name, first, size in CASES:
        number, text, offset = source(origin)
        state = bytes((first + i) % 256 for i in range(size))
        digest = callable_digest(kind, abi, origin, name, state)
        version, identity = struct.unpack_from("<QQ", digest)
        yield (
            f'{{ {kind}, {abi}, {number}, "{text}", UINT64_C(0x{offset:x}),\n'
            f'  "{name}", {first}, {size},\n'
            f'  "{object_digest(origin).hex()}",\n'
            f'  "{digest.hex()}",\n'
            f"  UINT64_C(0x{version:016x}), UINT64_C(0x{identity:016x}) }},\n"
        )


def main():
    text = "".join(table())
    if sys.argv[1:2] != ["--check"]:
        sys.stdout.write(text)
    elif open(sys.argv[2], encoding="ascii").read() != text:
        sys.exit(f"{sys.argv[2]} is not what {sys.argv[0]} computes")


main()
