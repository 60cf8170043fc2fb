# AFA on DeiT-S, the COCO recipe. No published figure; not measured by us.
_base_ = [
    "../_base_/models/afa_deit-s.py",
    "../_base_/datasets/coco14_448.py",
    "../_base_/schedules/afa_coco14_80k.py",
    "../_base_/default_runtime.py",
]
num_classes = 81
model = dict(
    cls_head=dict(num_classes=num_classes),
    decode_head=dict(num_classes=num_classes),
    refiner=dict(num_iters=15),
    train_cfg=dict(aff_label="propagated"),
)
