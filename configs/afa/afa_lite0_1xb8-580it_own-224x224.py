# AFA on photos of your own (docs/own_data.md) for a machine without GPU: the recipe that was measured on voc12-mini
# (docs/benchmarks/photos.md), from ImageNet weights that a Python package ships.
_base_ = "./afa_lite0_1xb8-580it_voc12mini-224x224.py"
data_root = "data/own"
train_pipeline = [dict(type="LoadPhoto", fit=(320, 320)), *_base_._augmentation]
test_pipeline = [
    dict(type="LoadPhoto", fit=(320, 320)),
    dict(type="ResizeToFit", scale=(320, 320)),
    dict(type="LoadOptionalMask"),  # at the size of the photo
    dict(type="PackWSSSInputs"),
]
_dataset = dict(
    _delete_=True,
    type="OwnPhotosDataset",
    data_root=data_root,
    data_prefix=dict(img_path="", seg_map_path="masks"),
)
model = dict(
    cls_head=dict(num_classes=None),  # counted in the labels file
    decode_head=dict(num_classes=None),
    test_cfg=dict(pseudo_labels=False),  # True where photos for validation have masks
)
train_dataloader = dict(dataset=dict(**_dataset, split="train", pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(**_dataset, split="val", pipeline=test_pipeline, test_mode=True))
test_dataloader = val_dataloader
# Without masks nothing says which checkpoint segments best: the last one is kept, not the best.
default_hooks = dict(checkpoint=dict(save_best=None))
val_evaluator = [
    dict(type="MultiLabelMetric", prefix="cls"),
    *(
        dict(type="WSSSIoUMetric", field=field, prefix=prefix)
        for field, prefix in (
            ("pred_cam", "cam"),
            ("pred_par", "par"),
            ("pred_propagated", "propagated"),
            ("pred_sem_seg", "seg"),
        )
    ),
]
test_evaluator = val_evaluator
