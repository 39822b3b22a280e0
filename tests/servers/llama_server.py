"""Starts llama.cpp's OpenAI-compatible server on the loopback and prints its address: MODEL CONTEXT SLOTS [PORT]."""

import signal
import socket
import sys

import xllamacpp

MODEL, CONTEXT, SLOTS = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])

with socket.socket() as free:
    free.bind(("127.0.0.1", int(sys.argv[4]) if len(sys.argv) > 4 else 0))
    port = free.getsockname()[1]
parameters = xllamacpp.CommonParams()
parameters.model.path, parameters.port = MODEL, port
parameters.n_ctx, parameters.n_parallel = CONTEXT, SLOTS
parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 2
parameters.endpoint_metrics = True
parameters.hostnames, parameters.model_alias, parameters.warmup = ["127.0.0.1"], {"smollm2"}, False
server = xllamacpp.Server(parameters)
print(f"http://127.0.0.1:{port}", flush=True)
signal.pause()
