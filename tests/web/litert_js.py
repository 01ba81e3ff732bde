"""A stand-in for LiteRT.js: a folder with the files that a page copies."""

from pathlib import Path

from keras_inception.export.web import PROGRAMS


def litert_js(place: Path) -> Path:
    """Write it as npm does, node_modules/@litertjs, and return the folder that `to_web` takes."""
    folder = place / "node_modules" / "@litertjs" / "core"
    programs = [f"wasm/{name}.{ending}" for name in PROGRAMS for ending in ("js", "wasm")]
    for name in ("dist/index.js", "../wasm-utils/dist/index.js", *programs):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder
