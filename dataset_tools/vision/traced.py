"""A network that runs without Python between its layers: threads beside it, which read and decode, can't hold it up there.

The program is torch's trace of the network on one input. It does the same operations in the same order, so its outputs
are the network's own, to the last bit.
"""

import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable

import torch

PROGRAMS = 4  # that are kept, one for each size of input


class Traced:
    """Call it as the network's `method`, a function of one tensor, in inference mode, from any thread: one at a time gets in.

    A size of input that comes again is traced; one that comes once, such as a clip's last and shorter batch, is not.
    """

    def __init__(self, network: torch.nn.Module, method: str = "forward"):
        self._network, self._method, self._turn = network, method, threading.Lock()
        self._programs: OrderedDict[torch.Size, Callable | None] = OrderedDict()

    def __call__(self, x: torch.Tensor):
        with self._turn, torch.inference_mode():
            torch.set_num_threads(torch.get_num_threads())  # what was set is not yet so in a new thread: OpenMP has it per thread
            if x.shape not in self._programs:
                self._programs[x.shape] = None
                if len(self._programs) > PROGRAMS:
                    self._programs.popitem(last=False)
                return getattr(self._network, self._method)(x)
            self._programs.move_to_end(x.shape)
            if self._programs[x.shape] is None:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # that sizes become constants of the program, which they are
                    program = torch.jit.trace_module(self._network, {self._method: x}, check_trace=False)
                    self._programs[x.shape] = getattr(program, self._method)
            return self._programs[x.shape](x)
