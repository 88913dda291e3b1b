"""Run a network as a torch trace, without Python between its layers, so that other Python threads can't slow it down.

A trace is recorded by torch on one input. It performs the same operations in the same order, so its outputs equal the
network's to the last bit.
"""

import threading
import warnings
from collections.abc import Callable

import torch

MAX_TRACES = 16  # one for each input size; limited because torch never frees the memory of a trace


class TracedNetwork:
    """Callable as the network, with one tensor. Thread-safe.

    An input size that comes twice in a row is traced, which takes as long as a few runs. Any other size, such as that of a clip's
    shorter last batch, goes through the network itself, and so does every new size after `MAX_TRACES` traces.
    """

    def __init__(self, network: torch.nn.Module):
        self._network, self._turn = network, threading.Lock()
        self._programs: dict[torch.Size, Callable] = {}
        self._before = torch.Size()

    def __call__(self, x: torch.Tensor):
        """The network's output for x, computed by a trace if there is one for its shape."""
        with self._turn, torch.inference_mode():
            torch.set_num_threads(
                torch.get_num_threads()
            )  # OpenMP's number of threads is per thread, so it is set again here
            if x.shape not in self._programs:
                if x.shape != self._before or len(self._programs) == MAX_TRACES:
                    self._before = x.shape
                    return self._network(x)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # about sizes that become constants of the trace, which is intended
                    self._programs[x.shape] = torch.jit.trace(self._network, x, check_trace=False)
            self._before = x.shape
            return self._programs[x.shape](x)
