# voc12-mini at a size for a machine without GPU: crops of 224 pixels, photos of 320 pixels to validate. Means are
# over background and the eight frequent classes.
_base_ = "./voc12_mini.py"
crop_size = (224, 224)
_augmentation = [
    dict(type="ResizeToFit", scale=(320, 320)),
    dict(type="RandomScale", ratio_range=(0.7, 1.3)),
    dict(type="RandomFlip", prob=0.5),
    dict(type="RandomCropPad", crop_size=crop_size),
    dict(type="PackWSSSInputs"),
]
train_pipeline = [dict(type="LoadPhoto"), *_augmentation]
_photos_and_masks = [dict(type="LoadPhoto"), dict(type="LoadAnnotations"), *_augmentation]
test_pipeline = [
    dict(type="LoadPhoto"),
    dict(type="ResizeToFit", scale=(320, 320)),
    dict(type="LoadAnnotations"),
    dict(type="PackWSSSInputs"),
]
train_dataloader = dict(batch_size=16, num_workers=1, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(num_workers=1, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
