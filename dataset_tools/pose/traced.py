"""A network that runs without Python between its layers: threads beside it, which read and decode, can't hold it up there.

The program is torch's trace of the network on one input. It does the same operations in the same order, so its outputs
are the network's own, to the last bit.
"""

import threading
import warnings
from collections.abc import Callable

import torch

TRACES = 16  # that are made in all, one for each size of input: torch never gives back a program's memory


class Traced:
    """Call it as the network, with one tensor, from any thread: one at a time gets in.

    A size of input that comes twice in a row is traced, which takes as long as some runs; one that does not, such as a
    clip's last and shorter batch, goes through the network itself; so does every further size after `TRACES`.
    """

    def __init__(self, network: torch.nn.Module):
        self._network, self._turn = network, threading.Lock()
        self._programs: dict[torch.Size, Callable] = {}
        self._before = torch.Size()

    def __call__(self, x: torch.Tensor):
        """What the network gives of x, by a trace where its shape has come before."""
        with self._turn, torch.inference_mode():
            torch.set_num_threads(
                torch.get_num_threads()
            )  # what was set is not yet so in a new thread: OpenMP has it per thread
            if x.shape not in self._programs:
                if x.shape != self._before or len(self._programs) == TRACES:
                    self._before = x.shape
                    return self._network(x)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # that sizes become constants of the program, which they are
                    self._programs[x.shape] = torch.jit.trace(self._network, x, check_trace=False)
            self._before = x.shape
            return self._programs[x.shape](x)
