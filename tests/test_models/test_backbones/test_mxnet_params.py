import struct

import numpy as np
import pytest
import torch
from toy_mxnet import FLAGS, V1, V2, V3, array_bytes, list_bytes

from afa.models.backbones.mxnet_params import is_mxnet_params, read_mxnet_params


@pytest.fixture
def write(tmp_path):
    def write(data):
        path = tmp_path / "net-0001.params"
        path.write_bytes(data)
        return path

    return write


@pytest.mark.parametrize("version", [None, V1, V2, V3])
def test_arrays_come_back_with_name_shape_type_and_numbers(write, version):
    rng = np.random.default_rng(0)
    arrays = {
        f"arg:w_{code}": (rng.normal(size=(2, 3, 1, 4)) * 50).astype(code) for code in FLAGS
    } | {"aux:bn_moving_mean": np.array([1.5, -2.0], "f4")}
    data = [array_bytes(a, version, device=(2, 3)) for a in arrays.values()]
    found = read_mxnet_params(write(list_bytes(data, list(arrays))))
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == torch.from_numpy(array).dtype
        assert found[name].numpy().tolist() == array.tolist()
    found["aux:bn_moving_mean"] += 1  # its own memory, the file may go


def test_versions_may_be_mixed_and_bytes_are_little_endian(write):
    # By hand: one array [258] as int32, legacy layout, named "a".
    data = bytes.fromhex("12010000 00000000  00000000 00000000  01000000 00000000")
    data += bytes.fromhex("01000000 01000000  01000000 00000000 04000000  02010000")
    data += bytes.fromhex("01000000 00000000  01000000 00000000") + b"a"
    assert read_mxnet_params(write(data))["a"].tolist() == [258]
    one = np.ones((1, 2), "f4")
    mixed = list_bytes([array_bytes(one * i, v) for i, v in enumerate((None, V1, V2))], "abc")
    assert [float(v.sum()) for v in read_mxnet_params(write(mixed)).values()] == [0, 2, 4]


def test_a_file_that_ends_anywhere_is_one_sentence(write):
    arrays = [array_bytes(np.ones((2, 2), "f4"), v) for v in (V2, V1, None)]
    whole = list_bytes(arrays, ["arg:a", "arg:b", "aux:c"])
    for size in range(1, len(whole)):
        with pytest.raises(ValueError, match=r"net-0001\.params cannot be read: [^\n]+\.$"):
            read_mxnet_params(write(whole[:size]))
    read_mxnet_params(write(whole))


def damaged(head, data=b"\0" * 64):
    return list_bytes([head + data], ["a"])


CPU_FLOAT = struct.pack("<iii", 1, 0, 0)
GOOD = array_bytes(np.ones(2, "f4"), V2)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (list_bytes([GOOD], ["a"], magic=0x113), "does not begin as a list of MXNet arrays"),
        (b"PK\3\4" + bytes(60), "does not begin as a list"),
        (list_bytes([GOOD], ["a"], num_arrays=2**63), "claims 9223372036854775808 arrays"),
        (list_bytes([GOOD], ["a"], num_names=2**40), "claims 1099511627776 names"),
        (list_bytes([GOOD], []), "1 arrays but 0 names"),
        (list_bytes([GOOD, GOOD], ["a", "a"]), "the name 'a' occurs twice"),
        (list_bytes([GOOD], [b"\xff\xfe"]), "is no UTF-8 text"),
        (list_bytes([GOOD], ["a"]) + b"x", "1 bytes follow behind its end"),
        # A huge array: 2^31 * 2^31 * 2^31 floats do not fit 64 bits, and -1 is no size.
        (damaged(struct.pack("<IiI3q", V2, 0, 3, *[2**31] * 3) + CPU_FLOAT), "needs 3961408125"),
        (damaged(struct.pack("<IiI2q", V2, 0, 2, 2**62, 2**62) + CPU_FLOAT), "needs 8507059173"),
        (damaged(struct.pack("<II2I", 2, 2**32 - 1, 2**32 - 1, 1) + CPU_FLOAT), "needs"),
        (damaged(struct.pack("<II1q", V1, 1, -1) + CPU_FLOAT), r"shape \(-1,\), which holds no"),
        (damaged(struct.pack("<II2q", V1, 2, 0, 2**62) + CPU_FLOAT), "holds no numbers"),
        (damaged(struct.pack("<II", V1, 0)), "has 0 dimensions"),
        (damaged(struct.pack("<II", V1, 2**31)), "has 2147483648 dimensions"),
        (damaged(struct.pack("<I", 0xF993FACB)), "dimensions, which no array"),
        (damaged(struct.pack("<IiI1q", V2, 1, 1, 2) + CPU_FLOAT), "sparse .storage type 1"),
        (damaged(struct.pack("<II1q", V1, 1, 2) + struct.pack("<iii", 1, 0, 99)), "type 99"),
    ],
)
def test_hostile_files_are_refused_before_memory_is_taken(write, data, message):
    with pytest.raises(ValueError, match=f"cannot be read: .*({message})"):
        read_mxnet_params(write(data))


def test_what_is_no_file_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no\.params does not exist"):
        read_mxnet_params(tmp_path / "no.params")
    with pytest.raises(ValueError, match="is not a file"):
        read_mxnet_params(tmp_path)
    (tmp_path / "empty.params").touch()
    with pytest.raises(ValueError, match="is empty"):
        read_mxnet_params(tmp_path / "empty.params")


def test_recognition_by_the_first_bytes(write, tmp_path):
    assert is_mxnet_params(write(list_bytes([GOOD], ["a"])))
    assert not is_mxnet_params(write(b"PK\3\4"))
    assert not is_mxnet_params(tmp_path) and not is_mxnet_params(tmp_path / "no")
