"""First commands of users of other tools: they compose, or are refused in a sentence that names what to write."""

from __future__ import annotations

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException

from dovision.config import composition
from dovision.config.sources import HYDRA_DEFAULTS, configuration_folder, without_null

WORKS = ""
TEMPLATE = {
    "train trainer=gpu": WORKS,
    "train trainer=ddp trainer.devices=4": WORKS,
    "train data=mnist": "Choose images by dataset=NAME.",
    "train trainer.max_epochs=20": "Set training.classifier.epochs and training.autoencoder.epochs.",
    "train data.batch_size=64": "Set training.classifier.batch_size, or evaluation.batch_size of dovision-evaluate.",
    "train model.optimizer.lr=0.005": "Set training.classifier.optimizer.lr.",
    "train optimizer=adam": "training.classifier.optimizer._target_, its class.",
    "train scheduler=cosine": "Write scheduler@training.classifier.scheduler=NAME: cosine, plateau or step_decay.",
    "train model.optimizer.weight_decay=0.1": "Write +training.classifier.optimizer.weight_decay=...",
    "train logger=many_loggers": "Write logger=[csv,wandb].",
    "train experiment=example": "Write experiment=demo.",
    "train callbacks=default": "Write callbacks=[early_stopping,lr_monitor].",
    "train debug=fdr": WORKS,
    "train hparams_search=mnist_optuna": "Did you mean optuna?",
    "train +training.classifier.optimizer.weight_decay=0.1 scheduler@training.classifier.scheduler=cosine": WORKS,
}
CAPTUM = {
    "evaluate explainer=integrated_gradients": WORKS,
    "evaluate explainer=occlusion explainer.occlusion.window=8": WORKS,
    "evaluate explainer=captum explainer.captum.method=DeepLift": WORKS,
    "evaluate explainer=captum explainer.captum.arguments={n_samples:50}": WORKS,
    "evaluate explainer=Saliency": "Write explainer=captum explainer.captum.method=Saliency.",
    "evaluate explainer=[occlusion,deep_lift]": "Write explainer=captum explainer.captum.method=DeepLift.",
    "evaluate explainer=lrp": "Write explainer=captum explainer.captum.method=LRP.",
    "evaluate explainer=captum explainer.captum.n_samples=50": "Write explainer.captum.arguments={NAME:VALUE}",
    "evaluate explainer=captum explainer.captum.arguments.n_samples=50": "Write explainer.captum.arguments={",
    "evaluate explainer=occlusion explainer.occlusion.sliding_window_shapes=8": "Set explainer.occlusion.window",
    "evaluate explainer=occlusion explainer.occlusion.strides=4": "Did you mean stride?",
}
GRAD_CAM = {
    "evaluate explainer=grad_cam": WORKS,
    "evaluate explainer=[grad_cam,score_cam]": WORKS,
    "evaluate explainer=grad_cam explainer.grad_cam.layer=relu2": WORKS,
    "evaluate explainer=cam explainer.cam.method=EigenCAM": WORKS,
    "evaluate explainer=gradcam": "Write explainer=cam explainer.cam.method=GradCAM.",
    "evaluate explainer=grad_cam++": "Write explainer=cam explainer.cam.method=GradCAMPlusPlus.",
    "evaluate explainer=eigen_cam": "Write explainer=cam explainer.cam.method=EigenCAM.",
    "evaluate explainer=HiResCAM": "Write explainer=cam explainer.cam.method=HiResCAM.",
    "evaluate model=resnet50 explainer=grad_cam": "Write model=torchvision_model model.name=resnet50.",
    "evaluate explainer=grad_cam explainer.grad_cam.target_layers=relu2": "Set explainer.grad_cam.layer.",
}
QUANTUS = {
    "evaluate explainer=[grad_cam,random_map] explanation.steps=32": WORKS,
    "evaluate explainer=grad_cam fill@explanation.fill=constant": WORKS,
    "evaluate explainer=grad_cam explanation.num_sanity_images=8": WORKS,
    "evaluate explainer=grad_cam explanation.noise=0.05": WORKS,
    "evaluate explainer=grad_cam evaluation.batch_size=16 seed=1": WORKS,
    "evaluate metric=pixel_flipping": "All scores of maps are measured.",
    "evaluate metrics=[deletion,insertion]": "All scores of maps are measured.",
    "evaluate explanation.metrics=[deletion]": "All scores of maps are measured.",
    "evaluate explanation.perturb_baseline=black": "Choose it by fill@explanation.fill=NAME.",
    "evaluate explanation.features_in_step=10": "Set explanation.steps.",
}
WANDB = {
    "evaluate logger=wandb logger.wandb.project=mine logger.wandb.entity=me": WORKS,
    "evaluate logger=[csv,wandb] logger.wandb.group=mine logger.wandb.tags=[a,b]": WORKS,
    "evaluate logger=wandb logger.wandb.name=first logger.wandb.mode=online": WORKS,
    "evaluate logger=[wandb,mlflow] logger.mlflow.experiment_name=mine": WORKS,
    "evaluate logger=WandB": "Did you mean wandb?",
    "evaluate logger.wandb.project=mine": "Choose it by its group, beside others: logger=[...,wandb].",
    "evaluate logger=wandb logger.wandb.offline=true": "Set logger.wandb.mode: offline, online or disabled.",
    "evaluate logger=wandb logger.wandb.log_model=true": "Set logger.wandb.artifacts.",
    "evaluate wandb.project=mine": "Choose loggers by their group: logger=csv, or several: logger=[csv,wandb].",
    "evaluate group=mine": "Set logger.wandb.group, with logger=wandb.",
}
OURS = {
    "evaluate attack=pgd attack.eps=0.1": WORKS,
    "evaluate attack.eps=0.1": "Choose an attack that has it, of dovision-evaluate, such as attack=pgd.",
    "evaluate mask_size=8": "Set intervention.rows and intervention.columns, or choose intervention=sliding_window",
    "train weight_decay=0.1": "Write +training.classifier.optimizer.weight_decay=...",
}


@pytest.mark.parametrize("line", HABITS := TEMPLATE | CAPTUM | GRAD_CAM | QUANTUS | WANDB | OURS)
def test_a_first_command_composes_or_is_refused_in_a_sentence_that_leads_on(line):
    command, *words = line.split()
    words, sentence = without_null(command, words), ""
    with initialize_config_dir(str(configuration_folder()), **HYDRA_DEFAULTS):
        try:
            compose(command, words, return_hydra_config=True)
        except HydraException as error:
            sentence = composition.refusal(error, command, words)
    assert HABITS[line] in sentence
    assert bool(HABITS[line]) == bool(sentence), sentence
