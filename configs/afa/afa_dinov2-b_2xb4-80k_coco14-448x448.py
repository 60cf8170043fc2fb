# AFA on DINOv2-B, 32 x 32 patches of 14 pixels; the COCO recipe. No published figure; not measured by us.
_base_ = "./afa_deit-s_2xb4-80k_coco14-448x448.py"
model = dict(backbone=dict(name="vit_base_patch14_dinov2.lvd142m"))
