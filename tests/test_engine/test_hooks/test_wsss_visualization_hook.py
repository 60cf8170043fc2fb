from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image
from toy_afa import afa_cfg
from toy_run import losses

import afa.datasets
import afa.evaluation  # noqa: F401  registers the metrics, as the line above the data sets
from afa.datasets.shapes import write_shapes
from afa.engine.hooks import WSSSVisualizationHook
from afa.engine.hooks import wsss_visualization_hook as module
from afa.engine.runner import build_runner

MAX_ITERS = 4


@pytest.fixture(scope="module")
def data_root(tmp_path_factory):
    root = tmp_path_factory.mktemp("shapes")
    write_shapes(root, num_train=8, num_val=3, size=48)
    return root


def _loader(data_root, split, batch_size, pipeline):
    return dict(
        batch_size=batch_size,
        num_workers=0,
        sampler=dict(type="InfiniteSampler" if split == "train" else "DefaultSampler"),
        dataset=dict(
            type="ShapesDataset",
            data_root=str(data_root),
            ann_file=f"ImageSets/Segmentation/{split}.txt",
            data_prefix=dict(img_path="JPEGImages", seg_map_path="SegmentationClassAug"),
            image_labels="Annotations",
            pipeline=pipeline,
            test_mode=split == "val",
        ),
    )


def _cfg(data_root, work_dir, hook=None, validate=True, **model):
    """A run whose augmentation and dropout draw from the global random states."""
    load, pack = dict(type="LoadPhoto"), dict(type="PackWSSSInputs")
    augment = [
        dict(type="RandomFlip", prob=0.5),
        dict(type="RandomCropPad", crop_size=(64, 64)),
    ]
    model = dict(decode_head__num_classes=7, cls_head__num_classes=7, **model)
    model.update(decode_head__dropout_ratio=0.3, backbone__drop_path_rate=0.3)
    cfg = dict(
        default_scope="mmseg",
        model=afa_cfg(data_preprocessor__size=(64, 64), **model),
        work_dir=str(work_dir),
        train_dataloader=_loader(data_root, "train", 2, [load, *augment, pack]),
        train_cfg=dict(type="IterBasedTrainLoop", max_iters=MAX_ITERS, val_interval=99),
        optim_wrapper=dict(optimizer=dict(type="AdamW", lr=1e-3)),
        default_hooks=dict(
            logger=dict(type="LoggerHook", interval=1),
            checkpoint=dict(type="CheckpointHook", interval=99, by_epoch=False, save_last=False),
        ),
        custom_hooks=[dict(type="PhaseHook", phases=dict(cls=0, pseudo=1, propagated=2))],
        log_processor=dict(type="AFALogProcessor", by_epoch=False, window_size=1),
        visualizer=dict(type="Visualizer", vis_backends=[dict(type="LocalVisBackend")]),
        randomness=dict(seed=3),
    )
    if validate:
        loads = [load, dict(type="LoadAnnotations"), pack]
        cfg.update(
            val_dataloader=_loader(data_root, "val", 1, loads),
            val_cfg=dict(type="ValLoop"),
            val_evaluator=dict(type="WSSSIoUMetric", prefix="seg"),
        )
    if hook is not None:
        cfg["custom_hooks"].append(dict(type="WSSSVisualizationHook", **hook))
    return Config(cfg)


def _pictures(runner):
    folder = Path(runner.log_dir) / "vis_data" / "vis_image"
    return {path.name: cv2.imread(str(path)) for path in sorted(folder.glob("*"))}


def test_losses_and_weights_do_not_depend_on_pictures(data_root, tmp_path):
    plain = build_runner(_cfg(data_root, tmp_path / "plain"))
    plain.train()
    drawn = build_runner(_cfg(data_root, tmp_path / "drawn", dict(interval=1, num_images=2)))
    drawn.train()
    assert len(losses(plain)) == MAX_ITERS
    assert losses(drawn) == losses(plain)
    for key, value in plain.model.state_dict().items():
        assert torch.equal(value, drawn.model.state_dict()[key]), key
    assert _pictures(plain) == {}
    names = [f"wsss_{kind}_{step}.png" for kind in ("labels", "queries") for step in (1, 2, 3, 4)]
    assert list(_pictures(drawn)) == names


@pytest.mark.parametrize("model", [{}, dict(train_cfg__propagation=None)])
def test_training_images_are_drawn_where_there_is_no_validation(data_root, tmp_path, model):
    hook = dict(interval=2, num_images=3, num_queries=2)
    runner = build_runner(_cfg(data_root, tmp_path, hook, validate=False, **model))
    runner.train()
    pictures = _pictures(runner)
    assert len(pictures) == 4
    # photo, CAM, pseudo label, prediction (, propagated label); no truth in training
    columns = 4 if model else 5
    assert pictures["wsss_labels_2.png"].shape[1] == 6 + columns * 198
    assert pictures["wsss_queries_2.png"].shape[1] == 6 + 5 * 198
    queries = pictures["wsss_queries_2.png"][:, :200]  # the photos stay the same
    assert (queries == pictures["wsss_queries_4.png"][:, :200]).all()


def test_truth_is_drawn_for_validation_images(data_root, tmp_path, monkeypatch):
    seen = []
    original = module._look
    monkeypatch.setattr(module, "_look", lambda *a: seen.append(original(*a)) or seen[-1])
    runner = build_runner(_cfg(data_root, tmp_path, dict(interval=4, num_images=9)))
    runner.train()
    assert [look.name for look in seen] == ["val_00000", "val_00001", "val_00002"]
    for look in seen:
        path = data_root / "SegmentationClassAug" / f"{look.name}.png"
        assert look.truth.shape == look.image.shape[:2]
        assert (look.truth == np.array(Image.open(path))).all()
        photo = cv2.imread(str(data_root / "JPEGImages" / f"{look.name}.jpg"))[..., ::-1]
        assert np.abs(look.image.astype(int) - photo).max() <= 1
        assert look.cam.min() >= 0 and look.cam.max() <= 1
        tokens = look.token_grid[0] * look.token_grid[1]
        assert list(look.query_maps) == ["attention", "affinity"]
        for maps in look.query_maps.values():
            assert maps.shape == (tokens, tokens) and maps.min() >= 0 and maps.max() <= 1
        assert np.allclose(look.query_maps["attention"].max(1), 1)
        assert list(look.labels) == ["pseudo label", "propagated label", "prediction"]
    assert _pictures(runner)["wsss_labels_4.png"].shape[1] == 6 + 6 * 198


def test_only_the_first_process_draws():
    hook = WSSSVisualizationHook(interval=1)
    runner = SimpleNamespace(rank=1, iter=0, model=SimpleNamespace(training_view=None))
    hook.before_train(runner)
    hook.after_train_iter(runner, 0)  # would fail on a visualizer that is not there
    assert hook._samples == []


def test_a_model_without_labels_is_refused(toy_cfg):
    toy_cfg.custom_hooks.append(dict(type="WSSSVisualizationHook", interval=1))
    with pytest.raises(ValueError, match="ToyModel has none: take the hook out"):
        build_runner(toy_cfg).train()


@pytest.mark.parametrize("name", ["interval", "num_images", "num_queries"])
def test_numbers_must_be_positive(name):
    with pytest.raises(ValueError, match=f"needs {name} >= 1, got 0"):
        WSSSVisualizationHook(**{"interval": 1, name: 0})


def test_truth_of_a_padded_input_is_undecided_in_the_padding():
    data = torch.ones(1, 4, 6, dtype=torch.long)
    sample = SimpleNamespace(metainfo=dict(img_shape=(2, 3)), gt_sem_seg=SimpleNamespace(data=data))

    class Sample(SimpleNamespace):
        def __contains__(self, name):
            return hasattr(self, name)

    truth = module._truth(Sample(**vars(sample)), (3, 4))
    assert truth.tolist() == [[1, 1, 1, 255], [1, 1, 1, 255], [255] * 4]
    assert module._truth(Sample(metainfo={}), (3, 4)) is None
