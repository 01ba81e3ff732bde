"""How long data sets of 1,000 to 1,000,000 files take until they are listed, checked and split, and how much memory.

    python benchmarks/scan.py           # or: make scan; a quarter of an hour, and 5 GB of disk
    python benchmarks/scan.py 1000      # some sizes

Each size is a folder of 1,000 images a class, written for it and removed after, and read by a process of its own. Above
100,000 the files are a few bytes, and instead of decoding them records are made up: the first scan is then all else
that it does. The table is printed and written into scan.md after each.
"""

import argparse
import hashlib
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import numpy as np
import PIL
from PIL import Image

SIZES = 1_000, 10_000, 100_000, 1_000_000
DECODED = 100_000  # files at most; decoding takes as long for each of any number
SIDE = 16  # pixels of an image: what is measured is the rest
PHOTOGRAPHS, PHOTOGRAPH = 3_000, (500, 375)
PAGE = Path(__file__).with_suffix(".md")


def write_images(folder: Path, count: int, size: tuple[int, int]) -> None:
    """JPEGs of this size, (width, height), in classes of a thousand, or two; all are different."""
    rng = np.random.default_rng(0)
    for i in range(count):
        a_class = folder / f"class_{i * max(2, count // 1000) // count:04d}"
        a_class.mkdir(parents=True, exist_ok=True)
        file = a_class / f"image_{i:07d}.jpg"
        if count > DECODED:
            file.write_bytes(b"%d" % i)
            continue
        noise = Image.fromarray(rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8))
        noise.resize(size, Image.Resampling.BICUBIC).save(file)


def make_up(source: str) -> tuple[bytes, bool]:
    """What `scan.examine` returns, with random hashes."""
    from keras_inception.data.scan import RECORD

    content = Path(source).read_bytes()
    return hashlib.sha512(content).digest()[:48] + content.ljust(RECORD.itemsize - 48, b"\0"), True


def read(folder: Path) -> dict[str, float]:
    """Figures of the process that calls this: seconds of all its threads on a core, and bytes."""
    from keras_inception.data import fingerprint, folders, load_folder, scan
    from keras_inception.data.near_duplicates import find_near_duplicates
    from keras_inception.files import cache_directory

    write_images(folder.parent / "warm", 100, (SIDE, SIDE))
    load_folder(folder.parent / "warm")
    if len([*folder.iterdir()]) * 1000 > DECODED:
        scan.examine = make_up
    before, found = peak(), {}
    for key in ("first", "second"):
        began, wall = time.process_time(), time.perf_counter()
        dataset = load_folder(folder)
        found[key], found[f"{key}_wall"] = time.process_time() - began, time.perf_counter() - wall
        found["count"] = len(dataset.train) + len(dataset.val)
        found.setdefault("bytes", (peak() - before) / found["count"])  # later the first dataset is there, too
    for key, work in {
        "list": lambda: folders.find(folder),
        "fingerprint": lambda: fingerprint(dataset),
        "near": lambda: find_near_duplicates(hashes(found["count"])),
    }.items():
        began = time.process_time()
        work()
        found[key] = time.process_time() - began
    found["manifest"] = (cache_directory() / "images.sqlite").stat().st_size / found["count"]
    return found


def hashes(count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 2**64, (count, 2), np.uint64)


def peak() -> int:
    """Bytes of memory that the process has had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def row(count: int, size: tuple[int, int]) -> str:
    with tempfile.TemporaryDirectory(prefix="scan") as place:
        write_images(Path(place) / "images", count, size)
        time.sleep(3)  # what has changed just now is not remembered
        command = [sys.executable, __file__, "--read", f"{place}/images"]
        environment = {**os.environ, "KERAS_INCEPTION_HOME": f"{place}/cache", "TF_CPP_MIN_LOG_LEVEL": "3"}
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    f = json.loads(done.stdout)
    assert f["count"] == count
    times = f"{f['first']:.1f} | {f['second']:.2f} | {f['first'] / f['second']:.0f}"
    walls = f"{f['first_wall']:.1f}, {f['second_wall']:.2f}"
    parts = f"{f['list']:.2f} | {f['near']:.2f} | {f['fingerprint']:.2f}"
    memory = f"{f['bytes']:.0f} | {f['manifest']:.0f}"
    what = f"{size[0]} x {size[1]}" if count <= DECODED else "not decoded"
    return f"| {count:,}, {what} | {times} | {walls} | {parts} | {memory} |"


def main(sizes: list[int]) -> None:
    rows = [
        "| files | first scan | second scan | ratio | both, wall | of these: list | near-duplicates | fingerprint "
        "| bytes a file | manifest |",
        f"|---|{'---:|' * 9}",
    ]
    for count, size in [*((n, (SIDE, SIDE)) for n in sizes), (PHOTOGRAPHS, PHOTOGRAPH)]:
        rows.append(row(count, size))
        print(rows[-1], flush=True)
        write(rows)


def write(rows: list[str]) -> None:
    head = PAGE.read_text(encoding="utf-8").split("<!-- table -->")[0]
    about = (
        f"{date.today()}: {platform.machine()}, {os.cpu_count()} cores; Python {platform.python_version()}, "
        f"NumPy {np.__version__}, Pillow {PIL.__version__}."
    )
    PAGE.write_text("\n".join([f"{head}<!-- table -->", about, "", *rows, ""]), encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", nargs="*", type=int, default=SIZES)
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)  # what the process of a size does
    arguments = parser.parse_args()
    if arguments.read:
        print(json.dumps(read(arguments.read)))
    else:
        main(arguments.sizes)
