import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

from afa.evaluation.metrics import LabelPNGMetric
from afa.evaluation.metrics import label_png_metric as module
from afa.files.label_png import bit_palette, read_label_png

FOLDER = "results/VOC2012/Segmentation/comp6_test_cls"


def _metric(out, archive="results.tar.gz", **kwargs):
    metric = LabelPNGMetric(str(out), FOLDER, archive=archive, **kwargs)
    metric.dataset_meta = dict(classes=("background", "a"), palette=[[0, 0, 0], [9, 8, 7]])
    return metric


def _sample(img_id, label, **more):
    return dict(img_id=img_id, pred_sem_seg=dict(data=torch.tensor([label])), **more)


def _run(out, samples, **kwargs):
    metric = _metric(out, **kwargs)
    for sample in samples:
        metric.process({}, [sample])
    return metric.evaluate(len(samples))


def test_archive_unpacks_to_the_label_maps(tmp_path):
    samples = [_sample("2008_000002", [[0, 1, 1]]), _sample("2008_000001", [[1], [0]])]
    assert _run(tmp_path / "out", samples) == {}
    with tarfile.open(tmp_path / "out/results.tar.gz", "r:gz") as tar:
        assert tar.getnames() == [f"{FOLDER}/2008_000001.png", f"{FOLDER}/2008_000002.png"]
        tar.extractall(tmp_path / "there", filter="data")
    for sample in samples:
        path = tmp_path / "there" / FOLDER / f"{sample['img_id']}.png"
        wanted = sample["pred_sem_seg"]["data"][0].numpy()
        np.testing.assert_array_equal(read_label_png(path), wanted)
        with Image.open(path) as image:
            assert image.mode == "P"
            palette = np.array(image.getpalette()).reshape(-1, 3)
        assert palette[1].tolist() == [9, 8, 7] and palette[2].tolist() == bit_palette(3)[2]


def test_the_same_results_give_the_same_bytes(tmp_path):
    samples = [_sample("b", [[0, 1]]), _sample("a", [[1, 0]])]
    for name, order in (("one", samples), ("two", samples[::-1])):
        _run(tmp_path / name, order)
    first, second = (tmp_path / name / "results.tar.gz" for name in ("one", "two"))
    assert first.read_bytes() == second.read_bytes()


def test_without_archive_and_with_another_field(tmp_path):
    sample = dict(_sample("sub/a", [[0, 1]]), pred_crf=dict(data=torch.tensor([[1, 1]])))
    _run(tmp_path, [sample], archive=None, field="pred_crf")
    assert read_label_png(tmp_path / FOLDER / "sub/a.png").tolist() == [[1, 1]]
    assert not (tmp_path / "results.tar.gz").exists()


def test_images_of_mmsegs_data_sets_are_named_by_their_file(tmp_path):
    sample = _sample(None, [[0]], img_path="somewhere/cat.jpg")
    _run(tmp_path, [sample])
    assert (tmp_path / FOLDER / "cat.png").is_file()


@pytest.mark.parametrize("img_id", ["../out", "/etc/a", "a/../../b"])
def test_an_id_that_leads_out_of_the_folder_is_refused(tmp_path, img_id):
    with pytest.raises(ValueError, match="no name inside a folder"):
        _run(tmp_path / "deep/deeper", [_sample(img_id, [[0]])])
    assert [path for path in tmp_path.rglob("*.png")] == []


def test_an_earlier_run_is_not_replaced_unasked(tmp_path):
    _run(tmp_path, [_sample("a", [[0]])])
    before = (tmp_path / "results.tar.gz").read_bytes()
    with pytest.raises(ValueError, match=r"results\.tar\.gz' is there from an earlier run"):
        _metric(tmp_path)
    (tmp_path / "results.tar.gz").unlink()
    with pytest.raises(ValueError, match=r"comp6_test_cls' is there.*add --overwrite"):
        _metric(tmp_path)
    _run(tmp_path, [_sample("b", [[1]])], overwrite=True)
    assert (tmp_path / "results.tar.gz").read_bytes() != before
    with tarfile.open(tmp_path / "results.tar.gz") as tar:  # of this run's images alone
        assert tar.getnames() == [f"{FOLDER}/b.png"]


def test_a_run_that_is_stopped_leaves_no_archive_of_another_run(tmp_path):
    _run(tmp_path, [_sample("a", [[0]])])
    _metric(tmp_path, overwrite=True)
    assert not (tmp_path / "results.tar.gz").exists()


def test_two_images_of_one_name(tmp_path):
    with pytest.raises(ValueError, match="2 images have 1 names"):
        _run(tmp_path, [_sample("a", [[0]]), _sample("a", [[1]])])


def test_the_main_process_packs_the_files_of_all(tmp_path, monkeypatch):
    other = _metric(tmp_path)
    other.process({}, [_sample("b", [[1]])])
    metric = _metric(tmp_path, overwrite=True)
    metric.process({}, [_sample("a", [[0]])])
    monkeypatch.setattr(module, "all_gather_object", lambda own: [["a"], ["b"]])
    metric.evaluate(2)
    with tarfile.open(tmp_path / "results.tar.gz") as tar:
        assert tar.getnames() == [f"{FOLDER}/a.png", f"{FOLDER}/b.png"]
    monkeypatch.setattr(module, "first_process", lambda func: None)  # as in another process
    (tmp_path / "results.tar.gz").unlink()
    other.evaluate(2)
    assert not (tmp_path / "results.tar.gz").exists()
