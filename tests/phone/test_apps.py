"""The apps of a phone kit, as far as they can be checked without Android's and Apple's own tools; `make test-phone`.

The Android app is compiled by Kotlin's compiler against stubs of the libraries that it uses, and the stubs of Android
and androidx.activity are compared with the published API; its resources are compiled by aapt2. Swift is parsed.
"""

import json
import os
import random
import re
import shutil
import subprocess
from itertools import product
from pathlib import Path

import pytest

from keras_inception import Preprocessing
from keras_inception.export import phone

from .published import differences

KOTLIN, PYTHON = os.environ.get("PHONE_KOTLIN"), os.environ.get("PHONE_PYTHON")
HERE, KIT = Path(__file__).parent, Path(phone.__file__).with_name("kit")
APP = KIT / "android/app/src/main/java"

needs_environment = pytest.mark.skipif(
    not (KOTLIN and PYTHON and shutil.which("javac")),
    reason="PHONE_KOTLIN and PHONE_PYTHON are not set, or there is no JDK: run `make test-phone`",
)


def run(*command: str | Path, text: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*map(str, command)], input=text, capture_output=True, text=True, timeout=600, check=False)


def kotlin(folder: Path, stubs: Path, *sources: Path) -> subprocess.CompletedProcess[str]:
    """Compile sources with the stubs; warnings are errors."""
    return run(Path(str(KOTLIN), "bin", "kotlinc"), "-Werror", "-d", folder, stubs, *HERE.glob("stubs/*.kt"), *sources)


@pytest.fixture(scope="module")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stubs in Java, a file for each class."""
    folder = tmp_path_factory.mktemp("stubs")
    for library in HERE.glob("stubs/*.java"):
        for source in re.split(r"^(?=package )", library.read_text(), flags=re.MULTILINE)[1:]:
            package, name = (
                re.match(r"package ([\w.]+);", source)[1],
                re.search(r"(?:class|interface|enum) (\w+)", source)[1],
            )
            file = folder.joinpath(*package.split("."), f"{name}.java")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(source)
    return folder


@pytest.fixture(scope="module")
def classes(stubs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled app, and a program that says what its geometry does."""
    folder = tmp_path_factory.mktemp("classes")
    done = kotlin(folder, stubs, APP, HERE / "Cases.kt")
    assert done.returncode == 0, done.stderr
    return folder


@needs_environment
def test_the_android_app_compiles(classes: Path) -> None:
    names = {file.name for file in (classes / "org/example/classifier").glob("*.class")}
    assert {"MainActivity.class", "Classifier.class", "Geometry.class"} <= names


@needs_environment
@pytest.mark.parametrize(
    ("file", "right", "wrong"),
    [
        ("Classifier.kt", "setMaxResults(5)", 'setMaxResults("5")'),
        ("MainActivity.kt", "frame.imageInfo.rotationDegrees", "frame.rotationDegrees"),
    ],
)
def test_what_is_not_in_the_libraries_does_not_compile(
    stubs: Path, tmp_path: Path, file: str, right: str, wrong: str
) -> None:
    copy = shutil.copytree(APP, tmp_path / "app")
    [source] = copy.rglob(file)
    text = source.read_text()
    assert right in text
    source.write_text(text.replace(right, wrong))
    assert f"{file}:" in kotlin(tmp_path / "classes", stubs, copy).stderr


@needs_environment
def test_the_stubs_are_the_published_api(stubs: Path, classes: Path, tmp_path: Path) -> None:
    """Of Android and androidx.activity; CameraX and MediaPipe are in no such package."""
    sources = [file for top in ("android", "org", "com/google/common") for file in (stubs / top).rglob("*.java")]
    assert run("javac", "-d", tmp_path, *sources).stderr == ""
    [published] = run(PYTHON, "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])").stdout.split()
    assert list(differences(tmp_path, Path(published))) == []
    assert list(differences(classes / "androidx/activity", Path(published))) == []
    wrong = tmp_path / "Uri.java"
    wrong.write_text("package android.net; public abstract class Uri { public int size(String of) { return 0; } }")
    assert run("javac", "-d", tmp_path, wrong).stderr == ""
    [found] = differences(tmp_path, Path(published))
    assert found == "android.net.Uri has no public int size(java.lang.String);"


@needs_environment
def test_the_android_app_places_an_image_as_training_does(classes: Path) -> None:
    rng, cases, expected = random.Random(0), [], []
    modes = (("crop", 0.875), ("crop", 1.0), ("crop", 1 / 3), ("stretch", 1.0), ("letterbox", 1.0))
    sizes = [(rng.randint(1, 5000), rng.randint(1, 5000)) for _ in range(20)] + [(1, 1), (1, 900), (900, 1)]
    for (mode, crop), (height, width), size in product(modes, sizes, ((224, 224), (32, 24), (96, 160))):
        prepared = Preprocessing(size=size, resize_mode=mode, crop=crop)
        share = prepared.crop_share
        rows, columns = size
        cases.append(f"{width} {height} {columns} {rows} {mode} {share.numerator} {share.denominator}")
        window, place = prepared.geometry(height, width)
        expected.append(" ".join(map(str, (*window, *place))))
    library = Path(str(KOTLIN), "lib", "kotlin-stdlib.jar")
    done = run("java", "-cp", f"{classes}:{library}", "org.example.classifier.CasesKt", text="\n".join(cases))
    assert done.stdout.splitlines() == expected


@pytest.mark.skipif(
    not (shutil.which("aapt2") and Path("/usr/share/android-framework-res/framework-res.apk").is_file()),
    reason="Android's resource compiler is not installed: apt install aapt android-framework-res",
)
def test_androids_resource_compiler_takes_manifest_and_name(kit: Path, tmp_path: Path) -> None:
    """Debian's is of Android 10, which names the package in the manifest and has no <uses-native-library>."""
    main = kit / "android/app/src/main"
    manifest = (
        (main / "AndroidManifest.xml").read_text().replace("<manifest", '<manifest package="org.example.classifier"')
    )
    (tmp_path / "AndroidManifest.xml").write_text(re.sub("<uses-native-library.*?/>", "", manifest))
    done = run("aapt2", "compile", "--dir", main / "res", "-o", tmp_path / "resources.zip")
    assert done.returncode == 0, done.stderr
    framework = "/usr/share/android-framework-res/framework-res.apk"
    link = (
        "aapt2",
        "link",
        "-o",
        tmp_path / "app.apk",
        "--manifest",
        tmp_path / "AndroidManifest.xml",
        "-I",
        framework,
    )
    done = run(*link, "--min-sdk-version", "28", tmp_path / "resources.zip")
    assert done.returncode == 0, done.stderr
    title = json.loads((kit / "models/model.json").read_text(encoding="utf-8"))["title"]
    assert run("aapt2", "dump", "strings", tmp_path / "app.apk").stdout.splitlines()[-1] == f"String #0 : {title}"


@needs_environment
def test_swift_and_gradle_files_are_well_formed(tmp_path: Path) -> None:
    """The syntax alone: types need Apple's SDK, and Android's plugin for Gradle."""
    files = [*KIT.rglob("*.swift"), *KIT.rglob("*.kts")]
    assert len(files) == 4
    done = run(PYTHON, HERE / "parse.py", *files)
    assert (done.stdout, done.stderr) == ("", "")
    broken = tmp_path / "broken.swift"
    broken.write_text(files[0].read_text().replace("func classify(", "func classify(("))
    assert "broken.swift:" in run(PYTHON, HERE / "parse.py", broken).stdout


@pytest.mark.skipif(not shutil.which("swiftc"), reason="swiftc is not installed")
def test_swift_is_parsed_by_its_compiler() -> None:
    """Its types would need Apple's SDK and MediaPipe's pod."""
    assert run("swiftc", "-parse", *KIT.rglob("*.swift")).returncode == 0
