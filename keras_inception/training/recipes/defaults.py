"""How `train` trains where no paper's recipe is asked for; `benchmarks/finetune.py` compares other settings."""

from .recipe import Recipe

FROM_SCRATCH, FINE_TUNE = "from_scratch", "fine_tune"

RECIPES = {
    FROM_SCRATCH: Recipe(patience=50),
    FINE_TUNE: Recipe(patience=50),
}
