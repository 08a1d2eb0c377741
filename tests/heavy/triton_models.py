"""The models that the tests ask, on a Triton server. Run by the Python of .venv-triton.

triton_models.py PORT FOLDER        HTTP on PORT, gRPC and metrics on the next two
"""

from __future__ import annotations

import sys
import time

import numpy as np
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, QueuePolicy, Tensor
from pytriton.model_config.common import TimeoutAction
from pytriton.triton import Triton, TritonConfig

DATATYPES = {
    "BOOL": np.bool_, "UINT8": np.uint8, "UINT16": np.uint16, "UINT32": np.uint32,
    "UINT64": np.uint64, "INT8": np.int8, "INT16": np.int16, "INT32": np.int32, "INT64": np.int64,
    "FP16": np.float16, "FP32": np.float32, "FP64": np.float64, "BYTES": np.bytes_,
}  # fmt: skip

# One request at a time, one more waiting, for half a second at most.
QUEUE = QueuePolicy(
    max_queue_size=1,
    timeout_action=TimeoutAction.REJECT,
    default_timeout_microseconds=500_000,
)


@batch
def add(a, b):
    return [a + b]


@batch
def echo(**inputs):
    return [inputs[name] for name in DATATYPES]


@batch
def fail(a):
    raise RuntimeError(f"the prompt was {a}")


@batch
def not_a_number(a):
    return [a * np.float32("nan")]


@batch
def slow(a):
    time.sleep(float(a[0][0]))
    return [a]


def floats(*names):
    return [Tensor(name=name, dtype=np.float32, shape=(-1,)) for name in names]


def main(port, folder):
    config = TritonConfig(
        http_address="127.0.0.1", http_port=port, grpc_port=port + 1, metrics_port=port + 2
    )
    with Triton(config=config, workspace=folder) as triton:
        triton.bind("add", add, floats("a", "b"), floats("sum"))
        triton.bind("fail", fail, floats("a"), floats("y"))
        triton.bind("not_a_number", not_a_number, floats("a"), floats("y"))
        given = [Tensor(name=name, dtype=each, shape=(-1,)) for name, each in DATATYPES.items()]
        taken = [Tensor(name=f"{each.name}_OUT", dtype=each.dtype, shape=(-1,)) for each in given]
        triton.bind("echo", echo, given, taken)
        one_at_a_time = ModelConfig(
            max_batch_size=1, batcher=DynamicBatcher(default_queue_policy=QUEUE)
        )
        triton.bind("slow", slow, floats("a"), floats("y"), config=one_at_a_time)
        triton.serve()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
