import numpy as np
import pytest
import torch
from mmengine.config import Config
from toy_predict import CLASSES, draw_photo, write_checkpoint, write_config
from toy_stages import AFFINITY_NET

from afa.apis import inference_model, init_model
from afa.apis import photo_maps as module
from afa.apis.photo_maps import map_photo
from afa.models.functional import ALL_KINDS

PREPROCESSOR = dict(type="SegDataPreProcessor", mean=[120.0] * 3, std=[60.0] * 3, bgr_to_rgb=True)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy")
    return init_model(write_config(folder), write_checkpoint(folder), "cpu")


@pytest.fixture(scope="module")
def photo():
    return draw_photo(seed=3)


@pytest.fixture(scope="module")
def maps(model, photo):
    return map_photo(model, photo)


def other_model(folder, model):
    """Build a model of another kind, with drawn weights and the toy's test pipeline."""
    cfg = Config.fromfile(write_config(folder))
    cfg.model = dict(model, data_preprocessor=PREPROCESSOR)
    torch.manual_seed(0)
    return init_model(cfg, device="cpu")


@pytest.mark.parametrize("kind", ALL_KINDS)
@pytest.mark.parametrize("cls_thr", [0.0, 0.5, 1.0])
def test_labels_are_those_of_a_prediction(model, maps, photo, kind, cls_thr):
    label = maps.label(kind, model.test_cfg.bkg_thr, cls_thr)
    assert label.dtype == np.uint8
    result = inference_model(model, photo, kind=kind, cls_thr=cls_thr)
    field = "pred_sem_seg" if kind == "seg" else f"pred_{kind}"
    np.testing.assert_array_equal(label, result.get(field).data[0].numpy())


def test_another_threshold_does_not_run_the_network(model, maps, monkeypatch):
    few, many = maps.label("par", 0.9, 0.0), maps.label("par", 0.1, 0.0)
    monkeypatch.setattr(model.backbone, "forward", None)
    assert np.array_equal(maps.label("par", 0.9, 0.0), few)
    assert 0 < (few > 0).sum() < (many > 0).sum()
    assert not maps.label("propagated", 0.4, 1.0).any()  # no class at all


def test_sizes(maps):
    assert maps.label("cam", 0.4, 0.0, (30, 40)).shape == (30, 40)
    segmentation = maps.label("seg", 0.4, 0.0, (30, 40))
    np.testing.assert_array_equal(segmentation, maps.segmentation[::2, ::2])


def test_cams_and_classes(model, maps, photo):
    scores = maps.scores.tolist()
    assert maps.classes == sorted(range(3), key=lambda cls: -scores[cls])
    result = inference_model(model, photo, cam=True, classes=["dog"])
    np.testing.assert_allclose(maps.cam(CLASSES.index("dog") - 1), result.cams[0].numpy())
    with pytest.raises(ValueError, match="has no CAM"):
        maps.cam(3)


def test_only_the_best_classes_have_maps(model, maps, photo, monkeypatch):
    monkeypatch.setattr(module, "MAX_CLASSES", 2)
    some = map_photo(model, photo)
    assert some.classes == maps.classes[:2]
    np.testing.assert_allclose(some.cam(some.classes[1]), maps.cam(some.classes[1]), atol=1e-6)
    with pytest.raises(ValueError, match="has no CAM"):
        some.cam(maps.classes[2])
    assert some.num_bytes < maps.num_bytes


def test_the_affinity_of_a_point_is_the_row_of_its_token(maps):
    h, w = maps.maps.walk.grid
    assert (h, w) == (4, 5)  # at 1.5 of 36 x 48, stride 16
    whole = maps.maps.walk.affinity[0].view(h, w, h, w)
    for y, x, row, column in ((0, 0, 0, 0), (0.999, 0.5, h - 1, w // 2), (1, 1, h - 1, w - 1)):
        np.testing.assert_array_equal(maps.affinity(y, x), whole[row, column].numpy())


def test_padding_is_cut_off(model, photo, monkeypatch):
    plain = map_photo(model, photo)
    monkeypatch.setattr(model.data_preprocessor, "test_cfg", dict(size=(64, 64)))
    padded = map_photo(model, photo)
    assert padded.inputs_size == (64, 64) and plain.inputs_size == (36, 48)
    assert padded.padding == (0, 16, 0, 28)
    assert padded.cam(0).shape == plain.cam(0).shape == (36, 48)
    assert padded.label("par", 0.4, 0.0).shape == (60, 80)
    h, w = padded.maps.walk.grid
    row = padded.maps.walk.affinity[0, (h * 35 // 64) * w + w * 47 // 64]
    cut = padded.affinity(0.999, 0.999)
    assert cut.shape == (36, 48) and row.min() - 1e-6 <= cut.min() and cut.max() <= row.max() + 1e-6


def test_large_inputs_are_reduced(model, photo):
    small = map_photo(model, photo, max_pixels=600)
    assert small.inputs_size == (21, 28)
    assert small.label("seg", 0.4, 0.5).shape == (60, 80)


def test_memory_is_counted(maps):
    soft = maps.maps
    arrays = (maps.segmentation, soft.cams, soft.refine.weights, soft.walk.affinity)
    assert maps.num_bytes == sum(array.nbytes for array in arrays) > 60 * 80


def test_a_classifier_has_cams_only(tmp_path, photo):
    head = dict(type="CAMHead", in_channels=6, num_classes=4, pooling="avg")
    kind = dict(type="CAMClassifier", backbone=dict(type="ToyLevels"), cls_head=head)
    maps = map_photo(other_model(tmp_path, kind), photo)
    assert maps.segmentation is None and maps.label("cam", 0.3, 0.0).shape == (60, 80)
    assert maps.num_bytes == maps.maps.cams.nbytes
    with pytest.raises(ValueError, match="learns no affinity"):
        maps.affinity(0.5, 0.5)
    with pytest.raises(ValueError, match="makes no 'seg' labels"):
        maps.label("seg", 0.3, 0.5)


@pytest.mark.parametrize(
    "settings", [{}, dict(test_cfg=dict(mode="slide", crop_size=(32, 32), stride=(16, 16)))]
)
def test_a_segmentor_has_a_segmentation_only(tmp_path, photo, settings):
    settings.setdefault("test_cfg", dict(mode="whole"))
    head = dict(
        type="FCNHead", in_channels=6, channels=4, num_convs=1, num_classes=4, norm_cfg=None
    )
    kind = dict(type="EncoderDecoder", backbone=dict(type="ToyLevels"), decode_head=head)
    model = other_model(tmp_path, {**kind, **settings})
    maps = map_photo(model, photo)
    assert maps.scores is None and maps.maps is None and maps.classes == []
    expected = inference_model(model, photo).pred_sem_seg.data[0].numpy()
    assert (maps.label("seg", 0.4, 0.5) == expected).mean() > 0.999  # mmseg resizes in two steps
    assert maps.num_bytes == 60 * 80
    for what in (lambda: maps.cam(0), lambda: maps.label("par", 0.4, 0.5)):
        with pytest.raises(ValueError):
            what()


def test_a_model_without_labels_is_refused(tmp_path, photo):
    with pytest.raises(ValueError, match="AffinityNet makes no label maps: take a model"):
        map_photo(other_model(tmp_path, dict(AFFINITY_NET)), photo)
