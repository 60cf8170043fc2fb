# AFA from scratch on the built-in Shapes data set; the run of `make demo`.
_base_ = [
    "../_base_/models/afa_mit-b1.py",
    "../_base_/datasets/shapes.py",
    "../_base_/schedules/afa_shapes.py",
    "../_base_/default_runtime.py",
]
num_classes = 7
# Objects are cut more often than in the data set's own pipeline (1.2): with whole pictures the classifier may learn to
# light up the surroundings of a class instead of the class, in one seed of three (docs/benchmarks/shapes.md).
train_pipeline = [
    *_base_.train_pipeline[:2],
    dict(type="RandomScale", ratio_range=(1.0, 1.4)),
    *_base_.train_pipeline[3:],
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
model = dict(
    data_preprocessor=dict(size=(96, 96)),
    backbone=dict(arch="b0", strides=(4, 2, 1, 1), drop_path_rate=0.0, init_cfg=None),
    # From scratch, a bias keeps "no class" out of the features, and the maximum of the class maps
    # is meant to keep CAMs out of the background; the recipes of the paper have neither.
    cls_head=dict(
        pooling="map",
        num_classes=num_classes,
        bias=True,
        init_cfg=dict(type="Normal", layer="Conv2d", std=0.01, bias=-3.0),
    ),
    decode_head=dict(channels=128, num_classes=num_classes),
    # Some hundred iterations do not turn the sign of weights that were drawn, as those of VOC's 20,000 do: an
    # affinity that begins with wrong signs loses whole classes in the walk (docs/benchmarks/shapes.md). Its rate is low
    # (5 times that of the backbone): four times as much lost the class egg over 340 iterations with labels.
    affinity_head=dict(init_cfg=dict(type="Constant", layer="Conv2d", val=0)),
    refiner=dict(dilations=(1, 2, 4, 8)),  # a fifth of the paper's crop: smaller steps
    # Mirror images at one scale cost the segmentation nothing here, and save a third of a step with labels
    # (docs/benchmarks/shapes.md); the recipes of VOC and COCO have them at all, as the paper.
    train_cfg=dict(radius=3, bkg_thr_high=0.45, bkg_thr_low=0.25, mirror_scales=(1.0,)),
    test_cfg=dict(bkg_thr=0.35),
)
