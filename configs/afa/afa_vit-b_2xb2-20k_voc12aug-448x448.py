# AFA on ViT-B with weights of ImageNet-21k; the VOC recipe. No published figure; not measured by us.
_base_ = "./afa_deit-s_2xb2-20k_voc12aug-448x448.py"
model = dict(backbone=dict(name="vit_base_patch16_224.augreg_in21k"))
