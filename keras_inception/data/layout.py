"""Which files belong to which class and which side of the split, in any folder that common tools and sites make.

One folder per class; such folders in `train/`, `val/` and `test/`; these three in the folder of each class; each of
these in a folder of its own, as archives hold them. What could be read in two ways is an error with a suggestion.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError
from .decoding import Encoded
from .split import Rejected
from .tree import Folder, read

# What people call the sides. Without the words in FILLERS, signs and digits a name is one of these, or no side.
SPLITS = {
    "train": ("train", "training", "trn"),
    "val": ("val", "valid", "validate", "validation", "dev", "devel", "development", "eval", "evaluation", "heldout",
            "holdout"),
    "test": ("test", "testing", "tst"),
}  # fmt: skip
FILLERS = {"set", "data", "dataset", "split", "images", "imgs", "img", "image", "folder"}
LOOSE = "not in the folder of a class"


@dataclass(frozen=True)
class Files:
    """The files of one side, paths or records in shards, by class in the order of the labels.

    `name` is what messages call the side.
    """

    name: str
    groups: Mapping[str, tuple[str | Encoded, ...]]
    left_out: tuple[Rejected, ...] = ()

    def __len__(self) -> int:
        return sum(map(len, self.groups.values()))


@dataclass(frozen=True)
class Layout:
    """What a data set holds. Without `val` a share of `train` is held out; `unused` says what is not read."""

    train: Files | None = None
    val: Files | None = None
    test: Files | None = None
    unused: tuple[str, ...] = ()

    @property
    def held_out(self) -> Files | None:
        """What results are measured on: the test images; where there are none the validation images."""
        return self.test or self.val


def side_of(name: str) -> str | None:
    """The side of the split that a name stands for: "train", "val" or "test"."""
    words = [word for word in re.split(r"[\W\d_]+", name.casefold()) if word not in FILLERS]
    word = "".join(words)
    names = (word, word.removesuffix("set"))
    return next((side for side, known in SPLITS.items() if any(n in known for n in names)), None)


@dataclass(frozen=True)
class Classes:
    """What is known of the classes before they are read.

    Folders named as one of `known`, the classes of a network, are classes whatever they look like. `named` gives the
    name of the class whose folder has a name.
    """

    known: Collection[str] = ()
    named: Callable[[str], str] = str

    def are_in(self, tree: Folder) -> bool:
        """Whether the folders are known classes: all of them, or one that is not named as a side."""
        names = {self.named(folder.name) for folder in tree.folders}
        found = names & set(self.known)
        return bool(found) and (found == names or not all(map(side_of, found)))


def of_folder(path: Path, classes: Classes | None = None) -> Layout:
    """Read a folder's layout.

    Raises:
        InputError: the folder holds no images in folders, or can be read in two ways; or a class cannot have its name.
    """
    classes = classes or Classes()
    tree = _unwrapped(read(path), classes)
    known = classes.are_in(tree)
    if not known and (sides := _sides(tree)):
        return _divided(tree, sides, classes)
    if divided := _sides_in_classes(tree, classes):
        return Layout(divided.get("train"), divided.get("val"), divided.get("test"))
    return Layout(_files(tree, classes, check=not known))


def check_names(names: Iterable[str], where: str) -> None:
    """Check that class names can be told apart, and stand in a file of lines, on any system.

    Raises:
        InputError: a name is not UTF-8 or has control characters, or two differ only in case, form or blanks.
    """
    seen: dict[str, str] = {}
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise InputError(f"{where}: the class name {name!r} is not UTF-8: rename it") from None
        if any(unicodedata.category(c) in ("Cc", "Zl", "Zp") for c in name) or not name.strip():
            raise InputError(f"{where}: the class name {name!r} is blank, or has a line break or tab in it: rename it")
        other = seen.setdefault(unicodedata.normalize("NFC", name).casefold().strip(), name)
        if other != name:
            raise InputError(
                f"{where}: the classes {other!r} and {name!r} differ only in case, blanks or the form of their "
                "letters: merge them, or rename one"
            )


# ------------------------------------------------------------------------------------------------------------- folders


def _unwrapped(tree: Folder, classes: Classes) -> Folder:
    """The first folder that is not merely around another one, as that of an archive is."""
    while not tree.images and len(tree.folders) == 1 and not classes.are_in(tree):
        inner = tree.folders[0]
        if inner.images or not inner.filled or (side_of(inner.name) and inner.name != tree.name):
            break
        tree = inner
    return tree


def _sides(tree: Folder) -> dict[str, Folder]:
    """The folders of the sides, each with folders of classes; none if the tree holds classes.

    Raises:
        InputError: there are classes beside sides, two folders of one side, or sides without classes.
    """
    named = [folder for folder in tree.filled if side_of(folder.name)]
    sides = [folder for folder in named if folder.filled]
    others = [folder for folder in tree.filled if folder not in named]
    if not named or (others and all(folder.images for folder in named)):
        return {}  # train/ may be a class: images of trains
    if others:
        raise InputError(
            f"{tree.path} holds {_folders(named)} beside {_folders(others)}: is {named[0].name}/ a class or a part of "
            "the split? Give a folder that holds only the one kind"
        )
    if not sides:
        raise InputError(
            f"{tree.path}: {_folders(named)} hold images, but not in folders of classes: make one folder per class"
            f"{_or_list(tree)}"
        )
    found: dict[str, Folder] = {}
    for folder in sides:
        side = str(side_of(folder.name))
        if side in found:
            raise InputError(f"{tree.path} holds both {_folders([found[side], folder])}: merge them, or rename one")
        found[side] = folder
    return found


def _divided(tree: Folder, sides: Mapping[str, Folder], classes: Classes) -> Layout:
    files = {side: _files(_unwrapped(folder, classes), classes) for side, folder in sides.items()}
    unused = [
        f"{folder.path} is not used: "
        + (f"its {len(folder.below):,} images are in no folder of a class" if folder.below else "it holds no images")
        for folder in tree.folders
        if side_of(folder.name) and folder not in sides.values()
    ]
    train, val, test = map(files.get, SPLITS)
    if train and test and not train.groups.keys() & test.groups.keys():
        unused.append(f"{test.name} is not used: none of its folders is named as a class in {train.name}")
        test = None
    for other in (val, test):
        if train and other and train.groups.keys() != other.groups.keys():
            raise InputError(_difference(tree, train, other))
    return Layout(train, val, test, tuple(unused))


def _difference(tree: Folder, one: Files, other: Files) -> str:
    both = [(Path(f.name).name, set(f.groups) - set(g.groups)) for f, g in ((one, other), (other, one))]
    only = "; ".join(f"only {name}/ has {', '.join(sorted(classes))}" for name, classes in both if classes)
    return f"{both[0][0]}/ and {both[1][0]}/ in {tree.path} must hold the same classes: {only}"


def _sides_in_classes(tree: Folder, classes: Classes) -> dict[str, Files]:
    """The sides where the folder of every class holds only folders of sides; none if no class does.

    Raises:
        InputError: only some of the classes do, or have images beside them.
    """
    divided = [folder for folder in tree.filled if folder.filled and all(side_of(f.name) for f in folder.filled)]
    if not divided:
        return {}
    if mixed := next((folder for folder in divided if folder.images), None):
        raise InputError(
            f"{mixed.path} holds images beside {_folders(mixed.filled)}: move them there if these are the parts of the "
            "split, or give these other names"
        )
    if others := [folder for folder in tree.filled if folder not in divided]:
        raise InputError(
            f"{divided[0].path} holds {_folders(divided[0].filled)}, {others[0].path} does not: divide every class, "
            "or none"
        )
    whole = _files(tree, classes, check=False)
    found: dict[str, Files] = {}
    for side in SPLITS:
        parts = {
            classes.named(folder.name): tuple(
                f for part in folder.folders if side_of(part.name) == side for f in part.below
            )
            for folder in tree.folders
        }
        if any(parts.values()):
            found[side] = Files(f"{side}/ of the classes in {tree.path}", parts, () if found else whole.left_out)
    return found


def _files(tree: Folder, classes: Classes, *, check: bool = True) -> Files:
    """One class for each folder.

    Raises:
        InputError: there is none with images, or the folders of the classes are a level lower, or higher.
    """
    if not tree.filled:
        found = f"{len(tree.images)} images, but none in a folder" if tree.images else "no images"
        raise InputError(
            f"{tree.path} holds {found}: give it one folder of JPEG, PNG, BMP, GIF or WebP files per class"
            f"{_or_list(tree) if tree.images else ''}"
        )
    groups = {classes.named(folder.name): folder.below for folder in tree.folders}
    check_names(groups, str(tree.path))
    if check:
        _check_level(tree)
    return Files(str(tree.path), groups, tuple(Rejected(Path(file), LOOSE) for file in tree.images))


def _check_level(tree: Folder) -> None:
    """Refuse classes that hold the same folders: these may be the classes themselves."""
    holders: dict[str, list[Folder]] = defaultdict(list)  # of a folder's name: the classes that hold such a one
    for folder in tree.filled:
        inner = [] if folder.images else [part.name for part in folder.filled]
        shared = Counter(other for name in inner for other in holders[name])
        for other, count in shared.most_common(1):
            if count > 1:
                both = [name for name in inner if other in holders[name]]
                raise InputError(
                    f"{other.path} and {folder.path} both hold {both[0]}/ and {both[1]}/: if these are the classes, "
                    f"name the two folders train/ and val/, or give {other.path} alone; if not, put the images of each "
                    "class directly into its folder"
                )
        for name in inner:
            holders[name].append(folder)


def _folders(folders: Iterable[Folder]) -> str:
    names = [f"{folder.name}/" for folder in folders]
    more = f" and {len(names) - 3} more" if len(names) > 4 else ""
    names = names[:3] if more else names
    return f"{', '.join(names)}{more}" if more or len(names) < 3 else f"{', '.join(names[:-1])} and {names[-1]}"


def _or_list(tree: Folder) -> str:
    table = next((file for file in tree.lists if file.suffix.lower() != ".txt"), None)  # a .txt is mostly a note
    return f"; or give the list of them: {table}" if table else ""
