# Photos of your own with labels.csv or labels.json (docs/own_data.md); 4 images per GPU.
_base_ = "./loaders.py"
dataset_type = "OwnPhotosDataset"
data_root = "data/own"
crop_size = (512, 512)

train_pipeline = [
    # Photos from cameras are large: whole, a crop would show a part of an object at most.
    dict(type="LoadPhoto", fit=(512, 512)),
    dict(type="ResizeToFit", scale=(512, 512)),
    dict(type="RandomScale", ratio_range=(0.5, 2.0), backend="pillow"),
    dict(type="RandomFlip", prob=0.5),
    dict(type="RandomCropPad", crop_size=crop_size),
    dict(type="PackWSSSInputs"),
]
test_pipeline = [
    dict(type="LoadPhoto", fit=(512, 512)),
    dict(type="ResizeToFit", scale=(512, 512)),
    dict(type="LoadOptionalMask"),  # at the size of the photo
    dict(type="PackWSSSInputs"),
]

_dataset = dict(
    type=dataset_type,
    data_root=data_root,
    data_prefix=dict(img_path="", seg_map_path="masks"),
)
train_dataloader = dict(
    batch_size=4,
    dataset=dict(
        **_dataset,
        split="train",
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    dataset=dict(
        **_dataset,
        split="val",
        pipeline=test_pipeline,
        test_mode=True,
    ),
)
test_dataloader = val_dataloader
