"""`train` and `demo`."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from ..errors import InputError
from ..terminal import progress_shown
from .app import Json, app, fail
from .config import NONE, all_sets, changes_of, merged, number_or_auto, number_or_none, read
from .exporting import report_agreement, verified
from .machines import printed
from .output import say, show_result

if TYPE_CHECKING:
    from ..preprocessing import ResizeMode
    from ..training.distribution import StrategyName


@app.command()
def train(
    context: typer.Context,
    images: Annotated[
        str,
        typer.Argument(
            metavar="IMAGES", help="One folder of images per class; a .csv list; a .zip; shards; tfds:NAME; a URL."
        ),
    ],
    out_path: Annotated[Path, typer.Option("--out", help="The run directory to make.")],
    recipe: Annotated[
        str | None,
        typer.Option(
            help="A paper's training, inception_v3 for example; other options change it.", show_default="Adam"
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="The network, as `models` lists them.", show_default="the run's, the recipe's, or inception_v3"
        ),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Passes over all training images.", show_default="25 from weights, else 10")
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            parser=number_or_auto,
            metavar="IMAGES",
            help="Per step; auto finds one that suits the device.",
            show_default="32",
        ),
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="At the start of its schedule.", show_default="0.003 from weights, else 0.001")
    ] = None,
    size: Annotated[int | None, typer.Option(help="Input height and width in pixels.", show_default="paper's")] = None,
    resize: Annotated[
        str | None,
        typer.Option(
            metavar="MODE",
            help="How an image comes to that size: crop its middle, stretch it, or letterbox it.",
            show_default="as for the weights, or crop",
        ),
    ] = None,
    fill: Annotated[
        str | None,
        typer.Option(
            metavar="COLOUR",
            help="Around letterboxed images: a grey level, 114, or red,green,blue.",
            show_default="the mean colour",
        ),
    ] = None,
    validation: Annotated[float, typer.Option(help="Fraction to choose the epoch on, where IMAGES has no val/.")] = 0.2,
    test: Annotated[float, typer.Option(help="Fraction to measure the result on, where IMAGES has no test/.")] = 0.0,
    flip: Annotated[
        bool | None, typer.Option("--flip/--no-flip", help="Mirror half of the training images; not for text.")
    ] = None,
    augment: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WORD",
            help="Random changes of images: none, light, medium, strong, shift; mixup=0.2 and the like; repeat it.",
            show_default="the recipe's",
        ),
    ] = None,
    weights: Annotated[
        str,
        typer.Option(
            help="Where it starts: a tag, a file, a run, hf://USER/NAME, or none for random.",
            show_default="imagenet, if published",
        ),
    ] = "auto",
    freeze_epochs: Annotated[
        int | None, typer.Option(help="Of the epochs: only the new classifier learns.", show_default="four fifths")
    ] = None,
    backbone_rate: Annotated[
        float | None,
        typer.Option(
            help="Of all layers, after the frozen epochs: a part of the learning rate.",
            show_default="0.03 from weights",
        ),
    ] = None,
    batch_norm: Annotated[
        bool | None, typer.Option("--batch-norm/--no-batch-norm", help="Let pretrained batch norms learn.")
    ] = None,
    features: Annotated[
        bool | None,
        typer.Option("--features/--no-features", help="Run a frozen backbone once; or augment every epoch."),
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(
            metavar="NETWORK",
            help="Learn its probabilities too: a run, a .keras file, or published weights as mobilenet_v2.imagenet.",
            show_default="none",
        ),
    ] = None,
    teacher_weight: Annotated[
        float | None, typer.Option(help="Of the teacher in the loss; the rest is the labels'.", show_default="0.5")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(help="Softens the probabilities of teacher and network.", show_default="4")
    ] = None,
    balance: Annotated[bool | None, typer.Option("--balance/--no-balance", help="Weigh rare classes up.")] = None,
    patience: Annotated[
        int | None,
        typer.Option(
            parser=number_or_none,
            metavar="EPOCHS",
            help="End after so many without a better one.",
            show_default="50",
        ),
    ] = None,
    time: Annotated[
        str | None, typer.Option(metavar="TIME", help="End before an epoch that would not fit: 90s, 30m, 1.5h.")
    ] = None,
    k_fold: Annotated[
        int | None,
        typer.Option(
            metavar="K", help="Train K networks more, each without another part of the images; see the report."
        ),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            help="float32, mixed_float16, mixed_bfloat16, or auto: of 16 bits where the device is made for it.",
            show_default="auto, or the paper's",
        ),
    ] = None,
    jit: Annotated[
        bool | None,
        typer.Option("--jit/--no-jit", help="Have XLA compile the training step.", show_default="on a GPU alone"),
    ] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="An argument of the network, as `info` lists them: alpha=0.35; or of optimizer or "
            "schedule: optimizer.momentum=0.9. Repeat for several.",
            show_default=False,
        ),
    ] = None,
    optimizer: Annotated[
        str | None, typer.Option(metavar="NAME", help="One of keras.optimizers.", show_default="Adam")
    ] = None,
    schedule: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Of the learning rate: cosine, exponential, steps or polynomial.",
            show_default="cosine",
        ),
    ] = None,
    weight_decay: Annotated[float | None, typer.Option(help="The L2 penalty of the papers.", show_default="0")] = None,
    decayed: Annotated[
        str | None,
        typer.Option(
            metavar="WHICH",
            help="Of the weights by it: kernels, all, or 'kernels but depthwise'.",
            show_default="kernels",
        ),
    ] = None,
    clip_norm: Annotated[
        float | None,
        typer.Option(parser=number_or_none, metavar="NORM", help="Of all gradients together.", show_default="none"),
    ] = None,
    label_smoothing: Annotated[
        float | None, typer.Option(help="The probability that is spread over all classes.", show_default="0")
    ] = None,
    aux_weight: Annotated[
        float | None, typer.Option(help="Of the losses of auxiliary heads.", show_default="0.3")
    ] = None,
    aux_fade: Annotated[
        float | None,
        typer.Option(
            parser=number_or_none,
            metavar="FRACTION",
            help="Of the training, over which that weight fades to 0.",
            show_default="none",
        ),
    ] = None,
    ema: Annotated[
        float | None,
        typer.Option(
            parser=number_or_none,
            metavar="MOMENTUM",
            help="Of an average of the weights, which is what is kept: 0.999.",
            show_default="none",
        ),
    ] = None,
    crop: Annotated[
        float | None,
        typer.Option(
            parser=number_or_none,
            metavar="FRACTION",
            help="Of an image's side, for random weights.",
            show_default="the network's",
        ),
    ] = None,
    config_path: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE",
            callback=read,
            is_eager=True,
            help="A TOML file with these options, as `config RUN` prints one; those given here win.",
            show_default=False,
        ),
    ] = None,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Write RUN/logs for TensorBoard.")] = False,
    track: Annotated[
        list[str] | None,
        typer.Option(metavar="TRACKER", help="Send every epoch to wandb or mlflow; repeat for both."),
    ] = None,
    strategy: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="auto: on the workers that TF_CONFIG or Slurm names, or all GPUs of this machine; mirrored: on its "
            "devices; multi_worker: on those workers; none: on one device.",
        ),
    ] = "auto",
    print_config: Annotated[
        str | None,
        typer.Option(
            metavar="WHERE",
            help="Only print how to start it on 2 machines: local, slurm, kubernetes or vertex; slurm:4 for 4.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of all random numbers.")] = 0,
    as_json: Json = False,
) -> None:
    """Train a network on labelled images. The same command resumes a training that was interrupted."""
    if print_config is not None:
        say(printed(print_config, context))
        return
    from ..training import train
    from ..training.state import is_finished

    words = [*(augment or ()), *([] if flip is None else [f"flip={str(flip).lower()}"])]
    changes = {
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "freeze_epochs": freeze_epochs,
        "augmentation": words or None,
        "backbone_rate": backbone_rate,
        "batch_norm": batch_norm,
        "cache_features": features,
        "teacher_weight": teacher_weight,
        "temperature": temperature,
        "balance": balance,
        "patience": patience,
        "precision": precision,
        "jit": jit,
        "optimizer": optimizer,
        "schedule": schedule,
        "weight_decay": weight_decay,
        "decayed": decayed,
        "clip_norm": clip_norm,
        "label_smoothing": label_smoothing,
        "aux_weight": aux_weight,
        "aux_fade": aux_fade,
        "ema": ema,
        "crop": crop,
    }
    given = {k: None if v == NONE else v for k, v in changes.items() if v is not None}
    settings = merged(given, changes_of(all_sets(context, sets)))
    try:
        with progress_shown(not as_json):
            run = train(
                images,
                out=out_path,
                recipe=recipe,
                model=model,
                weights=None if weights == NONE else weights,
                size=size,
                resize=cast("ResizeMode | None", resize),  # is checked there
                fill=None if fill is None else _colour(fill),
                validation=validation,
                test=test,
                seed=seed,
                time=time,
                k_fold=k_fold,
                tensorboard=tensorboard,
                teacher=teacher,
                track=track or (),
                strategy=cast("StrategyName", strategy),  # is checked there
                **settings,
            )
    except KeyboardInterrupt as error:
        number = error.args[0] if error.args else signal.SIGINT
        what = f"{out_path} is complete" if is_finished(out_path) else "the same command resumes it"
        fail(f"interrupted; {what}", code=128 + number)
    show_result(run, as_json)
    if not as_json:
        say(f"wrote {run.path}; see {run.path / 'report.html'}")


def _colour(text: str) -> float | list[float]:
    """The colour that "114" or "124,116,104" states."""
    try:
        levels = [float(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"--fill is a grey level, 114, or red,green,blue, 124,116,104; got {text!r}") from None
    return levels[0] if len(levels) == 1 else levels


@app.command()
def demo(
    out_path: Annotated[Path, typer.Option("--out", help="The run directory to make.")] = Path("demo"),
    as_json: Json = False,
) -> None:
    """Train on real handwritten digits, export every format, and verify every file: the whole road in minutes."""
    from keras_inception.export import FORMATS, export_run

    from ..training import train
    from .demo import SETTINGS, digits

    dataset = digits()
    with progress_shown(not as_json):
        run = train(dataset, out=out_path, **SETTINGS)
    files = export_run(run, list(FORMATS), images=dataset.train)
    report_agreement(verified(files, run, dataset.held_out), dataset.held_out, as_json)
