import io
import pickle
import zipfile

import numpy as np
import pytest

from afa.files.maps import is_whole_maps, read_counts, read_maps, write_counts, write_maps


def test_what_is_written_is_read_to_half_a_step(tmp_path):
    path = tmp_path / "a.npz"
    maps = np.random.rand(3, 4, 6).astype(np.float32)
    write_maps(path, [0, 5, 20], maps, (40, 61))
    found = read_maps(path)
    assert found.classes == [0, 5, 20] and found.size == (40, 61)
    assert found.maps.dtype == np.float32 and found.maps.shape == (3, 4, 6)
    assert np.abs(found.maps - maps).max() <= 0.5 / 255 + 1e-6


def test_a_person_reads_it_with_numpy_alone(tmp_path):
    path = tmp_path / "a.npz"
    write_maps(path, [2], np.array([[[0.0, 0.5, 1.0]]]), (1, 3))
    with np.load(path, allow_pickle=False) as file:
        assert {name: (file[name].dtype.name, file[name].tolist()) for name in file} == {
            "classes": ("uint8", [2]),
            "maps": ("uint8", [[[0, 128, 255]]]),
            "size": ("int32", [1, 3]),
        }


def test_exact_maps_are_read_as_they_were(tmp_path):
    path = tmp_path / "a.npz"
    maps = np.random.rand(2, 4, 6).astype(np.float32)
    maps[0, 0, :2] = (-1e-7, 1 + 1e-6)  # rounding
    write_maps(path, [0, 5], maps, (40, 61), exact=True)
    found = read_maps(path)
    assert found.classes == [0, 5] and found.maps.dtype == np.float32
    assert np.array_equal(found.maps, maps)


@pytest.mark.parametrize("value", [-0.1, 1.1, np.nan, np.inf])
def test_exact_maps_out_of_range_are_refused(tmp_path, value):
    arrays = dict(classes=np.uint8([3]), size=np.int32([2, 2]))
    np.savez(tmp_path / "a.npz", maps=np.full((1, 2, 2), value, np.float32), **arrays)
    with pytest.raises(ValueError, match=r"must hold maps in 0\.\.1, but some value is not"):
        read_maps(tmp_path / "a.npz")


@pytest.mark.parametrize("classes", [[2, 1], [1, 1], [-1, 1], [0.0, 1.0]])
def test_classes_that_do_not_ascend_are_refused(tmp_path, classes):
    arrays = dict(maps=np.zeros((2, 2, 2), np.uint8), size=np.int32([2, 2]))
    np.savez(tmp_path / "a.npz", classes=np.array(classes), **arrays)
    with pytest.raises(ValueError, match="must be integers from 0 on that ascend"):
        read_maps(tmp_path / "a.npz")


def test_no_class_is_a_file_without_maps(tmp_path):
    write_maps(tmp_path / "a.npz", [], np.zeros((0, 4, 6)), (8, 12))
    found = read_maps(tmp_path / "a.npz")
    assert found.classes == [] and found.maps.shape == (0, 4, 6)


def test_values_beyond_the_range_are_clipped(tmp_path):
    write_maps(tmp_path / "a.npz", [1], np.array([[[-1e-6, 1.0001]]]), (1, 2))
    assert read_maps(tmp_path / "a.npz").maps.tolist() == [[[0.0, 1.0]]]


@pytest.mark.parametrize(
    ("classes", "maps", "text"),
    [
        ([1, 2], np.zeros((1, 2, 2)), r"2 classes need maps \(2, h, w\), got \(1, 2, 2\)"),
        ([2, 1], np.zeros((2, 2, 2)), r"must ascend within 0..254, got \[2, 1\]"),
        ([1, 1], np.zeros((2, 2, 2)), "must ascend"),
        ([255], np.zeros((1, 2, 2)), "must ascend"),
        ([1], np.full((1, 2, 2), np.nan), "holds NaN"),
    ],
)
def test_wrong_maps_are_refused(tmp_path, classes, maps, text):
    with pytest.raises(ValueError, match=text):
        write_maps(tmp_path / "a.npz", classes, maps, (2, 2))
    assert not list(tmp_path.iterdir())


def test_whole_files_are_told_from_cut_ones(tmp_path):
    path = tmp_path / "a.npz"
    assert not is_whole_maps(path)
    write_maps(path, [1], np.random.rand(1, 9, 9), (9, 9))
    assert is_whole_maps(path)
    path.write_bytes(path.read_bytes()[:-30])
    assert not is_whole_maps(path)
    with pytest.raises(ValueError, match="holds no maps, or is broken"):
        read_maps(path)


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "a.npz"
    with pytest.raises(ValueError, match="cannot be read"):
        read_maps(path)
    np.savez(path, maps=np.zeros((1, 2, 2)))
    assert not is_whole_maps(path)
    with pytest.raises(ValueError, match="holds no maps"):
        read_maps(path)
    np.savez(path, classes=np.zeros(2), maps=np.zeros((1, 2, 2)), size=np.ones(2))
    with pytest.raises(ValueError, match="must hold classes"):
        read_maps(path)
    path.write_bytes(b"no archive")
    with pytest.raises(ValueError, match="holds no maps"):
        read_maps(path)


class _Trap:
    def __reduce__(self):
        return (pytest.fail, ("the file ran code",))


def test_a_file_with_pickled_objects_runs_nothing(tmp_path):
    objects = np.array([_Trap()], dtype=object)
    buffer = io.BytesIO()
    np.savez(buffer, classes=objects, maps=objects, size=objects)
    (tmp_path / "a.npz").write_bytes(buffer.getvalue())
    (tmp_path / "b.npz").write_bytes(pickle.dumps(_Trap()))
    for name in ("a.npz", "b.npz"):
        with pytest.raises(ValueError, match="holds no maps"):
            read_maps(tmp_path / name)


def test_a_header_that_claims_too_much_and_an_array_alone(tmp_path):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as file:
        for name in ("classes", "maps", "size"):
            buffer = io.BytesIO()
            header = dict(descr="|u1", fortran_order=False, shape=(10**15,))
            np.lib.format.write_array_header_1_0(buffer, header)
            file.writestr(f"{name}.npy", buffer.getvalue())
    with pytest.raises(ValueError, match="holds no maps, or is broken"):
        read_maps(path)
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(ValueError, match="holds no maps, or is broken"):
        read_maps(path)


def test_counts_of_an_image_survive_their_file(tmp_path):
    counts = np.random.randint(0, 2, (3, 3, 4)) * np.random.randint(0, 99, (3, 3, 4))
    path = tmp_path / "a.npz"
    write_counts(path, [0.1, 0.2, 0.3], counts)
    found = read_counts(path, [0.1, 0.2, 0.3])
    assert found.dtype == np.int64 and np.array_equal(found, counts)
    assert np.array_equal(read_counts(path, [0.3, 0.1]), counts[[2, 0]])
    assert read_counts(path, [0.1, 0.25]) is None  # of another sweep
    path.write_bytes(path.read_bytes()[:-40])
    assert read_counts(path, [0.1, 0.2, 0.3]) is None
    assert read_counts(tmp_path / "b.npz", [0.1]) is None


def test_a_file_is_small_however_many_classes_there_are(tmp_path):
    counts = np.zeros((19, 81, 82), dtype=np.int64)
    counts[:, 0, 0], counts[:, 17, 17], counts[:, 17, 0] = 90_000, 80_000, np.arange(19)
    write_counts(tmp_path / "a.npz", range(19), counts)
    assert (tmp_path / "a.npz").stat().st_size < 3000
    assert np.array_equal(read_counts(tmp_path / "a.npz", range(19)), counts)
