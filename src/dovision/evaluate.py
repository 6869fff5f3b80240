"""dovision-evaluate: measure the effects of an intervention on a classifier, on clean and on attacked images."""

from __future__ import annotations

from omegaconf import DictConfig

from dovision import checks, session, stages
from dovision.commands import command
from dovision.contracts import CODE, Attack, Images, Intervention
from dovision.learning.effect_evaluation import EffectEvaluation
from dovision.learning.image_classifier import ImageClassifier
from dovision.results.summary import write_summary
from dovision.session import make

CONTROLS = ("inserted", "plain")


def evaluate(config: DictConfig) -> None:
    """Fit what is not fitted yet, measure the effects on the test images, write the tables and their summary."""
    run = session.open_run(config)
    if run is None:
        return
    with session.running(run, config):
        images: Images = make(config.dataset)
        intervention: Intervention = make(config.intervention)
        attack: Attack = make(config.attack)
        plain = stages.classifier(config, images)
        measured = stages.with_autoencoder(config, images, plain) if intervention.site == CODE else plain

        evaluation = EffectEvaluation(
            run.path,
            plain.classifier,
            measured.classifier,
            intervention,
            attack,
            names=images.table("test")["name"].tolist(),
            chunk=config.evaluation.chunk,
            plain_control=checks.choice("evaluation.control", config.evaluation.control, CONTROLS) == "plain",
            maps=config.evaluation.maps,
        )
        trainer = session.make_trainer(
            config, [evaluation], logger=False, enable_checkpointing=False, use_distributed_sampler=False
        )
        loader = session.test_loader(config, images, trainer)
        trainer.test(ImageClassifier(plain.classifier), loader, verbose=False)

        if trainer.is_global_zero:
            run.record({"forward_passes": evaluation.forward_passes, **stages.facts(images, plain, measured)})
            write_summary(run.path, config.seed)


main = command("evaluate", evaluate)

if __name__ == "__main__":
    main()
