# AFA on photos of your own (docs/own_data.md): MiT-B0, one GPU. Not measured by us.
_base_ = [
    "../_base_/models/afa_mit-b1.py",
    "../_base_/datasets/own_photos.py",
    "../_base_/schedules/afa_own_4k.py",
    "../_base_/default_runtime.py",
]
model = dict(
    backbone=dict(arch="b0", init_cfg=dict(checkpoint="weights/mit_b0.pth")),
    cls_head=dict(num_classes=None),  # counted in the labels file
    decode_head=dict(num_classes=None),
    # From zero: too few iterations to turn the signs of drawn weights (docs/benchmarks/shapes.md).
    affinity_head=dict(init_cfg=dict(type="Constant", layer="Conv2d", val=0)),
    test_cfg=dict(pseudo_labels=False),  # True where photos for validation have masks
)
