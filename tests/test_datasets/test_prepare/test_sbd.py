import subprocess
import sys

import numpy as np
import pytest
from scipy.io import savemat

from afa.datasets.prepare.sbd import find_sbd, read_sbd_mask

LABEL = np.array([[0, 1, 20], [3, 2, 0]], np.uint8)


@pytest.mark.parametrize(
    "level", ["", "dataset", "benchmark_RELEASE/dataset", "benchmark/benchmark_RELEASE/dataset"]
)
def test_sbd_is_found_from_each_level_of_the_archive(tmp_path, level):
    root = tmp_path / level
    (root / "cls").mkdir(parents=True)
    for name in ("train.txt", "val.txt"):
        with pytest.raises(ValueError, match=f"has no '{name}'"):
            find_sbd(tmp_path)
        (root / name).touch()
    assert find_sbd(tmp_path) == root


def test_a_folder_without_sbd_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"There is no SBD in .*benchmark\.tgz"):
        find_sbd(tmp_path / "nowhere")


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.int32, float])
def test_labels_of_the_nested_struct(tmp_path, compressed, dtype):
    content = dict(Boundaries=np.zeros((20, 1)), Segmentation=LABEL.astype(dtype))
    savemat(tmp_path / "a.mat", {"GTcls": content}, do_compression=compressed)
    label = read_sbd_mask(tmp_path / "a.mat")
    assert label.dtype == np.uint8
    np.testing.assert_array_equal(label, LABEL)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (dict(GTinst=dict(Segmentation=LABEL)), "has no matrix GTcls.Segmentation"),
        (dict(GTcls=5), "has no matrix GTcls.Segmentation"),
        (dict(GTcls=dict(Boundaries=LABEL)), "has no matrix GTcls.Segmentation"),
        (dict(GTcls=dict(Segmentation="text")), "has no matrix GTcls.Segmentation"),
        (dict(GTcls=dict(Segmentation=np.zeros((2, 2, 2)))), "has no matrix"),
        (dict(GTcls=dict(Segmentation=np.zeros((0, 0)))), "must hold labels 0..255"),
        (dict(GTcls=dict(Segmentation=LABEL - 0.5)), "must hold labels 0..255"),
        (dict(GTcls=dict(Segmentation=LABEL * np.nan)), "must hold labels 0..255"),
        (dict(GTcls=dict(Segmentation=LABEL.astype(int) + 250)), "must hold labels 0..255"),
    ],
)
def test_other_contents_are_one_sentence(tmp_path, content, message):
    savemat(tmp_path / "a.mat", content)
    with pytest.raises(ValueError, match=rf"a\.mat'.*{message}") as caught:
        read_sbd_mask(tmp_path / "a.mat")
    assert "\n" not in str(caught.value)


def test_broken_files_are_one_sentence(tmp_path):
    path = tmp_path / "a.mat"
    with pytest.raises(ValueError, match="There is no SBD file"):
        read_sbd_mask(path)
    savemat(path, {"GTcls": dict(Segmentation=LABEL)}, do_compression=True)
    whole = path.read_bytes()
    # cut, overwritten, HDF5 (MATLAB 7.3), no Matlab file, empty
    hdf = b"\x89HDF\r\n\x1a\n" + b"0" * 600
    for data in (whole[:150], whole[:150] + b"z" * 90, hdf, b"<html>", b""):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=r"a\.mat' is broken \(") as caught:
            read_sbd_mask(path)
        assert "\n" not in str(caught.value)


def test_a_pickle_in_place_of_a_mat_file_is_not_run(tmp_path):
    path, trace = tmp_path / "a.mat", tmp_path / "trace"
    code = (
        "import os, pickle, sys\n"
        "class Bad:\n"
        "    def __reduce__(self):\n"
        "        return os.mkdir, (sys.argv[2],)\n"
        "open(sys.argv[1], 'wb').write(pickle.dumps(Bad()))\n"
    )
    subprocess.run([sys.executable, "-c", code, str(path), str(trace)], check=True)
    with pytest.raises(ValueError, match="is broken"):
        read_sbd_mask(path)
    assert not trace.exists()
