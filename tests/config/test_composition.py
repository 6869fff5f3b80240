"""First commands of users of other tools, and what stored settings may say."""

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException

from dovision.config import composition
from dovision.config.component_names import check_stored
from dovision.config.sources import HYDRA_DEFAULTS, configuration_folder

PICTURES = {"_target_": "dovision.datasets.image_folder.ImageFolder", "root": "x"}


@pytest.mark.parametrize("key", ["_partial_", "_args_", "_convert_", "_recursive_"])
def test_they_do_not_say_how_a_component_is_made(key):
    with pytest.raises(ValueError, match=rf"dataset\.{key} in run is True, which only a command may say"):
        check_stored({"dataset": {**PICTURES, key: True}}, "run", "trust_checkpoint=true")


def test_an_optimizer_and_a_loss_of_an_attack_are_made_in_part():
    optimizer = {"_target_": "torch.optim.Adam", "_partial_": True, "lr": 0.1}
    loss = {"_target_": "dovision.attacks.losses.task_loss", "_partial_": True}
    attack = {"_target_": "dovision.attacks.gradient_ascent.PGD", "loss": loss}
    check_stored({"dataset": PICTURES, "optimizer": optimizer, "attack": attack}, "run", "trust_checkpoint=true")


WORKS = ""
TEMPLATE = {
    "train trainer=gpu": "trainer has no component 'gpu'. It has: default.",
    "train trainer.accelerator=gpu trainer.devices=4": WORKS,
    "train data=mnist": "Did you mean dataset?",
    "train trainer.max_epochs=20": "Did you mean training.classifier.epochs or training.autoencoder.epochs?",
    "train scheduler=cosine": "Did you mean scheduler@training.autoencoder.scheduler or scheduler@training.",
    "train callbacks=default": "It has: early_stopping, lr_monitor.",
    "train debug=default": WORKS,
    "train +training.classifier.optimizer.weight_decay=0.1 scheduler@training.classifier.scheduler=cosine": WORKS,
}
CAPTUM = {
    "evaluate explainer=integrated_gradients": WORKS,
    "evaluate explainer=captum explainer.captum.method=DeepLift": WORKS,
    "evaluate explainer=Saliency": "Write explainer=captum explainer.captum.method=Saliency.",
    "evaluate explainer=[occlusion,deep_lift]": "Write explainer=captum explainer.captum.method=DeepLift.",
    "evaluate explainer=lrp": "Write explainer=captum explainer.captum.method=LRP.",
    "evaluate explainer=occlusion explainer.occlusion.sliding_window_shapes=8": "Its keys are: window, stride, fill,",
    "evaluate explainer=occlusion explainer.occlusion.strides=4": "Did you mean stride?",
}
GRAD_CAM = {
    "evaluate explainer=grad_cam explainer.grad_cam.layer=relu2": WORKS,
    "evaluate explainer=cam explainer.cam.method=EigenCAM": WORKS,
    "evaluate explainer=gradcam": "Write explainer=cam explainer.cam.method=GradCAM.",
    "evaluate explainer=grad_cam++": "Write explainer=cam explainer.cam.method=GradCAMPlusPlus.",
    "evaluate model=resnet50 explainer=grad_cam": "Write model=torchvision_model model.name=resnet50.",
}
WANDB = {
    "evaluate logger=wandb logger.wandb.project=mine logger.wandb.entity=me": WORKS,
    "evaluate logger=wandb logger.wandb.name=first logger.wandb.mode=online": WORKS,
    "evaluate logger=wandb logger.wandb.offline=true": "Its keys are: project, mode, entity, artifacts,",
}


@pytest.mark.parametrize("line", HABITS := TEMPLATE | CAPTUM | GRAD_CAM | WANDB)
def test_a_first_command_composes_or_is_refused_in_a_sentence_that_leads_on(line):
    command, *words = line.split()
    sentence = ""
    with initialize_config_dir(str(configuration_folder()), **HYDRA_DEFAULTS):
        try:
            compose(command, words, return_hydra_config=True)
        except HydraException as error:
            sentence = composition.refusal(error, command, words)
    assert HABITS[line] in sentence
    assert bool(HABITS[line]) == bool(sentence), sentence
