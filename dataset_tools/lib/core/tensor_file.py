"""Read untrusted files of torch.save: no code of the file runs, and time and memory are bounded by its size.

torch's own restricted loader (`weights_only`) runs no code either. But it unpacks compressed members, calls `bytearray` with
any length, hashes nested tuples of any size and returns tensors without data. So the pickles in a file are first scanned
without being executed: they may only name what plain tensors, numbers, strings and containers of them need. The tensors that
torch returns are checked too. A network whose sizes come from a file is first built without memory (`meta_state_dict`).
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
    from torch.overrides import TorchFunctionMode

STORAGE_KINDS = (
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
ALLOWED_NAMES = {
    "collections.OrderedDict", "__builtin__.set", "builtins.set", "torch.Size", "torch.device", "_codecs.encode", "torch.nn.parameter.Parameter",
    *(f"torch._utils.{name}" for name in ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3", "_rebuild_parameter")),
    *(f"torch.{kind}Storage" for kind in STORAGE_KINDS), "torch.storage.UntypedStorage", "torch.storage.TypedStorage",
    *(f"torch.{name}" for name in ("float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")),
}  # fmt: skip
"""Globals that a pickle of plain tensors refers to."""
LEGACY_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""First bytes of the older, non-zip format of torch.save: the first of its `LEGACY_PICKLES` pickles. The tensors' data follow them."""
LEGACY_PICKLES = 5
POPS = {
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
"""Pickle opcode -> number of values that it takes off the stack."""
PUSHES = {
    "NONE", "NEWFALSE", "NEWTRUE", "BININT", "BININT1", "BININT2", "BINFLOAT", "BINUNICODE", "SHORT_BINSTRING", "LONG1", "GLOBAL",
    "EMPTY_TUPLE", "EMPTY_LIST", "EMPTY_DICT", "EMPTY_SET",
}  # fmt: skip
MAX_SHARING = 4
"""Largest size of all tensors together, as a multiple of the file's size: several tensors may share their data."""
SIZE_SLACK = 1 << 20
PARAMETER_SLACK = 1000
"""Parameters that a network may register while it is built, in addition to three times the number of its tensors."""


def read_tensors(
    path: Path, *, allow: Callable[[str], Any] = lambda _: None, expanded: bool = False, finite: bool = True
) -> Any:
    """The content of a file of torch.save, zip or older format, on the CPU: tensors, numbers, strings and containers of them.

    allow: maps the name of a further global to its value; None refuses it.
    expanded: allow tensors that are larger than their data in the file (as `expand` makes them), for callers that check shapes.
    finite: refuse NaN and infinite values.

    Raises Unreadable for another kind of file, a damaged file, a file that would have to run code, a file beyond `limits`, and
    tensors that are not plain numbers; UserError for a missing file; and whatever `allow` raises.
    """
    path = limits.check_regular_file(path, limits.TENSOR_BYTES)
    try:
        with open(path, "rb") as file:
            names = {name for pickle in _open_pickles(path, file) for name in _find_names(path, pickle)}
        allowed = {name: allow(name) for name in sorted(names - ALLOWED_NAMES)}
        if refused := [name for name, found in allowed.items() if found is None]:
            raise Unreadable(
                path,
                f"it holds more than tensors ({limits.printable(refused[0])}), which would need code of its own to be read",
            )
        content = _load(path, allowed)
        _check_tensors(path, content, expanded, finite)
    except UserError:
        raise
    except Exception as err:  # noqa: BLE001 - zipfile, pickletools and torch raise whatever broken bytes lead to
        reason = limits.printable(str(err).strip().partition("\n")[0].split(". ")[0]) or type(err).__name__
        raise Unreadable(path, f"not a readable file of torch.save ({reason})") from None
    return content


def _open_pickles(path: Path, file: BinaryIO) -> Iterator[BinaryIO]:
    """Yield each pickle of the file as a stream at its start."""
    start = file.read(len(LEGACY_MAGIC))
    if start == LEGACY_MAGIC:
        file.seek(0)
        for _ in range(LEGACY_PICKLES):
            yield file
        return
    if not start.startswith(b"PK"):
        raise Unreadable(path, "not a file of torch.save (is it a web page, an archive or a file of another program?)")
    with zipfile.ZipFile(file) as archive:
        parts = archive.infolist()
        if len(parts) > limits.TENSOR_PARTS:
            raise Unreadable(path, f"{len(parts)} parts; at most {limits.TENSOR_PARTS} are read")
        if any(part.compress_type != zipfile.ZIP_STORED or part.file_size != part.compress_size for part in parts):
            raise Unreadable(path, "its parts are compressed, which torch.save does not do; save it again")
        if sum(part.file_size for part in parts) > path.stat().st_size:
            raise Unreadable(path, "its parts overlap; save it again")
        for part in parts:
            if re.search(r"(^|/)data\.pkl$", part.filename):
                if part.file_size > 10 * limits.TENSOR_STEPS:
                    raise Unreadable(
                        path, f"a pickle of {part.file_size} bytes; at most {10 * limits.TENSOR_STEPS} are read"
                    )
                yield io.BytesIO(archive.read(part))


def _find_names(path: Path, pickle: BinaryIO) -> set[str]:
    """The globals that a pickle refers to. Nothing is executed, but the size of nested tuples is counted: hashing or printing tuples
    of which each holds the previous one twice takes exponential time."""
    names, stack, marks, memo = set(), [], [], {}
    for count, (opcode, argument, _) in enumerate(pickletools.genops(pickle)):
        name, taken = opcode.name, []
        if count > limits.TENSOR_STEPS:
            raise Unreadable(path, f"a pickle of over {limits.TENSOR_STEPS} steps")
        if name == "GLOBAL" and argument:
            names.add(argument.replace(" ", "."))
        if name in POPS:
            taken = stack[-POPS[name] :]
            del stack[-POPS[name] :]
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
        elif name not in POPS and name not in ("APPENDS", "SETITEMS", "PROTO"):
            raise Unreadable(path, f"not a file of torch.save: its pickle has the step {name}")
    return names


def _load(path: Path, allowed: dict[str, Any]) -> Any:
    import numpy as np
    import torch

    kinds = [type(np.dtype(kind)) for kind in ("float64", "float32", "int64", "int32", "bool")] if allowed else []
    with (
        warnings.catch_warnings(),
        torch.serialization.safe_globals([*((found, name) for name, found in allowed.items()), *kinds]),
    ):
        warnings.simplefilter("ignore")
        return torch.load(path, map_location="cpu", weights_only=True)


def _check_tensors(path: Path, content: Any, expanded: bool, finite: bool) -> None:
    """Refuse tensors that are not plain, in any container. Iterative, and each object once, because containers may hold themselves."""
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
            if not expanded and (
                item.numel() * item.element_size() > held or size > MAX_SHARING * path.stat().st_size + SIZE_SLACK
            ):
                raise Unreadable(
                    path, f"tensors larger than their numbers in the file: {tuple(item.shape)} of {held} bytes"
                )
            # a finite float64 may be infinite in float32, the dtype of the networks
            if finite and item.is_floating_point() and not torch.isfinite(item.float()).all():
                raise Unreadable(path, "holds NaN or infinite weights; take another copy, or train it again")


def _without_draws() -> "TorchFunctionMode":
    """A context in which tensors are not filled with random numbers. On the meta device there is nothing to fill, and torch would load
    its compiler for it, which takes seconds."""
    from torch.overrides import TorchFunctionMode

    class WithoutDraws(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            if getattr(func, "__name__", "") in ("normal_", "uniform_"):
                return args[0] if args else (kwargs or {})["tensor"]
            return func(*args, **(kwargs or {}))

    return WithoutDraws()


def meta_state_dict(
    make: Callable[[], "torch.nn.Module"], tensors: Mapping[str, "torch.Tensor"]
) -> dict[str, "torch.Tensor"]:
    """State dict, on the meta device (names, shapes and dtypes, without memory), of the network that `make` builds.

    Raises ValueError as soon as the network has many more parameters than `tensors`, its weights, so that the sizes given in a
    file cannot cost more time than its length warrants. Raises whatever `make` raises.
    """
    import torch
    from torch.nn.modules.module import register_module_parameter_registration_hook

    left = 3 * len(tensors) + PARAMETER_SLACK

    def counted(module: "torch.nn.Module", name: str, parameter: "torch.nn.Parameter") -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise ValueError(f"its sizes describe a network with far more than the {len(tensors)} tensors in the file")

    hook = register_module_parameter_registration_hook(counted)
    try:
        with torch.device("meta"), _without_draws():
            return make().state_dict()
    finally:
        hook.remove()
