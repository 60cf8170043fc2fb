"""Read MXNet's `.params` files without MXNet.

Such a file is a list of named arrays, little-endian::

    uint64 0x112, uint64 0                        header of the list
    uint64 n, n arrays                            the arrays
    uint64 n, n times (uint64 length, UTF-8)      names: arg:... weights, aux:... statistics

and an array is, by its first number::

    0xF993FAC9  V2      int32 storage type (0 dense), uint32 ndim, ndim int64
    0xF993FACA  V3      the same; written by MXNet 1.6 and later for numpy-like arrays
    0xF993FAC8  V1      uint32 ndim, ndim int64
    else        legacy  the number itself is ndim, ndim uint32

followed by int32 device type, int32 device number, int32 number type, and the numbers row by row.

A stranger's file may claim anything. Every size is compared with what is left of the file before
anything is allocated, so that memory never exceeds the size of the file.
"""

import math
import mmap
import os
import struct
from pathlib import Path

import torch
from torch import Tensor

MAGIC = 0x112
_V1, _V2, _V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
_DENSE = 0
_MAX_NDIM = 32
_MIN_ARRAY = 21  # bytes of the smallest array: legacy, one dimension, one uint8
_MIN_NAME = 8
_DTYPES = {
    0: torch.float32,
    1: torch.float64,
    2: torch.float16,
    3: torch.uint8,
    4: torch.int32,
    5: torch.int8,
    6: torch.int64,
}


def is_mxnet_params(path: str | os.PathLike) -> bool:
    """Tell by its first bytes whether a file is one of MXNet; False where there is none."""
    path = Path(path).expanduser()
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(8) == struct.pack("<Q", MAGIC)


def read_mxnet_params(path: str | os.PathLike) -> dict[str, Tensor]:
    """Read the named arrays of a file.

    Args:
        path: A `.params` file of MXNet, version 0.8 to 1.9.

    Returns:
        Name, with its `arg:` or `aux:`, to array; each of its own memory, in the order of the file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is no such list, incomplete, or claims what cannot be.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"The MXNet file {path} does not exist.")
    if not path.is_file():
        raise ValueError(f"The MXNet file {path} is not a file: give the path of a .params file.")
    if path.stat().st_size == 0:
        raise ValueError(f"The MXNet file {path} is empty: fetch it again.")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            return _read_list(_Reader(data))
        except ValueError as error:
            raise ValueError(f"The MXNet file {path} cannot be read: {error}.") from error


class _Reader:
    """Take numbers and bytes from the beginning of a file, never more than there are."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._place = 0

    @property
    def left(self) -> int:
        """Bytes that nobody has taken yet."""
        return len(self._data) - self._place

    def take(self, size: int, what: str) -> bytes:
        if size > self.left:
            raise ValueError(
                f"{what} at byte {self._place} needs {size} bytes but only {self.left} are left; "
                "it is incomplete or damaged, fetch it again"
            )
        self._place += size
        return self._data[self._place - size : self._place]

    def numbers(self, code: str, what: str) -> tuple[int, ...]:
        return struct.unpack(f"<{code}", self.take(struct.calcsize(f"<{code}"), what))

    def number(self, code: str, what: str) -> int:
        return self.numbers(code, what)[0]

    def count(self, min_size: int, what: str) -> int:
        """Take a count of things that have at least `min_size` bytes each."""
        count = self.number("Q", f"the number of {what}")
        if count * min_size > self.left:
            raise ValueError(
                f"it claims {count} {what}, which {self.left} bytes cannot hold; it is incomplete "
                "or damaged, fetch it again"
            )
        return count


def _read_list(reader: _Reader) -> dict[str, Tensor]:
    if reader.left < 16 or reader.numbers("QQ", "the header")[0] != MAGIC:
        raise ValueError("it does not begin as a list of MXNet arrays does (0x112)")
    arrays = [_read_array(reader, f"array {i}") for i in range(reader.count(_MIN_ARRAY, "arrays"))]
    names = [_read_name(reader) for _ in range(reader.count(_MIN_NAME, "names"))]
    if len(names) != len(arrays):
        raise ValueError(f"it has {len(arrays)} arrays but {len(names)} names")
    if reader.left:
        raise ValueError(f"{reader.left} bytes follow behind its end")
    named: dict[str, Tensor] = {}
    for name, array in zip(names, arrays, strict=True):
        if name in named:
            raise ValueError(f"the name {name!r} occurs twice")
        named[name] = array
    return named


def _read_array(reader: _Reader, what: str) -> Tensor:
    shape = _read_shape(reader, what)
    _, _, flag = reader.numbers("iii", f"the header of {what}")
    if flag not in _DTYPES:
        raise ValueError(f"{what} has the unknown number type {flag}")
    dtype = _DTYPES[flag]
    # Python's integers do not overflow, whatever the file claims.
    data = reader.take(math.prod(shape) * dtype.itemsize, f"{what} of shape {shape}")
    return torch.frombuffer(bytearray(data), dtype=dtype).reshape(shape)


def _read_shape(reader: _Reader, what: str) -> tuple[int, ...]:
    first = reader.number("I", f"the header of {what}")
    if first in (_V2, _V3):
        storage = reader.number("i", f"the header of {what}")
        if storage != _DENSE:
            raise ValueError(f"{what} is sparse (storage type {storage}), which weights are not")
    legacy = first not in (_V1, _V2, _V3)
    ndim = first if legacy else reader.number("I", f"the header of {what}")
    if not 1 <= ndim <= _MAX_NDIM:
        raise ValueError(f"{what} has {ndim} dimensions, which no array of weights has")
    shape = reader.numbers(f"{ndim}{'I' if legacy else 'q'}", f"the shape of {what}")
    if min(shape) < 1:
        raise ValueError(f"{what} has the shape {shape}, which holds no numbers")
    return shape


def _read_name(reader: _Reader) -> str:
    data = reader.take(reader.number("Q", "the length of a name"), "a name")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"the name {data[:20]!r} is no UTF-8 text") from error
