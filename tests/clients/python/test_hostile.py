#!/usr/bin/python3
"""A daemon never dies of what a client sends, and says what was wrong with it."""
import os
import pathlib
import socket
import subprocess
import tempfile
import threading

import grpc

from harness import (INOUT, MIB, SECONDS, Client, DaemonTest, inline, main, module_callable,
                     request, values_of, wait_until, wire)

Code = grpc.StatusCode
PACKAGE = "/simpler.distributed.v1."
UNARY = [PACKAGE + method for method in (
    "L3Worker/Dispatch", "L3Worker/Heartbeat", "Catalog/PullCallable", "Catalog/PushCallable",
    "TensorPool/AllocTensor", "TensorPool/FreeTensor", "TensorPool/RefreshTensor")]
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = b"\0\0\0\4\0\0\0\0\0"


def varint(value):
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def field(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data


class Hostile(DaemonTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.twice = cls.client.install(module_callable("twice_below", module="twice"))

    def tearDown(self):
        super().tearDown()
        response = self.client.dispatch(self.twice, [inline([21], INOUT)])
        self.assertEqual(values_of(response.output_tensors[0].inline_data), [42])

    # --- modules that do not play by the rules ---

    def children(self):
        """The pids of the daemon's children, the dead that nobody has waited for among them."""
        pid = self.daemon.process.pid
        return set(pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split())

    def test_a_module_that_kills_who_tries_it_leaves_no_process_behind(self):
        before = self.children()
        module = module_callable("of_a_trial", module="trial_kills_its_parent")
        for _ in range(20):
            self.refused(Code.INVALID_ARGUMENT, ["process that tried to load it was killed"],
                         self.client.install, module)
        wait_until(lambda: self.children() == before, "all of them are gone")

    # --- below gRPC ---

    def send_bytes(self, data):
        """What the daemon answers to bytes on a connection of their own."""
        host, port = self.daemon.address.rsplit(":", 1)
        with socket.create_connection((host, int(port)), timeout=SECONDS) as peer:
            try:
                peer.sendall(data)
                peer.shutdown(socket.SHUT_WR)
                while peer.recv(65536):
                    pass
            except OSError:
                pass  # it may hang up at any time

    def test_garbage_instead_of_HTTP_2(self):
        for data in (b"", b"\0" * 100000, b"\xff" * 100000, bytes(range(256)) * 500,
                     b"GET / HTTP/1.1\r\nHost: node\r\n\r\n", PREFACE[:10],
                     PREFACE + b"\xff" * 100000, PREFACE + SETTINGS + b"\0\0\1\1\5\0\0\0\1\xff",
                     PREFACE + SETTINGS + b"\xff\xff\xff\0\0\0\0\0\1",
                     b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"a" * 500):
            with self.subTest(data=data[:20], size=len(data)):
                self.send_bytes(data)
                self.assertTrue(self.client.heartbeat().ok)

    def test_connections_that_say_nothing(self):
        host, port = self.daemon.address.rsplit(":", 1)
        peers = [socket.create_connection((host, int(port)), timeout=SECONDS)
                 for _ in range(50)]
        self.assertTrue(self.client.heartbeat().ok)
        for peer in peers:
            peer.close()

    # --- below the program ---

    def test_a_daemon_that_is_started_without_standard_streams(self):
        with tempfile.TemporaryDirectory(prefix="simpler-hostile-") as folder:
            path = pathlib.Path(folder, "port")
            process = subprocess.Popen(
                [os.environ["SIMPLER_L3D"], "--listen", "127.0.0.1:0", "--sub-workers", "1",
                 "--pool-bytes", "1M", "--port-file", path],
                preexec_fn=lambda: os.closerange(0, 3))
            try:
                wait_until(path.exists, "the daemon has told its address")
                client = Client(path.read_text().strip())
                client.install(self.twice)
                response = client.dispatch(self.twice, [inline([21], INOUT)])
                self.assertEqual(values_of(response.output_tensors[0].inline_data), [42])
                client.close()
                process.terminate()
                self.assertEqual(process.wait(timeout=SECONDS), 0)
            finally:
                process.kill()
                process.wait()

    def test_a_port_file_that_is_no_file(self):
        with tempfile.TemporaryDirectory(prefix="simpler-hostile-") as folder:
            path = pathlib.Path(folder, "fifo")
            os.mkfifo(path)
            outcome = subprocess.run(
                [os.environ["SIMPLER_L3D"], "--listen", "127.0.0.1:0", "--sub-workers", "1",
                 "--pool-bytes", "1M", "--port-file", path],
                stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS)
            self.assertEqual(outcome.returncode, 1)
            self.assertIn(b"no regular file", outcome.stderr)
            self.assertTrue(path.is_fifo())

    # --- below protobuf ---

    def test_a_message_over_64_MiB(self):
        for path in UNARY:
            with self.subTest(path):
                self.refused(Code.RESOURCE_EXHAUSTED, [], self.client.raw, path,
                             bytes(64 * MIB + 1))
        chunk = wire.TensorChunk(handle=wire.TensorHandle(nbytes=8), data=bytes(65 * MIB))
        self.refused(Code.RESOURCE_EXHAUSTED, [], self.client.push, [chunk])

    def test_unknown_methods(self):
        for path in (PACKAGE + "L3Worker/Nothing", PACKAGE + "Nothing/Heartbeat", "/nothing/at",
                     "/", "/simpler.distributed.v1.L3Worker/Heartbeat/"):
            with self.subTest(path):
                self.refused(Code.UNIMPLEMENTED, [], self.client.raw, path, b"")

    def test_bytes_that_are_no_message(self):
        for path in UNARY:
            if path.endswith("Heartbeat"):
                continue  # whoever asks gets an answer
            for data in (b"\xff" * 40, b"\x0a", b"\x0a\xff\xff\xff\xff\x0f", b"\x08" + b"\xff" * 11,
                         b"\x07", b"\x00\x00", field(1, b"")[:-1]):
                with self.subTest(path, data=data[:12]):
                    details = self.refused(Code.INVALID_ARGUMENT, [], self.client.raw, path, data)
                    self.assertGreater(len(details), 20)
        for path in PACKAGE + "TensorPool/PullTensor", PACKAGE + "TensorPool/PushTensor":
            call = self.client.channel.stream_stream(path)
            with self.subTest(path):
                details = self.refused(Code.INVALID_ARGUMENT, [], lambda each: list(
                    each(iter([b"\xff" * 40]), timeout=SECONDS)), call)
                self.assertGreater(len(details), 20)

    def test_truncated_messages(self):
        whole = request(self.twice, [inline([1, 2], INOUT)], [3],
                        config_blob=b"\x08\x01").SerializeToString()
        for size in range(1, len(whole)):
            try:  # cut between two fields it is another message, and may be a good one
                wire.DispatchReq.FromString(whole[:size])
            except Exception:
                with self.subTest(size=size):
                    self.refused(Code.INVALID_ARGUMENT, [], self.client.raw, UNARY[0],
                                 whole[:size])

    def test_fields_of_newer_clients_are_passed_over(self):
        data = request(self.twice, [inline([1, 2], INOUT)]).SerializeToString()
        answer = self.client.raw(UNARY[0], data + field(1000, b"new") + varint(2000 << 3) + b"\1")
        outcome = wire.DispatchResp.FromString(answer)
        self.assertEqual(values_of(outcome.output_tensors[0].inline_data), [2, 4])

    def test_scalars_that_are_not_packed(self):
        data = request(self.twice, [inline([1], INOUT)]).SerializeToString()
        answer = self.client.raw(UNARY[0], data + b"\x28\1\x28\2")
        outcome = wire.DispatchResp.FromString(answer)
        self.assertEqual(values_of(outcome.output_tensors[0].inline_data), [2])

    def test_text_that_is_not_UTF_8(self):
        handle = field(1, b"\xff\xfe\xfd")
        self.refused(Code.INVALID_ARGUMENT, ["UTF-8"], self.client.raw,
                     PACKAGE + "TensorPool/FreeTensor", field(1, handle))

    def test_text_that_is_too_long(self):
        for name, limit in ("node_id", 63), ("transport", 31), ("transport_desc", 1024):
            text = (b"x" if name == "transport_desc" else "x") * (limit + 1)
            with self.subTest(name):
                self.refused(Code.INVALID_ARGUMENT, [name, str(limit)], self.client.free,
                             wire.TensorHandle(**{name: text}, handle_id=1))

    def test_a_node_id_of_control_characters_cannot_spoil_an_answer(self):
        handle = wire.TensorHandle(node_id="a\nb\x1b[31m\0", handle_id=1)
        with self.assertRaises(grpc.RpcError) as caught:
            self.client.free(handle)
        self.assertIn(caught.exception.code(), (Code.NOT_FOUND, Code.INVALID_ARGUMENT))
        self.assertNotIn("\x1b", caught.exception.details())

    def test_very_many_fields(self):
        """Each takes memory in a decoder before its count is looked at."""
        for what, data in (
                ("references", field(7, b"") * 1000000),
                ("addresses", field(6, b"") * 1000000),
                ("scalars", b"\x28\1" * 5000000),
                ("packed scalars", field(5, b"\1" * 10000000)),
                ("unknown fields", (varint(1000 << 3) + b"\1") * 2000000)):
            with self.subTest(what):
                self.refused(Code.INVALID_ARGUMENT, [], self.client.raw, UNARY[0], data)
        self.refused(Code.INVALID_ARGUMENT, [], self.client.raw, PACKAGE + "TensorPool/AllocTensor",
                     field(10, b"\1" * 10000000))

    def test_compressed_messages(self):
        call = self.client.channel.unary_unary(PACKAGE + "TensorPool/AllocTensor")
        with self.assertRaises(grpc.RpcError) as caught:
            call(bytes(MIB), timeout=SECONDS, compression=grpc.Compression.Gzip)
        self.assertIn(caught.exception.code(), (Code.UNIMPLEMENTED, Code.INVALID_ARGUMENT))

    # --- above ---

    def test_calls_that_are_given_up(self):
        handle = self.client.alloc(16 * MIB)
        for _ in range(20):
            pull = self.client.pool.PullTensor(handle, timeout=SECONDS)
            next(pull)
            pull.cancel()
            self.client.dispatch_later(self.twice, [inline([1], INOUT)]).cancel()
        self.client.free(handle)
        wait_until(self.pool_is_free, "the tensor is gone")

    def test_clients_that_vanish(self):
        handle = self.client.alloc(16 * MIB)
        for _ in range(5):
            client = Client(self.daemon.address)
            pull = client.pool.PullTensor(handle, timeout=SECONDS)
            next(pull)
            client.dispatch_later(self.twice, [inline([1], INOUT)])
            client.close()
        self.client.free(handle)
        wait_until(self.pool_is_free, "the tensor is gone")

    def test_a_pull_that_nobody_reads_does_not_hold_up_others(self):
        handle = self.client.alloc(24 * MIB)
        lazy = Client(self.daemon.address)
        pulls = [lazy.pool.PullTensor(handle, timeout=SECONDS) for _ in range(4)]
        for pull in pulls:
            next(pull)
        self.assertEqual(len(self.client.pull(handle)), 24 * MIB)
        lazy.close()
        self.client.free(handle)

    def test_a_push_that_stalls_does_not_hold_up_others(self):
        stop = threading.Event()

        def chunks(handle):
            yield wire.TensorChunk(handle=handle, data=b"x")
            stop.wait(SECONDS)

        handles = [self.client.alloc(8) for _ in range(8)]
        calls = [self.client.pool.PushTensor.future(chunks(handle), timeout=SECONDS)
                 for handle in handles]
        other = self.client.tensor([1, 2, 3])
        self.assertEqual(self.client.values(other), [1, 2, 3])
        stop.set()
        for call in calls:
            call.result()
        for handle in handles + [other]:
            self.client.free(handle)

    def test_reading_what_a_later_chunk_of_another_tensor_wrote(self):
        """A handle in a chunk may be another one; each chunk goes where it says, or is refused."""
        a, b = self.client.alloc(8), self.client.alloc(8)
        try:
            self.client.push([wire.TensorChunk(handle=a, data=b"a" * 8),
                              wire.TensorChunk(handle=b, data=b"b" * 8, last=True)])
            self.assertEqual((self.client.pull(a), self.client.pull(b)), (b"a" * 8, b"b" * 8))
        except grpc.RpcError as error:
            self.assertEqual(error.code(), Code.INVALID_ARGUMENT)
            self.assertEqual(self.client.pull(b), bytes(8))
        self.client.free(a)
        self.client.free(b)


main()
