# Commands behind docs/results.md, of this version; the records of docs/results/ have the overrides of the runs themselves.

# Maps of CIFAR-10 where patches were deleted in training (cifar10_maps_erased), and where none were (cifar10_maps_short, after a
# fit without augmentation=erase_patches)
dovision-train --config-dir paper/conf experiment=cifar10_classifier augmentation=erase_patches dataset.root=FOLDER trainer.accelerator=cpu trainer.precision=bf16-mixed seed=0 training.classifier.epochs=3
dovision-evaluate --config-dir paper/conf experiment=cifar10_maps name=cifar10_maps_short checkpoint=FILE dataset.root=FOLDER threads=1 evaluation.batch_size=50 augmentation=erase_patches "~explainer.rise" "~explainer.lime"

# Swaps of the content of photographs (photo_swaps). Of 300 photographs in the order of their names, shuffled by random.Random(0), layers are
# chosen on the first 60 (of which 30 were measured), the next 60 are donors, and maps are scored on the others, in ranges of images
DONORS=donors.txt PYTHONPATH=. dovision-evaluate --config-dir paper/conf experiment=photo_layers dataset.root=layers threads=1 evaluation.images=30 evaluation.batch_size=5
DONORS=donors.txt PYTHONPATH=. dovision-evaluate -m --config-dir paper/conf experiment=photo_swaps dataset.root=tested threads=1 evaluation.images=0:60,60:70,70:125,125:180 evaluation.batch_size=5 "~explainer.rise" "~explainer.lime" "~explainer.effect_map_segments"

# Attackers of the detectors of digits: both detectors of three passes (mnist_adaptive_squeezing); every norm (mnist_adaptive_norms);
# transforms drawn for each image (mnist_random_transforms)
dovision-evaluate experiment=mnist_detection seed=0 threads=1 evaluation.images=16 evaluation.batch_size=50 intervention=pixel_grid detection.reference=null detection.controls=false \
  "detector=[effect_consistency,feature_squeezing]" detection.val_images=600 detection.test_images=50 detection.adaptive.images=50 detection.adaptive.steps=40 \
  "detection.adaptive.eps=[0.3]" "detection.adaptive.l2=[2.0]" \
  "~attack@detection.attacks.pgd" "~detection.attacks.pgd" \
  "~attack@detection.attacks.margin_pgd" "~detection.attacks.margin_pgd" \
  "~attack@detection.attacks.l2_pgd" "~detection.attacks.l2_pgd" \
  "~attack@detection.attacks.apgd" "~detection.attacks.apgd" \
  "~attack@detection.attacks.apgd_targeted" "~detection.attacks.apgd_targeted" \
  "~attack@detection.attacks.fab" "~detection.attacks.fab" \
  "~attack@detection.attacks.square" "~detection.attacks.square" \
  "~attack@detection.attacks.carlini_wagner" "~detection.attacks.carlini_wagner" "~detection.seen.pgd"
dovision-evaluate -m experiment=mnist_detection seed=0,1,2 threads=1 evaluation.images=16 evaluation.batch_size=50 intervention=pixel_grid detection.reference=null detection.controls=false \
  "detector=[effect_consistency]" detection.val_images=600 detection.test_images=50 detection.adaptive.images=20 detection.adaptive.steps=200 \
  detection.adaptive.restarts=1 detection.adaptive.targets=3 "detection.adaptive.eps=[0.2,0.3]" "detection.adaptive.l2=[1.5,2.0,3.0]" \
  "detection.adaptive.l1=[5,10,15]" "detection.adaptive.spatial=[0.5,1.0]" \
  "~attack@detection.attacks.pgd" "~detection.attacks.pgd" \
  "~attack@detection.attacks.margin_pgd" "~detection.attacks.margin_pgd" \
  "~attack@detection.attacks.l2_pgd" "~detection.attacks.l2_pgd" \
  "~attack@detection.attacks.apgd" "~detection.attacks.apgd" \
  "~attack@detection.attacks.apgd_targeted" "~detection.attacks.apgd_targeted" \
  "~attack@detection.attacks.fab" "~detection.attacks.fab" \
  "~attack@detection.attacks.square" "~detection.attacks.square" \
  "~attack@detection.attacks.carlini_wagner" "~detection.attacks.carlini_wagner" "~detection.seen.pgd"
dovision-evaluate experiment=mnist_detection seed=0 threads=1 evaluation.images=16 evaluation.batch_size=50 intervention=pixel_grid detection.reference=null detection.controls=false \
  "detector=[effect_consistency]" "~detector.effect_consistency.interventions.transform.transforms.bits1" "~detector.effect_consistency.interventions.transform.transforms.median2" \
  "+transform@detector.effect_consistency.interventions.transform.transforms.move0=random_affine" ++detector.effect_consistency.interventions.transform.transforms.move0.draw=0 "+transform@detector.effect_consistency.interventions.transform.transforms.move1=random_affine" ++detector.effect_consistency.interventions.transform.transforms.move1.draw=1 "+transform@detector.effect_consistency.interventions.transform.transforms.move2=random_affine" ++detector.effect_consistency.interventions.transform.transforms.move2.draw=2 "+transform@detector.effect_consistency.interventions.transform.transforms.move3=random_affine" ++detector.effect_consistency.interventions.transform.transforms.move3.draw=3 "+transform@detector.effect_consistency.interventions.transform.transforms.move4=random_affine" ++detector.effect_consistency.interventions.transform.transforms.move4.draw=4 "+transform@detector.effect_consistency.interventions.transform.transforms.move5=random_affine" ++detector.effect_consistency.interventions.transform.transforms.move5.draw=5 \
  "+transform@detector.effect_consistency.interventions.transform.transforms.noise0=noise" ++detector.effect_consistency.interventions.transform.transforms.noise0.draw=0 "+transform@detector.effect_consistency.interventions.transform.transforms.noise1=noise" ++detector.effect_consistency.interventions.transform.transforms.noise1.draw=1 \
  detection.val_images=600 detection.test_images=50 detection.adaptive.images=20 detection.adaptive.steps=100 \
  detection.adaptive.restarts=1 detection.adaptive.targets=2 detection.adaptive.draws=4 "detection.adaptive.eps=[0.3]" "detection.adaptive.l2=[2.0]" \
  "~attack@detection.attacks.pgd" "~detection.attacks.pgd" \
  "~attack@detection.attacks.margin_pgd" "~detection.attacks.margin_pgd" \
  "~attack@detection.attacks.l2_pgd" "~detection.attacks.l2_pgd" \
  "~attack@detection.attacks.apgd" "~detection.attacks.apgd" \
  "~attack@detection.attacks.apgd_targeted" "~detection.attacks.apgd_targeted" \
  "~attack@detection.attacks.fab" "~detection.attacks.fab" \
  "~attack@detection.attacks.square" "~detection.attacks.square" \
  "~attack@detection.attacks.carlini_wagner" "~detection.attacks.carlini_wagner" "~detection.seen.pgd"

# Detectors of digits by family (mnist_detection: the first two), and an attacker of each in Linf (mnist_adaptive)
dovision-evaluate experiment=mnist_detection seed=0 threads=1
dovision-evaluate -m experiment=mnist_detection seed=1,2 threads=1 evaluation.images=16 "detection.adaptive.detectors=[]" \
  "detector=[effect_consistency,effect_consistency_full,feature_squeezing,max_softmax]" detector.feature_squeezing_supervised.score=regression
dovision-evaluate experiment=mnist_detection seed=0 threads=1 evaluation.images=16 \
  detection.val_images=600 detection.test_images=200 "detection.adaptive.eps=[0.1,0.2,0.3,0.4]" detection.adaptive.steps=40 detection.controls=false \
  "~attack@detection.attacks.pgd" "~detection.attacks.pgd" \
  "~attack@detection.attacks.margin_pgd" "~detection.attacks.margin_pgd" \
  "~attack@detection.attacks.l2_pgd" "~detection.attacks.l2_pgd" \
  "~attack@detection.attacks.apgd" "~detection.attacks.apgd" \
  "~attack@detection.attacks.apgd_targeted" "~detection.attacks.apgd_targeted" \
  "~attack@detection.attacks.fab" "~detection.attacks.fab" \
  "~attack@detection.attacks.square" "~detection.attacks.square" \
  "~attack@detection.attacks.carlini_wagner" "~detection.attacks.carlini_wagner" "~detection.seen.pgd"

# Many clean images behind each threshold (mnist_thousand)
dovision-evaluate -m --config-dir paper/conf experiment=detection_benchmark name=mnist_thousand seed=0,1,2 threads=1 intervention=pixel_grid evaluation.images=8 evaluation.batch_size=500 \
  "detection.attacked_share={val:0.075,test:0.25}" detection.val_images=3000 detection.test_images=1000 \
  "~detector.log_odds_effect" "~detector.effect_profile_latent" "~detector.effect_consistency_grid" "~detector.max_softmax_inverted" "~detector.max_softmax_two_sided" "~detector.log_odds_effect_bits" \
  "~attack@detection.attacks.apgd" "~detection.attacks.apgd" "~attack@detection.attacks.autoattack" "~detection.attacks.autoattack" "~attack@detection.attacks.ead_10" "~detection.attacks.ead_10" "~attack@detection.attacks.carlini_wagner" "~detection.attacks.carlini_wagner" \
  "detection.families.iterated=[pgd,apgd_targeted,l2_pgd]" "~detection.families.nearest" "detection.families.sure=[carlini_wagner_10]" \
  "detection.attacks.random_sign.eps=[0.2]" "detection.attacks.random_sign_l1.eps=[20.0]" "detection.attacks.fgsm.eps=[0.2]" detection.attacks.pgd.steps=10 detection.attacks.square.queries=200 \
  detection.attacks.carlini_wagner_10.settings.steps=25 detection.attacks.carlini_wagner_10.settings.binary_search_steps=2 detection.attacks.ead.settings.steps=20 detection.attacks.ead.settings.binary_search_steps=2 \
  "detection.adaptive.detectors=[effect_consistency,feature_squeezing_supervised]" detection.adaptive.images=100 detection.adaptive.steps=40 detection.adaptive.restarts=1 detection.adaptive.targets=1 "detection.adaptive.eps=[0.2]" "detection.adaptive.l2=[2.0]"

# The same with four families of attacks that are unlike the others (mnist_families)
PYTHONPATH=. dovision-evaluate -m --config-dir paper/conf experiment=detection_benchmark name=mnist_families seed=0,1,2 threads=1 intervention=pixel_grid evaluation.images=8 evaluation.batch_size=500 \
  "detection.attacked_share={val:0.075,test:0.25}" detection.val_images=3000 detection.test_images=1000 "detection.adaptive.detectors=[]" \
  "~detector.log_odds_effect" "~detector.effect_profile_latent" "~detector.effect_consistency_grid" "~detector.max_softmax_inverted" "~detector.max_softmax_two_sided" "~detector.log_odds_effect_bits" "~detector.ml_loo" \
  "~attack@detection.attacks.apgd" "~detection.attacks.apgd" "~attack@detection.attacks.autoattack" "~detection.attacks.autoattack" "~attack@detection.attacks.ead_10" "~detection.attacks.ead_10" "~attack@detection.attacks.carlini_wagner" "~detection.attacks.carlini_wagner" \
  "detection.families.iterated=[pgd,apgd_targeted,l2_pgd]" "~detection.families.nearest" "detection.families.sure=[carlini_wagner_10]" \
  "detection.attacks.random_sign.eps=[0.2]" "detection.attacks.random_sign_l1.eps=[20.0]" "detection.attacks.fgsm.eps=[0.2]" detection.attacks.pgd.steps=10 detection.attacks.square.queries=200 \
  detection.attacks.carlini_wagner_10.settings.steps=25 detection.attacks.carlini_wagner_10.settings.binary_search_steps=2 detection.attacks.ead.settings.steps=20 detection.attacks.ead.settings.binary_search_steps=2 \
  "+detection.attacks.patch={_target_: paper.indirect_attacks.Patch, eps: [1.0], steps: 20, side: 7, seed: \${seed}}" \
  "+detection.attacks.sparse={_target_: paper.indirect_attacks.Sparse, eps: [1.0], steps: 20, count: 16, seed: \${seed}}" \
  "+detection.attacks.lighting={_target_: paper.indirect_attacks.Lighting, eps: [0.7], steps: 20, cells: 4, seed: \${seed}}" \
  "+detection.attacks.low_frequency={_target_: paper.indirect_attacks.LowFrequency, eps: [0.4], steps: 20, cells: 5, seed: \${seed}}"

# The eleven families on CIFAR-10, many clean images behind each threshold (cifar10_thousand), after the fit of three classifiers
dovision-train -m --config-dir paper/conf experiment=cifar10_classifier dataset.root=FOLDER trainer.accelerator=cpu trainer.precision=bf16-mixed seed=0,1,2 training.classifier.epochs=4 training.classifier.warmup_steps=150
PYTHONPATH=. dovision-evaluate -m --config-dir paper/conf experiment=cifar10_detection name=cifar10_thousand seed=0,1,2 dataset.root=FOLDER 'checkpoint=FOLDER/seed${seed}.ckpt' threads=1 evaluation.images=8 evaluation.batch_size=250 \
  "detection.attacked_share={val:0.075,test:0.25}" detection.val_images=3000 detection.test_images=1000 "detection.adaptive.detectors=[]" \
  "~detector.log_odds_effect" "~detector.effect_consistency_full" "~detector.effect_consistency_grid" "~detector.max_softmax_inverted" "~detector.max_softmax_two_sided" "~detector.log_odds_effect_bits" \
  "~attack@detection.attacks.apgd" "~detection.attacks.apgd" "~attack@detection.attacks.autoattack" "~detection.attacks.autoattack" "~attack@detection.attacks.ead_10" "~detection.attacks.ead_10" "~attack@detection.attacks.carlini_wagner" "~detection.attacks.carlini_wagner" \
  "detection.families.iterated=[pgd,apgd_targeted,l2_pgd]" "~detection.families.nearest" "detection.families.sure=[carlini_wagner_10]" \
  "detection.attacks.random_sign.eps=[8/255]" "detection.attacks.random_sign_l1.eps=[12.0]" "detection.attacks.fgsm.eps=[8/255]" "detection.attacks.pgd.eps=[8/255]" detection.attacks.pgd.steps=10 detection.attacks.square.queries=200 \
  detection.attacks.apgd_targeted.steps=10 detection.attacks.fab.steps=10 detection.attacks.l2_pgd.steps=10 \
  detection.attacks.carlini_wagner_10.settings.steps=25 detection.attacks.carlini_wagner_10.settings.binary_search_steps=2 detection.attacks.ead.settings.steps=20 detection.attacks.ead.settings.binary_search_steps=2 \
  "+detection.attacks.patch={_target_: paper.indirect_attacks.Patch, eps: [1.0], steps: 20, side: 8, seed: \${seed}}" \
  "+detection.attacks.sparse={_target_: paper.indirect_attacks.Sparse, eps: [1.0], steps: 20, count: 10, seed: \${seed}}" \
  "+detection.attacks.lighting={_target_: paper.indirect_attacks.Lighting, eps: [0.7], steps: 20, cells: 4, seed: \${seed}}" \
  "+detection.attacks.low_frequency={_target_: paper.indirect_attacks.LowFrequency, eps: [0.1], steps: 20, cells: 5, seed: \${seed}}"

# Detectors in every norm: digits (mnist_norms), CIFAR-10 (cifar10_norms; with the twin's checkpoint cifar10_twin)
dovision-evaluate -m --config-dir paper/conf experiment=detection_benchmark seed=0,1,2 threads=1 training.autoencoder.epochs=1 evaluation.images=8 detection.controls=false \
  detection.val_images=400 detection.test_images=250
dovision-evaluate -m --config-dir paper/conf experiment=cifar10_detection seed=0,1,2 'checkpoint=FOLDER/seed${seed}.ckpt' threads=1 evaluation.images=8 evaluation.batch_size=50 detection.controls=false \
  detection.val_images=200 detection.test_images=300 \
  detection.attacks.carlini_wagner.settings.steps=25 detection.attacks.carlini_wagner.settings.binary_search_steps=2 \
  detection.attacks.carlini_wagner_10.settings.steps=25 detection.attacks.carlini_wagner_10.settings.binary_search_steps=2 \
  detection.attacks.ead.settings.steps=25 detection.attacks.ead.settings.binary_search_steps=2 detection.attacks.ead_10.settings.steps=25 detection.attacks.ead_10.settings.binary_search_steps=2 \
  "~detector.effect_consistency_full" "~detector.effect_consistency_grid" "~detector.ml_loo"

# An attacker of the detectors of CIFAR-10 (cifar10_adaptive)
dovision-evaluate --config-dir paper/conf experiment=cifar10_detection name=cifar10_adaptive seed=0 checkpoint=FILE threads=1 evaluation.images=8 evaluation.batch_size=7 detection.controls=false detection.reference=null \
  detection.val_images=119 detection.test_images=42 "detector=[]" detector.effect_consistency_natural.trees=80 detector.feature_squeezing_supervised.score=regression "~detection.families.nearest" "~detection.families.sure" "~detection.families.iterated" \
  "detection.adaptive.detectors=[effect_consistency_natural,feature_squeezing_supervised]" detection.adaptive.images=14 detection.adaptive.steps=40 detection.adaptive.restarts=1 detection.adaptive.targets=1 \
  "detection.adaptive.eps=[8/255]" "detection.adaptive.l2=[0.5]" \
  "~attack@detection.attacks.apgd" "~detection.attacks.apgd" "~attack@detection.attacks.apgd_targeted" "~detection.attacks.apgd_targeted" "~attack@detection.attacks.square" "~detection.attacks.square" "~attack@detection.attacks.fab" "~detection.attacks.fab" "~attack@detection.attacks.autoattack" "~detection.attacks.autoattack" "~attack@detection.attacks.carlini_wagner" "~detection.attacks.carlini_wagner" "~attack@detection.attacks.carlini_wagner_10" "~detection.attacks.carlini_wagner_10" "~attack@detection.attacks.ead" "~detection.attacks.ead" "~attack@detection.attacks.ead_10" "~detection.attacks.ead_10" "~attack@detection.attacks.spatial" "~detection.attacks.spatial" "~attack@detection.attacks.random_sign_l1" "~detection.attacks.random_sign_l1" "~attack@detection.attacks.random_spatial" "~detection.attacks.random_spatial"

# Detectors in every norm: drawn films (phantom_norms), rendered birds (funnybirds_norms)
dovision-evaluate --config-dir paper/conf experiment=cifar10_detection name=phantom_norms dataset=phantom dataset.label=disease dataset.shortcut=0.5 dataset.test_shortcut=0.0 dataset.test_images=400 augmentation=none training=default \
  training.classifier.epochs=12 model.width=16 model.blocks=1 model.stem_stride=2 "model.mean=[0.5]" "model.std=[0.25]" "detector.feature_squeezing.squeezers.bits.bits=4" evaluation.batch_size=60 \
  detection.val_images=120 detection.test_images=120 \
  seed=0 threads=1 evaluation.images=8 detection.controls=false \
  "detection.attacks.random_sign_l2.eps=[1.0,3.0]" "detection.attacks.l2_pgd.eps=[1.0]" "detection.attacks.carlini_wagner.eps=[1.0]" "detection.attacks.carlini_wagner_10.eps=[3.0]" \
  "detection.attacks.random_sign_l1.eps=[24.0,48.0]" "detection.attacks.ead.eps=[24.0]" "detection.attacks.ead_10.eps=[48.0]" \
  detection.attacks.carlini_wagner.settings.steps=25 detection.attacks.carlini_wagner.settings.binary_search_steps=2 \
  detection.attacks.carlini_wagner_10.settings.steps=25 detection.attacks.carlini_wagner_10.settings.binary_search_steps=2 \
  detection.attacks.ead.settings.steps=25 detection.attacks.ead.settings.binary_search_steps=2 detection.attacks.ead_10.settings.steps=25 detection.attacks.ead_10.settings.binary_search_steps=2 \
  "~detector.effect_consistency_full" "~detector.effect_consistency_grid" "~detector.ml_loo"
PYTHONPATH=. dovision-evaluate --config-dir paper/conf experiment=cifar10_detection name=funnybirds_norms dataset=funnybirds dataset.root=FOLDER 'dataset.classes=["0","1","2","3","4","5","6","7","8","9"]' "dataset.shape=[3,64,64]" dataset.val_fraction=0.2 \
  augmentation=flip_crop training=default training.classifier.optimizer.lr=0.003 training.classifier.epochs=24 training.classifier.batch_size=32 model.width=32 model.blocks=1 model.stem_stride=2 \
  "model.mean=[0.5]" "model.std=[0.25]" evaluation.batch_size=40 detection.val_images=120 detection.test_images=80 \
  seed=0 threads=1 evaluation.images=8 detection.controls=false \
  "detection.attacks.random_sign_l2.eps=[1.0,3.0]" "detection.attacks.l2_pgd.eps=[1.0]" "detection.attacks.carlini_wagner.eps=[1.0]" "detection.attacks.carlini_wagner_10.eps=[3.0]" \
  "detection.attacks.random_sign_l1.eps=[24.0,48.0]" "detection.attacks.ead.eps=[24.0]" "detection.attacks.ead_10.eps=[48.0]" \
  detection.attacks.carlini_wagner.settings.steps=25 detection.attacks.carlini_wagner.settings.binary_search_steps=2 \
  detection.attacks.carlini_wagner_10.settings.steps=25 detection.attacks.carlini_wagner_10.settings.binary_search_steps=2 \
  detection.attacks.ead.settings.steps=25 detection.attacks.ead.settings.binary_search_steps=2 detection.attacks.ead_10.settings.steps=25 detection.attacks.ead_10.settings.binary_search_steps=2 \
  "~detector.effect_consistency_full" "~detector.effect_consistency_grid" "~detector.ml_loo"

# Detectors on an adversarially trained network (mnist_adversarial), birds (funnybirds_detection, funnybirds_lab), films (phantom_detection)
dovision-evaluate -m experiment=mnist_detection training=adversarial training.classifier.attack.eps=0.3 seed=0,1,2 threads=1 evaluation.images=16 \
  "detector=[effect_consistency,effect_consistency_full,feature_squeezing,max_softmax]" detector.feature_squeezing_supervised.score=regression detector.mahalanobis.method=Mahalanobis \
  detection.val_images=1000 detection.test_images=2000 "detection.adaptive.detectors=[]" \
  "detection.seen.fgsm=[0.3,0.4]" "detection.seen.pgd=[0.3,0.4]" "detection.attacks.random_sign.eps=[0.3,0.4]" \
  "detection.attacks.fgsm.eps=[0.3,0.4]" "detection.attacks.pgd.eps=[0.3,0.4]" "detection.attacks.margin_pgd.eps=[0.4]" \
  "detection.attacks.apgd.eps=[0.4]" "detection.attacks.apgd_targeted.eps=[0.4]" "detection.attacks.fab.eps=[0.4]" \
  "detection.attacks.square.eps=[0.4]" "detection.attacks.l2_pgd.eps=[3.0]" \
  "detection.attacks.carlini_wagner.eps=[3.0]"
PYTHONPATH=. dovision-evaluate -m --config-dir paper/conf experiment=funnybirds_detection seed=0,1,2 threads=1 dataset.root=FOLDER 'dataset.classes=["0","1","2","3","4","5","6","7","8","9"]'
PYTHONPATH=. dovision-evaluate --config-dir paper/conf experiment=funnybirds_detection seed=0 threads=1 dataset.root=FOLDER 'dataset.classes=["0","1","2","3","4","5","6","7","8","9"]' \
  dataset.val_fraction=0.34 model.width=16 detection.val_images=300 evaluation.images=8 "detection.adaptive.detectors=[]" \
  "~detector.effect_consistency" "~detector.effect_consistency_full" "~detector.mahalanobis"
dovision-evaluate -m experiment=phantom_detection seed=0,1,2 threads=1 evaluation.images=16 \
  "~detector.effect_consistency" "~detector.effect_consistency_full" "~detector.effect_consistency_grid" "~detector.effect_profile" "~detector.entropy" "~detector.feature_squeezing_supervised" \
  "+detector@detector.effect_consistency_photographs=effect_consistency" ++detector.effect_consistency_photographs.interventions.transform.transforms.bits1.bits=5 \
  "+transform@detector.effect_consistency_photographs.interventions.transform.transforms.non_local_means=non_local_means" "detection.adaptive.detectors=[]" \
  "detection.attacks.random_sign.eps=[8/255]" "detection.attacks.fgsm.eps=[8/255]" "detection.attacks.pgd.eps=[8/255]"

# Classifiers of CIFAR-10, and their accuracy (cifar10_natural, cifar10_adversarial, and under PGD)
dovision-train -m --config-dir paper/conf experiment=cifar10_classifier dataset.root=FOLDER trainer.accelerator=cpu trainer.precision=bf16-mixed seed=0,1,2
dovision-train --config-dir paper/conf experiment=cifar10_classifier dataset.root=FOLDER trainer.accelerator=cpu trainer.precision=bf16-mixed seed=0 training=cifar10_adversarial \
  training.classifier.attack.steps=2 training.classifier.attack.step_size=5/255 training.classifier.epochs=6
dovision-evaluate --config-dir paper/conf experiment=cifar10_classifier dataset.root=FOLDER checkpoint=FILE threads=1 attack=none evaluation.images=null evaluation.batch_size=256 \
  intervention.rows=1 intervention.columns=1
dovision-evaluate --config-dir paper/conf experiment=cifar10_classifier dataset.root=FOLDER checkpoint=FILE threads=1 evaluation.images=1000 \
  intervention.rows=1 intervention.columns=1

# Real films: Kermany's (kermany_films), ChestX-ray14 (nih_films)
dovision-evaluate -m experiment=few_films seed=0,1,2 threads=1 dataset.root=FOLDER 'dataset.group=".*/(person[0-9]+|(NORMAL2-)?IM-[0-9]+)"' \
  'dataset.classes=[normal,pneumonia]'
dovision-evaluate -m experiment=few_films seed=0,1,2 threads=1 dataset=chest_xray14 dataset.root=FOLDER dataset.split=patients \
  dataset.val_fraction=0.15 dataset.test_fraction=0.6 dataset.seed=2 'dataset.shape=[1,64,64]'

# Films of COVID-19 whose lungs are boxed (covid_films), after `python -m paper.covid_films FOLDER`
dovision-evaluate -m experiment=lung_masks seed=0,1,2 threads=1 dataset.root=FOLDER dataset.manifest=films.csv dataset.folder=null 'dataset.columns={path: path, label: label, patient: patient}' dataset.where=null dataset.boxes=boxes.csv \
  dataset.task=multilabel 'dataset.classes=[covid]' 'dataset.ignored_labels=[other]' 'dataset.shape=[3,160,160]' dataset.resize=stretch dataset.val_fraction=0.2 dataset.test_fraction=0.35 \
  model=efficientnet_lite0 model.new_head=true training=fine_tune training.classifier.loss.label_smoothing=0 callbacks.early_stopping.monitor=val_auroc callbacks.early_stopping.mode=max augmentation=affine_jitter evaluation.images=null \
  "explainer=[effect_map,grad_cam,random_map,center_map]" explanation.steps=1 explanation.noise=0.0 explainer.effect_map.intervention.rows=8 explainer.effect_map.intervention.columns=8 explanation.num_sanity_images=0
