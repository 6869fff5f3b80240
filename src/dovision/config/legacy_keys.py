"""Replacements of words of Lightning, of lightning-hydra-template and of earlier versions."""

from __future__ import annotations

from collections.abc import Mapping

_EPOCHS = "Set training.classifier.epochs and training.autoencoder.epochs."
_BEST = "Each epoch is validated on all images of val, since the best one is kept."
_STOP = f"A job may be stopped at any time, and the same command goes on. {_EPOCHS}"
_LOGGER = "Choose loggers by their group: logger=csv, or several: logger=[csv,wandb]."
_DATASET = "Choose images by dataset=NAME."
_COMMANDS = "dovision-train fits a classifier, dovision-evaluate measures one on the test images."
_WHERE = "Set output_root, the folder of everything that is written."
_NOTHING = "Nothing here needs it."
_ATTACK = "Choose an attack that has it, of dovision-evaluate, such as attack=pgd."
_OPTIMIZER = "Set training.classifier.optimizer.lr or training.classifier.optimizer._target_, its class."
_DECAY = "Write +training.classifier.optimizer.weight_decay=..., as the optimizer's class names it."
_ARGUMENTS = "Write explainer.captum.arguments={NAME:VALUE}, as captum names them."
_SCORES = "All scores of maps are measured. Leave some out by explanation.noise=0 or explanation.num_sanity_images=0."
_SCHEDULER = "Write scheduler@training.classifier.scheduler=NAME: cosine, plateau or step_decay."
_MASK = "Set intervention.rows and intervention.columns, or choose intervention=sliding_window."

# By the dotted name of a key that does not exist; {rest} stands for what is written below it.
LEGACY_KEYS: Mapping[str, str] = {
    # parameters of pytorch_lightning.Trainer
    "trainer.num_nodes": "A job runs on one machine. For a sweep on several: hydra/launcher=submitit_slurm.",
    "trainer.logger": _LOGGER,
    "trainer.enable_autolog_hparams": _LOGGER,
    "trainer.callbacks": "Choose them by the group: callbacks=[early_stopping,lr_monitor].",
    "trainer.max_epochs": _EPOCHS,
    "trainer.min_epochs": _EPOCHS,
    "trainer.max_steps": _EPOCHS,
    "trainer.min_steps": _EPOCHS,
    "trainer.max_time": _STOP,
    "trainer.val_check_interval": _BEST,
    "trainer.check_val_every_n_epoch": _BEST,
    "trainer.limit_predict_batches": "Nothing is predicted. The number of test images is evaluation.images.",
    "trainer.enable_checkpointing": "Epochs are kept under output_root, and the same command goes on from them.",
    "trainer.reload_dataloaders_every_n_epochs": _NOTHING,
    "trainer.enable_progress_bar": "There are bars where standard error is a terminal, and lines in the log elsewhere.",
    "trainer.use_distributed_sampler": "Test images are shared out among the devices by the command.",
    "trainer.sync_batchnorm": "A model is fitted on one device.",
    "trainer.plugins": "Choose how numbers are kept by trainer.precision, and how devices share by trainer.strategy.",
    "trainer.barebones": "Only what the configuration asks for is switched on.",
    "trainer.default_root_dir": _WHERE,
    "trainer.model_registry": "Weights are found by content under output_root.",
    # settings of explainers that are captum's by now
    "explainer.kernel_shap.draws": "Set explainer.kernel_shap.arguments.n_samples.",
    "explainer.kernel_shap.fill": "Set explainer.kernel_shap.arguments.baselines.",
    "explainer.kernel_shap.rows": "Set explainer.kernel_shap.cells, one number or [rows,columns].",
    "explainer.kernel_shap.columns": "Set explainer.kernel_shap.cells, one number or [rows,columns].",
    "explainer.smooth_grad.draws": "Set explainer.smooth_grad.arguments.nt_samples.",
    "explainer.smooth_grad.sigma": "Set explainer.smooth_grad.arguments.stdevs.",
    # keys of lightning-hydra-template
    "data": _DATASET,
    "data.batch_size": "Set training.classifier.batch_size, or evaluation.batch_size of dovision-evaluate.",
    "data.num_workers": "Set num_workers.",
    "data.pin_memory": "Batches are pinned where there is a GPU.",
    "data.data_dir": "Set dataset.root.",
    "data.train_val_test_split": f"{_DATASET} Its keys say how it is split, such as dataset.val_fraction.",
    "datamodule": _DATASET,
    "model.net": "Choose a network by model=NAME.",
    "model.optimizer": "Set training.classifier.optimizer{rest}.",
    "model.compile": "Networks are not compiled.",
    "train": _COMMANDS,
    "test": _COMMANDS,
    "task_name": "Set name.",
    "extras": "Set print_config or tags.",
    "extras.print_config": "Set print_config.",
    "extras.enforce_tags": "Set tags.",
    "extras.ignore_warnings": "Warnings of libraries about their own plumbing are off.",
    "paths.root_dir": _WHERE,
    "paths.log_dir": _WHERE,
    "paths.output_dir": _WHERE,
    "paths.work_dir": _WHERE,
    "paths.data_dir": "Set dataset.root.",
    # keys that are expected elsewhere
    **{f"attack.{name}": _ATTACK for name in ("eps", "norm", "steps", "step_size")},
    **dict.fromkeys(("optimizer", "training.optimizer"), _OPTIMIZER),
    **dict.fromkeys(("weight_decay", "optimizer.weight_decay", "model.optimizer.weight_decay"), _DECAY),
    **dict.fromkeys(("scheduler", "training.scheduler", "model.scheduler"), _SCHEDULER),
    **dict.fromkeys(("mask_size", "intervention.mask_size"), _MASK),
    "explainer.captum.n_samples": _ARGUMENTS,
    "explainer.captum.arguments": _ARGUMENTS,
    "explainer.occlusion.sliding_window_shapes": "Set explainer.occlusion.window, in pixels.",
    "explainer.occlusion.baselines": "Set explainer.occlusion.fill, in [0, 1].",
    "explainer.grad_cam.target_layers": "Set explainer.grad_cam.layer.",
    **dict.fromkeys(("metric", "metrics", "explanation.metrics"), _SCORES),
    "explanation.perturb_baseline": "Choose it by fill@explanation.fill=NAME.",
    "explanation.features_in_step": "Set explanation.steps.",
    **dict.fromkeys(("wandb", "project", "entity"), f"{_LOGGER} Their keys are such as logger.wandb.project."),
    "group": "Set logger.wandb.group, with logger=wandb.",
    "logger.wandb.offline": "Set logger.wandb.mode: offline, online or disabled.",
    "logger.wandb.log_model": "Set logger.wandb.artifacts.",
    "logger.wandb.save_dir": _WHERE,
    "logger.wandb.id": "A job that was stopped goes on in its run. Set logger.wandb.name to name one.",
    "logger.wandb.notes": "Set note.",
    "learning_rate": "Set training.classifier.optimizer.lr.",
    "compile": "Networks are not compiled.",
}
_OOD = {
    "ash": "ASH", "dice": "DICE", "energy": "EnergyBased", "fdbd": "fDBD", "grad_norm": "GradNorm", "knn": "KNN",
    "kl_matching": "KLMatching", "lts": "LTS", "max_logit": "MaxLogit", "nci": "NCI", "nnguide": "NNGuide",
    "open_max": "OpenMax", "pnml": "PNML", "react": "ReAct", "rmd": "RMD", "scale": "SCALE", "she": "SHE",
    "vim": "ViM", "vra": "VRA",
}  # fmt: skip
_CODE = "+intervention@detector.effect_profile.interventions.code=latent_channel"
_INTERCHANGE = "value@intervention.value=interchange_class intervention.value.source_class"
# By group and name of a component that is gone: the words of a command in its place.
LEGACY_COMPONENTS: Mapping[str, str] = {
    **{f"detector.ood_{name}": f"detector=pytorch_ood detector.pytorch_ood.method={_OOD[name]}" for name in _OOD},
    **{f"detector.effect_classifier{name}": "detector=effect_consistency_grid" for name in ("", "_latent", "_both")},
    "detector.effect_profile_both": f"detector=effect_profile {_CODE}",
    "attack.l2_pgd": "attack=pgd attack.norm=l2 attack.eps=0.5",
    "explainer.integrated_gradients_cells": "explainer=integrated_gradients explainer.integrated_gradients.cells=14",
    "value.interchange_other_class": f"{_INTERCHANGE}=other",
    "value.interchange_same_class": f"{_INTERCHANGE}=same",
    "callbacks.default": "callbacks=[early_stopping,lr_monitor]",
    "logger.many_loggers": "logger=[csv,wandb]",
    "experiment.example": "experiment=demo",
    "trainer.debug": "trainer=cpu trainer.detect_anomaly=true trainer.enable_model_summary=true",
}


def replacement(path: str) -> str:
    """Suggest what to set in place of a key that does not exist; empty if nothing is known."""
    names = path.split(".")
    for end in range(len(names), 0, -1):
        sentence = LEGACY_KEYS.get(".".join(names[:end]))
        if sentence is not None:
            below = "".join(f".{name}" for name in names[end:])
            return f"{path} is not a key here. {sentence.replace('{rest}', below)}"
    return ""
