"""A daemon of one's own, and the wire's messages as any Python client would have them.

The environment says where things are (see ../meson.build):
    SIMPLER          the command line tool
    SIMPLER_L3D      the daemon
    SIMPLER_PROTO    the directory with the wire contract
    SIMPLER_MODULES  the directory with the tests' modules
"""
import atexit
import collections
import hashlib
import importlib
import itertools
import os
import pathlib
import selectors
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest

import grpc
from grpc_tools import protoc

SECONDS = 60  # for anything that is expected to happen; nothing waits so long on a good day
MIB = 1 << 20
STANDARD = "/usr/share/grpc-proto/grpc"


def generate():
    """Messages and stubs, made by the ordinary tool from the contract and the standard files."""
    protos = {
        os.environ["SIMPLER_PROTO"]: "simpler_distributed_v1",
        f"{STANDARD}/health/v1": "health",
        f"{STANDARD}/reflection/v1alpha": "reflection",
    }
    modules = []
    with tempfile.TemporaryDirectory(prefix="simpler-clients-") as out:
        arguments = ["protoc", f"--python_out={out}", f"--grpc_python_out={out}"]
        arguments += [f"-I{directory}" for directory in protos]
        if protoc.main(arguments + [f"{name}.proto" for name in protos.values()]) != 0:
            raise RuntimeError("grpc_tools.protoc failed")
        sys.path.insert(0, out)
        for name in protos.values():
            modules += [importlib.import_module(f"{name}_pb2"),
                        importlib.import_module(f"{name}_pb2_grpc")]
        sys.path.remove(out)
    return modules


sys.dont_write_bytecode = True
wire, wire_grpc, health, health_grpc, reflection, reflection_grpc = generate()

FLOAT32, FLOAT16, INT32, INT16, INT8, UINT8, BFLOAT16, INT64, UINT64, UINT16, UINT32 = range(11)
INPUT, OUTPUT, INOUT, OUTPUT_EXISTING, NO_DEP = range(5)
SUB, ORCH, CHIP = 1, 2, 3


class Daemon:
    """Started on a free port of this machine; stopped by SIGTERM, which it answers with exit 0."""

    def __init__(self, *options, log=None, cwd=None):
        """Its log goes to the file `log`, or else to where ours goes."""
        self.process = subprocess.Popen(
            [os.environ["SIMPLER_L3D"], "--listen", "127.0.0.1:0", "--log-level", "warn",
             *options],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, cwd=cwd)
        atexit.register(self.kill)
        self.address = self.read_address()

    def read_address(self):
        line, until = b"", time.monotonic() + SECONDS
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while not line.endswith(b"\n"):
                if not selector.select(max(0, until - time.monotonic())):
                    raise RuntimeError(f"the daemon is not ready after {SECONDS} seconds")
                piece = os.read(self.process.stdout.fileno(), 4096)
                if not piece:
                    raise RuntimeError(f"the daemon ended with {self.process.wait()}")
                line += piece
        word, address = line.decode().split()
        if word != "ready":
            raise RuntimeError(f"the daemon printed {line!r}")
        return address

    def ask_to_stop(self):
        self.process.send_signal(signal.SIGTERM)

    def wait(self):
        """The exit status."""
        status = self.process.wait(timeout=SECONDS)
        self.process.stdout.close()
        return status

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Client:
    """All stubs of one connection, and calls of one session if it has a number."""

    def __init__(self, address, session=None):
        self.session = session
        self.metadata = [("simpler-session", session)] if session else None
        self.channel = grpc.insecure_channel(address, options=[
            ("grpc.max_send_message_length", -1),
            ("grpc.max_receive_message_length", -1),
            ("grpc.enable_http_proxy", 0),
        ])
        self.worker = wire_grpc.L3WorkerStub(self.channel)
        self.catalog = wire_grpc.CatalogStub(self.channel)
        self.pool = wire_grpc.TensorPoolStub(self.channel)

    def heartbeat(self):
        return self.worker.Heartbeat(wire.Empty(), timeout=SECONDS, metadata=self.metadata)

    def status(self):
        return self.worker.Status(wire.Empty(), timeout=SECONDS)

    def alloc(self, nbytes, **more):
        return self.pool.AllocTensor(wire.TensorAllocReq(nbytes=nbytes, **more), timeout=SECONDS,
                                     metadata=self.metadata)

    def free(self, handle):
        return self.pool.FreeTensor(wire.TensorFreeReq(handle=handle), timeout=SECONDS,
                                    metadata=self.metadata)

    def refresh(self, handle, ttl_ms=0):
        return self.pool.RefreshTensor(
            wire.TensorRefreshReq(handle=handle, ttl_ms=ttl_ms), timeout=SECONDS,
            metadata=self.metadata)

    def attach(self, ttl_ms=0):
        return self.worker.Attach(wire.AttachReq(ttl_ms=ttl_ms), timeout=SECONDS,
                                  metadata=self.metadata)

    def detach(self):
        return self.worker.Detach(wire.Empty(), timeout=SECONDS, metadata=self.metadata)

    def export(self, handle, **more):
        return self.pool.ExportTensor(wire.TensorExportReq(handle=handle, **more),
                                      timeout=SECONDS, metadata=self.metadata)

    def import_(self, grant, address, **more):
        return self.pool.ImportTensor(
            wire.TensorImportReq(grant=grant, address=address, **more),
            timeout=SECONDS, metadata=self.metadata)

    def release(self, grant):
        return self.pool.ReleaseGrant(grant, timeout=SECONDS, metadata=self.metadata)

    def read_chunks(self, handle, span=None, token=b""):
        return list(self.pool.ReadTensor(
            wire.TensorReadReq(handle=handle, span=span, token=token), timeout=SECONDS,
            metadata=self.metadata))

    def read(self, handle, span=None, token=b""):
        return b"".join(chunk.data for chunk in self.read_chunks(handle, span, token))

    def push(self, chunks):
        return self.pool.PushTensor(iter(chunks), timeout=SECONDS, metadata=self.metadata)

    def pull_chunks(self, handle):
        return list(self.pool.PullTensor(handle, timeout=SECONDS, metadata=self.metadata))

    def pull(self, handle):
        return b"".join(chunk.data for chunk in self.pull_chunks(handle))

    def write(self, handle, data, offset=0):
        return self.push(chunks_of(handle, data, offset))

    def write_span(self, handle, data, span):
        first, *more = chunks_of(handle, data)
        first.span.CopyFrom(span)
        return self.push([first, *more])

    def tensor(self, values):
        """A stored int64 tensor."""
        data = int64s(values)
        handle = self.alloc(len(data), shape=[len(values)], dtype=INT64)
        return self.write(handle, data)

    def values(self, handle):
        return values_of(self.pull(handle))

    def install(self, callable_):
        self.catalog.PushCallable(callable_.message(), timeout=SECONDS, metadata=self.metadata)
        return callable_

    def push_module(self, module, chunks=None, **more):
        """As one stream, cut into pieces of 1 MiB; or these chunks."""
        return self.catalog.PushModule(
            module_chunks(module, **more) if chunks is None else iter(chunks), timeout=SECONDS)

    def pull_module(self, digest):
        return list(self.catalog.PullModule(wire.ModuleRef(digest=digest), timeout=SECONDS))

    def dispatch(self, callable_, tensors=(), scalars=(), **more):
        return self.dispatch_later(callable_, tensors, scalars, **more).result()

    def dispatch_later(self, callable_, tensors=(), scalars=(), **more):
        return self.worker.Dispatch.future(
            request(callable_, tensors, scalars, **more), timeout=SECONDS, metadata=self.metadata)

    def raw(self, path, data):
        """A unary call of bytes that nobody checked."""
        return self.channel.unary_unary(path)(data, timeout=SECONDS, metadata=self.metadata)

    def close(self):
        self.channel.close()


def wait_until(condition, what):
    until = time.monotonic() + SECONDS
    while not condition():
        if time.monotonic() > until:
            raise AssertionError(f"after {SECONDS} seconds it still is not so that {what}")
        time.sleep(0.01)


def chunks_of(handle, data, offset=0, size=MIB, repeat=True):
    """As existing clients cut them: pieces of 1 MiB that all name the handle. Without `repeat` the
    first one alone does."""
    ends = list(range(0, len(data), size)) or [0]
    for at in ends:
        yield wire.TensorChunk(handle=handle if repeat or at == 0 else None, offset=offset + at,
                               data=data[at:at + size], last=at == ends[-1])


def module_chunks(module, size=MIB, **first):
    """How PushModule wants a module; `first` replaces fields of the first chunk."""
    fields = {"module": wire.ModuleRef(digest=hashlib.sha256(module).digest()),
              "nbytes": len(module), **first}
    for at in range(0, max(len(module), 1), size):
        yield wire.ModuleChunk(offset=at, data=module[at:at + size], **fields)
        fields = {}


def int64s(values):
    return struct.pack(f"<{len(values)}q", *values)


def values_of(data):
    return list(struct.unpack(f"<{len(data) // 8}q", data))


def inline(values, tag=INPUT):
    return wire.TensorRef(inline_data=int64s(values), shape=[len(values)], dtype=INT64, tag=tag)


def stored(handle, count, tag=INPUT, offset=0):
    return wire.TensorRef(handle=handle, shape=[count], dtype=INT64, tag=tag, offset=offset)


TASK_IDS = itertools.count(1)  # a session takes one that it knows for the same dispatch again


def request(callable_, tensors=(), scalars=(), **more):
    fields = {"task_id": next(TASK_IDS), "callable_id": callable_.id,
              "callable_version": callable_.version}
    return wire.DispatchReq(**{**fields, "tensor_refs": tensors, "scalar_args": scalars, **more})


def digest_of(*fields):
    return hashlib.sha256(
        b"".join(struct.pack("<Q", len(field)) + field for field in fields)).digest()


class Callable(collections.namedtuple("Callable", "name kind state module")):
    """A callable of a module, described as src/catalog/payload.h and digest.h say."""

    @property
    def module_digest(self):
        return hashlib.sha256(self.module).digest()

    @property
    def digest(self):
        return digest_of(b"simpler.callable", struct.pack("<I", self.kind), struct.pack("<I", 1),
                         b"module", self.module_digest, self.name.encode(), self.state)

    @property
    def version(self):
        return struct.unpack_from("<Q", self.digest)[0]

    @property
    def id(self):
        return struct.unpack_from("<Q", self.digest, 8)[0] or 1

    def payload(self, with_module=True, module_digest=None, signature=b""):
        name, module = self.name.encode(), self.module if with_module else b""
        return struct.pack("<4s7I32sQ2I", b"SMPC", 2, self.kind, 1, 1, len(name), 0,
                           len(self.state), module_digest or self.module_digest, len(module),
                           len(signature), 0) + name + self.state + signature + module

    def message(self, **more):
        fields = {"callable_id": self.id, "version": self.version, "pickled": self.payload()}
        return wire.CallablePayload(**{**fields, **more})


class LibraryCallable(collections.namedtuple("LibraryCallable", "name kind state library")):
    """The same of a library that is installed on the node."""

    module_digest, module = bytes(32), b""
    version, id, message = Callable.version, Callable.id, Callable.message

    @property
    def digest(self):
        return digest_of(b"simpler.callable", struct.pack("<I", self.kind), struct.pack("<I", 1),
                         b"library", self.library.encode(), self.name.encode(), self.state)

    def payload(self):
        name, library = self.name.encode(), self.library.encode()
        return struct.pack("<4s7I32sQ2I", b"SMPC", 2, self.kind, 1, 2, len(name), len(library),
                           len(self.state), bytes(32), 0, 0, 0) + name + library + self.state


def module_callable(name, kind=ORCH, state=b"", module="client_tasks"):
    path = pathlib.Path(os.environ["SIMPLER_MODULES"], f"{module}.so")
    return Callable(name, kind, state, path.read_bytes())


class DaemonTest(unittest.TestCase):
    """One daemon for the tests of a class. After each it must still answer, whatever was sent."""

    options = ("--sub-workers", "2", "--pool-bytes", "32M", "--node-id", "node-under-test")
    pool_bytes = 32 * MIB

    @classmethod
    def setUpClass(cls):
        cls.daemon = Daemon(*cls.options)
        cls.client = Client(cls.daemon.address)

    @classmethod
    def tearDownClass(cls):
        cls.client.close()
        cls.daemon.ask_to_stop()
        status = cls.daemon.wait()
        if status != 0:
            raise AssertionError(f"the daemon ended with {status} after SIGTERM")

    def tearDown(self):
        self.assertTrue(self.client.heartbeat().ok)

    def pool_is_free(self):
        """Whether there is room for as much as the pool holds."""
        try:
            self.client.free(self.client.alloc(self.pool_bytes))
            return True
        except grpc.RpcError as error:
            self.assertEqual(error.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
            return False

    def refused(self, code, texts, call, *arguments, **more):
        """The call fails with this code, and its text has all of `texts` in it."""
        with self.assertRaises(grpc.RpcError) as caught:
            call(*arguments, **more)
        error = caught.exception
        self.assertEqual(error.code(), code, error.details())
        for text in texts:
            self.assertIn(text, error.details())
        self.assertTrue(self.client.heartbeat().ok)
        return error.details()


def main():
    # Meson ends a test that takes too long with SIGTERM: leave by the door, so that atexit runs.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    unittest.main(module="__main__", verbosity=2)
