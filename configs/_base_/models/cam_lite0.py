# Classifier of the multi-stage methods on EfficientNet-lite0. Pooling, scales, mirror and normalisation are AFA's, so
# that its CAMs are those of this network.
_base_ = "./lite0.py"
num_classes = 21
model = dict(
    type="CAMClassifier",
    data_preprocessor=dict(size=(448, 448)),
    cls_head=dict(type="CAMHead", num_classes=num_classes, pooling="max"),
    refiner=dict(type="PAR", num_iters=10, dilations=(1, 2, 4, 8, 12, 24)),
    cam_scales=(1.0, 0.5, 1.5),
    cam_mirror="max",
    cam_subtract_min=True,
    test_cfg=dict(pseudo_labels=True, bkg_thr=0.35),
)
