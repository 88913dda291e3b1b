"""Files of torch.save, from anywhere: read without running code, in time and memory that follow from their size.

torch's own restricted reading (`weights_only`) runs no code. But it unpacks what is packed, calls `bytearray` with any length,
hashes whatever nests and gives tensors without numbers. So a file's pickles are looked through first, as instructions that
nobody carries out: only what makes plain tensors, numbers, texts and containers of them may be named there. The tensors that
torch then makes are looked at, too. And a network whose sizes a file tells is built in outline before it is built (`outline`).
"""

import io
import pickletools
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from dataset_tools.lib.core import limits
from dataset_tools.lib.core.errors import Unreadable, UserError

if TYPE_CHECKING:
    import torch

KINDS = (
    "Float",
    "Double",
    "Half",
    "BFloat16",
    "Long",
    "Int",
    "Short",
    "Char",
    "Byte",
    "Bool",
    "ComplexFloat",
    "ComplexDouble",
)
PLAIN = {
    "collections.OrderedDict", "__builtin__.set", "builtins.set", "torch.Size", "torch.device", "_codecs.encode", "torch.nn.parameter.Parameter",
    *(f"torch._utils.{name}" for name in ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3", "_rebuild_parameter")),
    *(f"torch.{kind}Storage" for kind in KINDS), "torch.storage.UntypedStorage", "torch.storage.TypedStorage",
    *(f"torch.{name}" for name in ("float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")),
}  # fmt: skip
"""What a pickle of plain tensors names."""
OLDER = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""How files of torch.save begin that are no zip archives: the first of five pickles, before the tensors' numbers."""
PICKLES = 5
TAKES = {
    "APPEND": 1,
    "SETITEM": 2,
    "BUILD": 1,
    "REDUCE": 1,
    "NEWOBJ": 1,
    "TUPLE1": 1,
    "TUPLE2": 2,
    "TUPLE3": 3,
    "STOP": 1,
}
"""Instruction -> how many values it takes off the stack."""
PUSHES = {
    "NONE", "NEWFALSE", "NEWTRUE", "BININT", "BININT1", "BININT2", "BINFLOAT", "BINUNICODE", "SHORT_BINSTRING", "LONG1", "GLOBAL",
    "EMPTY_TUPLE", "EMPTY_LIST", "EMPTY_DICT", "EMPTY_SET",
}  # fmt: skip
SHARED = 4
"""Times a file's size that its tensors may have together: several can share their numbers."""
SMALL = 1 << 20
SPARE = 1000
"""Parameters that a network may register and lose while it is built, besides thrice those it ends with."""


def read_tensors(
    path: Path, *, allow: Callable[[str], Any] = lambda _: None, stretched: bool = False, finite: bool = True
) -> Any:
    """What a file of torch.save holds, zip or older, on the CPU: tensors, numbers, texts and containers of them.

    allow: of a name that no plain tensor needs, what it stands for; None refuses it. stretched: tensors may be larger than
    their numbers in the file (as `expand` makes them); for callers that know the shapes they take. finite: NaN and infinities
    are refused.
    Raises Unreadable for another kind of file, a damaged one, one that would have to run code, one beyond `limits`, and tensors
    that are not plain numbers; UserError for none, and what `allow` raises.
    """
    path = limits.regular_file(path, limits.TENSOR_BYTES)
    try:
        with open(path, "rb") as file:
            names = {name for pickle in _pickles(path, file) for name in _named(path, pickle)}
        allowed = {name: allow(name) for name in sorted(names - PLAIN)}
        if refused := [name for name, found in allowed.items() if found is None]:
            raise Unreadable(
                path, f"it holds more than tensors ({limits.shown(refused[0])}), which only code of its own could read"
            )
        content = _loaded(path, allowed)
        _check_tensors(path, content, stretched, finite)
    except UserError:
        raise
    except Exception as err:  # noqa: BLE001 - zipfile, pickletools and torch raise whatever broken bytes lead to
        reason = limits.shown(str(err).strip().partition("\n")[0].split(". ")[0]) or type(err).__name__
        raise Unreadable(path, f"not a readable file of torch.save ({reason})") from None
    return content


def _pickles(path: Path, file: BinaryIO) -> Iterator[BinaryIO]:
    """The file's pickles, each to be read from where it stands."""
    start = file.read(len(OLDER))
    if start == OLDER:
        file.seek(0)
        for _ in range(PICKLES):
            yield file
        return
    if not start.startswith(b"PK"):
        raise Unreadable(path, "not a file of torch.save (is it a web page, an archive or a file of another program?)")
    with zipfile.ZipFile(file) as archive:
        parts = archive.infolist()
        if len(parts) > limits.TENSOR_PARTS:
            raise Unreadable(path, f"{len(parts)} parts; at most {limits.TENSOR_PARTS} are read")
        if any(part.compress_type != zipfile.ZIP_STORED or part.file_size != part.compress_size for part in parts):
            raise Unreadable(path, "its parts are packed, which torch.save does not do; save it again")
        if sum(part.file_size for part in parts) > path.stat().st_size:
            raise Unreadable(path, "its parts overlap; save it again")
        for part in parts:
            if re.search(r"(^|/)data\.pkl$", part.filename):
                if part.file_size > 10 * limits.TENSOR_STEPS:
                    raise Unreadable(
                        path, f"a pickle of {part.file_size} bytes; at most {10 * limits.TENSOR_STEPS} are read"
                    )
                yield io.BytesIO(archive.read(part))


def _named(path: Path, pickle: BinaryIO) -> set[str]:
    """The names that a pickle asks for. Nothing of it is carried out, but how large its tuples get is counted: to hash or to
    print tuples that hold the one before twice, thirty times over, takes for ever."""
    names, stack, marks, memo = set(), [], [], {}
    for count, (opcode, argument, _) in enumerate(pickletools.genops(pickle)):
        name, taken = opcode.name, []
        if count > limits.TENSOR_STEPS:
            raise Unreadable(path, f"a pickle of over {limits.TENSOR_STEPS} steps")
        if name == "GLOBAL" and argument:
            names.add(argument.replace(" ", "."))
        if name in TAKES:
            taken = stack[-TAKES[name] :]
            del stack[-TAKES[name] :]
        elif name in ("TUPLE", "APPENDS", "SETITEMS"):
            stack, taken = marks.pop(), stack
        if name == "MARK":
            marks.append(stack)
            stack = []
        elif name in PUSHES:
            stack.append(1)
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name in ("BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif name.startswith("TUPLE"):
            stack.append(1 + sum(taken))
            if stack[-1] > limits.TENSOR_NEST:
                raise Unreadable(path, f"tuples of over {limits.TENSOR_NEST} values in each other")
        elif name in ("REDUCE", "NEWOBJ", "BINPERSID"):
            stack[-1] = 1
        elif name not in TAKES and name not in ("APPENDS", "SETITEMS", "PROTO"):
            raise Unreadable(path, f"not a file of torch.save: its pickle has the step {name}")
    return names


def _loaded(path: Path, allowed: dict[str, Any]) -> Any:
    import numpy as np
    import torch

    kinds = [type(np.dtype(kind)) for kind in ("float64", "float32", "int64", "int32", "bool")] if allowed else []
    with (
        warnings.catch_warnings(),
        torch.serialization.safe_globals([*((found, name) for name, found in allowed.items()), *kinds]),
    ):
        warnings.simplefilter("ignore")
        return torch.load(path, map_location="cpu", weights_only=True)


def _check_tensors(path: Path, content: Any, stretched: bool, finite: bool) -> None:
    """Refuse what is no plain tensor, wherever it lies. Step by step and each thing once: containers may hold themselves."""
    import torch

    todo, seen, size = [content], set(), 0
    while todo:
        item = todo.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, dict):
            todo += [*item.keys(), *item.values()]
        elif isinstance(item, (list, tuple, set)):
            todo += item
        elif isinstance(item, torch.nn.Module):
            todo += [*item.parameters(), *item.buffers()]
        elif isinstance(item, torch.Tensor):
            plain = (
                item.layout == torch.strided
                and item.device.type == "cpu"
                and not item.is_quantized
                and not item.is_complex()
            )
            if not plain:
                raise Unreadable(path, f"holds a tensor of {item.dtype} on '{item.device}', not of plain real numbers")
            size += item.numel() * item.element_size()
            held = item.untyped_storage().nbytes()
            if not stretched and (
                item.numel() * item.element_size() > held or size > SHARED * path.stat().st_size + SMALL
            ):
                raise Unreadable(
                    path, f"tensors larger than their numbers in the file: {tuple(item.shape)} of {held} bytes"
                )
            # what float64 holds may be infinite as float32, which networks have
            if finite and item.is_floating_point() and not torch.isfinite(item.float()).all():
                raise Unreadable(path, "holds NaN or infinite weights; take another copy, or train it again")


def outline(make: Callable[[], "torch.nn.Module"], tensors: Mapping[str, "torch.Tensor"]) -> dict[str, "torch.Tensor"]:
    """The state dict of the network that `make` builds, on the meta device: names, shapes and dtypes, and no memory.

    Raises ValueError once it has many more parameters than `tensors`, the weights that are meant for it: sizes that a file
    tells cost no more time than the file is long. And what `make` raises.
    """
    import torch
    from torch.nn.modules.module import register_module_parameter_registration_hook

    left = 3 * len(tensors) + SPARE

    def counted(module: "torch.nn.Module", name: str, parameter: "torch.nn.Parameter") -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise ValueError(f"its sizes are of a network with far more than the {len(tensors)} tensors that are there")

    hook = register_module_parameter_registration_hook(counted)
    try:
        with torch.device("meta"):
            return make().state_dict()
    finally:
        hook.remove()
