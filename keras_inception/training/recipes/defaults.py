"""How `train` trains where no paper's recipe is asked for; `benchmarks/finetune.py` compares other settings."""

from .recipe import AUTO, Recipe

FROM_SCRATCH, FINE_TUNE = "from_scratch", "fine_tune"

RECIPES = {
    FROM_SCRATCH: Recipe(patience=50, precision=AUTO),
    # 20 epochs of the classifier on cached features, then 5 of all layers at 1e-4. Half of 10 epochs at a third of the
    # rate left the classifier untrained on a few hundred images: see benchmarks/finetune.md.
    FINE_TUNE: Recipe(epochs=25, learning_rate=3e-3, backbone_rate=0.03, patience=50, precision=AUTO),
}
