"""Files as MXNet writes them, made by hand from the description of the format."""

import struct

V1, V2, V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
FLAGS = {"f4": 0, "f8": 1, "f2": 2, "u1": 3, "i4": 4, "i1": 5, "i8": 6}


def array_bytes(array, version=V2, device=(1, 0)):
    """Write an array of numpy; version None is the layout without a magic number."""
    shape = array.shape
    if version is None:
        head = struct.pack(f"<I{len(shape)}I", len(shape), *shape)
    else:
        head = struct.pack("<I", version)
        head += struct.pack("<i", 0) if version in (V2, V3) else b""
        head += struct.pack(f"<I{len(shape)}q", len(shape), *shape)
    head += struct.pack("<iii", *device, FLAGS[array.dtype.str[1:]])
    return head + array.astype(array.dtype.newbyteorder("<")).tobytes()


def list_bytes(arrays, names, num_arrays=None, num_names=None, magic=0x112):
    """Write a list of arrays (as bytes) and their names; counts and magic may lie."""
    out = struct.pack("<QQQ", magic, 0, len(arrays) if num_arrays is None else num_arrays)
    out += b"".join(arrays)
    out += struct.pack("<Q", len(names) if num_names is None else num_names)
    for name in names:
        name = name if isinstance(name, bytes) else name.encode()
        out += struct.pack("<Q", len(name)) + name
    return out
