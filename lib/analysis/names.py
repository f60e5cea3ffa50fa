"""Names for people: networks, data sets, losses, scores and settings, by their names in parameters and records."""

NETWORKS = {
    "bfcn32s": "BFCN-32s",
    "fcresnet": "FCResNet",
    "fcn8s": "FCN-8s",
    "segnet": "SegNet",
    "unet": "U-Net",
    "fcn8s_resnet50": "FCN-8s on ResNet-50",
    "unet_resnet50": "U-Net on ResNet-50",
}
DATASETS = {"lfw": "LFW", "helen": "HELEN"}
LOSSES = {
    "iou": "IoU",
    "bce": "BCE",
    "dice": "Dice",
    "tversky": "Tversky",
    "focal_tversky": "focal Tversky",
    "jaccard_distance": "Jaccard distance",
    "jaccard_metric": "Jaccard metric",
    "lovasz_hinge": "Lovász hinge",
    "lovasz_sigmoid": "Lovász sigmoid",
    "bce_iou": "BCE + IoU",
}
SCORES = {
    "accuracy": "accuracy",
    "iou": "IoU at 0.5",
    "iou_pooled": "pooled IoU at 0.5",
    "iou_soft": "IoU′ (no threshold)",
    "iou_tuned": "IoU at the validation part's best threshold",
    "boundary_iou": "Boundary IoU",
    "epochs": "epochs",
}
COLUMNS = {"accuracy": "accuracy", "iou": "IoU", "iou_soft": "IoU′", "epochs": "epochs"}  # scores as heads of tables
SETTINGS = {
    "image_size": "image side in pixels",
    "encoder_width": "encoder width",
    "encoder_weights": "encoder weights",
    "fc_units": "head feature maps",
    "score_start": "score layer starts at",
    "epochs": "epochs at most",
    "batch_size": "batch",
    "seed": "seed",
}
# Of parameters whose values are words.
VALUES = {
    "monitor": "stopping on validation {}",
    "loss_reduction": "{} reduction",
    "batch_norm": "{} batch norm",
    "score_start": "{} start",
    "split": "{} split",
    "encoder_weights": "{} weights",
}
