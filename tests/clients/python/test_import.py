#!/usr/bin/python3
"""Tensors that other nodes, or other sessions of one node, import: bytes go from node to node, and
the client only carries the grant."""
import concurrent.futures
import itertools
import os
import signal
import socket
import struct
import tempfile
import threading
import unittest

import grpc

from harness import (INOUT, INPUT, MIB, OUTPUT, SECONDS, Client, Daemon, DaemonTest, main,
                     module_callable, stored, wait_until, wire, wire_grpc)

Code = grpc.StatusCode
PAGE = 4096
SIZES = (0, 1, PAGE - 1, PAGE, PAGE + 1, MIB - 1, MIB, MIB + 1, 7 * MIB + 3)


def pattern(size):
    return (bytes(range(251)) * (size // 251 + 1))[:size]


class Importing(DaemonTest):
    """Node A is the class's daemon, and B another one; a session of one number on both."""

    more, log = (), None  # options of node B, and where its log goes
    wrong_sizes = (MIB - 1, "came where"), (MIB + 1, "bytes came"), (0, "came where")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.other = Daemon("--sub-workers", "1", "--pool-bytes", "32M", "--node-id", "node-b",
                           *cls.more, log=cls.log)

    @classmethod
    def tearDownClass(cls):
        cls.other.ask_to_stop()
        status = cls.other.wait()
        super().tearDownClass()
        if status != 0:
            raise AssertionError(f"node B ended with {status} after SIGTERM")

    def setUp(self):
        self.a = Client(self.daemon.address, "a1")
        self.b = Client(self.other.address, "a1")
        self.neighbour = Client(self.daemon.address, "b2")
        self.clients = self.a, self.b, self.neighbour
        for client in self.clients:
            client.attach()

    def tearDown(self):
        for client in self.clients:
            client.detach()
            client.close()
        super().tearDown()
        wait_until(self.pool_is_free, "nothing is left on node A")
        wait_until(self.all_of_b, "nothing is left on node B")

    # --- from another node ---

    def test_bytes_come_from_the_other_node(self):
        for size in SIZES:
            with self.subTest(size=size):
                there = self.a.write(self.a.alloc(size), pattern(size))
                here = self.b.import_(self.a.export(there), self.daemon.address)
                self.assertEqual((here.node_id, here.nbytes), ("node-b", size))
                self.assertEqual(self.b.pull(here), pattern(size))
                self.a.free(there)
                self.b.free(here)

    def test_what_was_imported_from_another_node_is_a_copy_of_ones_own(self):
        twice = self.b.install(module_callable("twice_below", module="twice"))
        there = self.a.tensor([1, 2, 3])
        grant = self.a.export(there)
        here = self.b.import_(grant, self.daemon.address, ttl_ms=3600000)
        self.a.free(there)
        self.a.release(grant)
        response = self.b.dispatch(twice, [stored(here, 3, INOUT)])
        self.assertEqual((response.error_code, response.error_msg), (0, ""))
        self.assertEqual(self.b.values(here), [2, 4, 6])

    def test_a_handle_of_another_node_is_no_argument_before_it_is_imported(self):
        twice = self.b.install(module_callable("twice_below", module="twice"))
        there = self.a.tensor([1, 2, 3])
        self.refused(Code.NOT_FOUND, ["node-under-test", "node-b"], self.b.dispatch, twice,
                     [stored(there, 3, INOUT)])

    def test_many_imports_at_once(self):
        there = [self.a.tensor([i]) for i in range(40)]
        calls = [self.b.pool.ImportTensor.future(
            wire.TensorImportReq(grant=self.a.export(handle), address=self.daemon.address),
            timeout=SECONDS, metadata=self.b.metadata) for handle in there]
        for i, call in enumerate(calls):
            self.assertEqual(self.b.values(call.result()), [i])

    # --- from another session of the node ---

    def test_on_one_node_it_is_the_same_storage(self):
        mine = self.a.write(self.a.alloc(20 * MIB), pattern(20 * MIB))
        grant = self.a.export(mine, write=True)
        his = self.neighbour.import_(grant, "")  # no room for another 20 MiB
        self.assertNotEqual(his.handle_id, mine.handle_id)
        self.neighbour.push([wire.TensorChunk(handle=his, data=b"new", last=True)])
        self.assertEqual(self.a.read(mine, wire.TensorSpan(run_bytes=3, runs=1)), b"new")
        self.a.release(grant)
        self.a.detach()  # the owner goes, and the storage stays
        self.assertEqual(self.neighbour.pull(his)[3:], pattern(20 * MIB)[3:])
        self.assertFalse(self.pool_is_free())
        self.neighbour.free(his)
        wait_until(self.pool_is_free, "the last one has let go")

    def test_what_was_granted_for_reading_is_not_written(self):
        twice = self.client.install(module_callable("twice_below", module="twice"))
        mine = self.a.tensor([1, 2, 3])
        his = self.neighbour.import_(self.a.export(mine), "")
        chunk = wire.TensorChunk(handle=his, data=b"x", last=True)
        self.refused(Code.PERMISSION_DENIED, ["imported for reading"], self.neighbour.push,
                     [chunk])
        for tag in INOUT, OUTPUT:
            self.refused(Code.PERMISSION_DENIED, ["tensor_refs[0]", "imported for reading"],
                         self.neighbour.dispatch, twice, [stored(his, 3, tag)])
        self.refused(Code.PERMISSION_DENIED, ["exported for writing"], self.neighbour.export, his,
                     write=True)
        add = self.client.install(module_callable("add_below"))
        total = self.neighbour.alloc(24)
        response = self.neighbour.dispatch(add, [stored(his, 3, INPUT), stored(his, 3, INPUT),
                                                 stored(total, 3, OUTPUT)])
        self.assertEqual((response.error_code, response.error_msg), (0, ""))
        self.assertEqual(self.neighbour.values(total), [2, 4, 6])

    # --- what fails ---

    def test_without_the_right_token_nothing_is_imported(self):
        grant = self.a.export(self.a.alloc(MIB))
        grant.token = bytes([grant.token[0] ^ 1]) + grant.token[1:]
        self.refused(Code.PERMISSION_DENIED, ["no grant"], self.neighbour.import_, grant, "")
        self.refused(Code.PERMISSION_DENIED,
                     ["importing from node 'node-under-test'", self.daemon.address, "no grant"],
                     self.b.import_, grant, self.daemon.address)

    def test_a_grant_that_claims_another_size_is_refused(self):
        for size, text in self.wrong_sizes:
            grant = self.a.export(self.a.alloc(MIB))
            grant.handle.nbytes = size
            with self.subTest(size=size):
                self.refused(Code.DATA_LOSS, [text], self.b.import_, grant, self.daemon.address)

    def test_a_full_pool_says_so(self):
        held = self.b.alloc(31 * MIB)
        grant = self.a.export(self.a.alloc(2 * MIB))
        self.refused(Code.RESOURCE_EXHAUSTED, [str(2 * MIB), str(31 * MIB)], self.b.import_, grant,
                     self.daemon.address)
        self.b.free(held)

    def test_addresses_that_make_no_sense_or_lead_elsewhere(self):
        grant = self.a.export(self.a.alloc(8))
        for address in "", "nonsense", "127.0.0.1", "unix:relative", "http://127.0.0.1:80":
            with self.subTest(address):
                self.refused(Code.INVALID_ARGUMENT, ["address"], self.b.import_, grant, address)
        for address in "10.0.0.1:5050", "169.254.169.254:80", "[2001:db8::1]:5050", "example:80":
            with self.subTest(address):
                self.refused(Code.PERMISSION_DENIED, [address, "another machine"], self.b.import_,
                             grant, address)

    def test_a_node_that_is_not_there_is_named(self):
        grant = self.a.export(self.a.alloc(8))
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{nobody.getsockname()[1]}"
            self.refused(Code.UNAVAILABLE, ["node-under-test", address], self.b.import_, grant,
                         address)
        self.refused(Code.NOT_FOUND, ["node-under-test", "node-b"], self.b.import_, grant,
                     self.other.address)

    def import_from_silence(self, **more):
        """From somebody who takes the connection and says nothing."""
        grant = self.a.export(self.a.alloc(8 * MIB))
        silent = socket.create_server(("127.0.0.1", 0))
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        call = self.b.pool.ImportTensor.future(
            wire.TensorImportReq(grant=grant, address=address), metadata=self.b.metadata, **more)
        return call, silent

    def all_of_b(self):
        client = Client(self.other.address)
        try:
            client.free(client.alloc(self.pool_bytes))
            return True
        except grpc.RpcError:
            return False
        finally:
            client.close()

    def test_the_deadline_of_an_import_ends_it(self):
        call, silent = self.import_from_silence(timeout=0.3)
        self.assertEqual(call.exception(timeout=SECONDS).code(), Code.DEADLINE_EXCEEDED)
        wait_until(self.all_of_b, "node B has taken back the storage")
        silent.close()

    def test_an_import_from_a_node_that_stays_silent_ends_without_a_deadline(self):
        taker = Daemon("--sub-workers", "1", "--node-id", "node-d", "--import-timeout", "1")
        client = Client(taker.address)
        grant = self.a.export(self.a.alloc(8))
        with socket.create_server(("127.0.0.1", 0)) as silent:
            address = f"127.0.0.1:{silent.getsockname()[1]}"
            call = client.pool.ImportTensor.future(wire.TensorImportReq(grant=grant, address=address))
            error = call.exception(timeout=SECONDS)
        self.assertEqual(error.code(), Code.DEADLINE_EXCEEDED, error.details())
        for text in "node-under-test", address, "nothing came from it for 1 s":
            self.assertIn(text, error.details())
        wait_until(lambda: client.status().pool.handles == 0, "the storage is given back")
        client.close()
        taker.ask_to_stop()
        self.assertEqual(taker.wait(), 0)

    def test_an_import_that_is_cancelled_leaves_nothing(self):
        call, silent = self.import_from_silence(timeout=SECONDS)
        wait_until(lambda: not self.all_of_b(), "node B has made room")
        call.cancel()
        wait_until(self.all_of_b, "node B has taken back the storage")
        silent.close()

    def test_an_owner_that_dies_in_the_middle_is_an_error(self):
        owner = Daemon("--sub-workers", "1", "--pool-bytes", "32M", "--node-id", "node-c")
        client = Client(owner.address)
        grant = client.export(client.alloc(20 * MIB))
        os.kill(owner.process.pid, signal.SIGSTOP)
        call = self.b.pool.ImportTensor.future(
            wire.TensorImportReq(grant=grant, address=owner.address), timeout=SECONDS,
            metadata=self.b.metadata)
        wait_until(lambda: not self.all_of_b(), "node B has made room")
        os.kill(owner.process.pid, signal.SIGKILL)
        error = call.exception(timeout=SECONDS)
        self.assertEqual(error.code(), Code.UNAVAILABLE, error.details())
        self.assertIn("node-c", error.details())
        wait_until(self.all_of_b, "node B has taken back the storage")
        owner.wait()
        client.close()

    def test_a_daemon_that_drains_ends_what_it_imports(self):
        taker = Daemon("--sub-workers", "1", "--node-id", "node-d")
        client = Client(taker.address)
        grant = self.a.export(self.a.alloc(8))
        silent = socket.create_server(("127.0.0.1", 0))
        call = client.pool.ImportTensor.future(
            wire.TensorImportReq(grant=grant,
                                 address=f"127.0.0.1:{silent.getsockname()[1]}"),
            timeout=SECONDS)
        connection, _ = silent.accept()
        taker.ask_to_stop()
        self.assertEqual(taker.wait(), 0)
        self.assertIsNotNone(call.exception(timeout=SECONDS))
        connection.close()
        silent.close()
        client.close()


class Elsewhere(wire_grpc.TensorPoolServicer):
    """Another node, of bytes that all are 7. It lends them where no fabric's endpoint is, twice."""

    def __init__(self):
        self.asked, self.numbers = [], itertools.count(1)
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(100))
        wire_grpc.add_TensorPoolServicer_to_server(self, self.server)
        self.address = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        self.server.start()

    def place(self, nbytes):
        """Of tcp, with another address each time."""
        address = struct.pack("=H", socket.AF_INET) + struct.pack(
            ">H4B8x", 1, 127, 0, 1, next(self.numbers))
        return struct.pack("<IBBHIQQQ", 1, 2, len(address), 0, 0, 5, 0, nbytes) + address

    def ReadTensor(self, request, context):
        self.asked.append(request.fabric)
        nbytes = request.handle.nbytes
        if request.fabric:
            handle = wire.TensorHandle(handle_id=5, nbytes=nbytes)
            handle.also.add(transport="fabric", desc=self.place(nbytes))
            ended = threading.Event()
            context.add_callback(ended.set)
            for _ in range(2):
                yield wire.TensorChunk(handle=handle)
            ended.wait(SECONDS)
        else:
            yield wire.TensorChunk(data=bytes([7]) * nbytes, last=True)


class ImportingByFabric(Importing):
    """All of it where both nodes have a fabric."""

    options = Importing.options + ("--fabric", "auto")
    wrong_sizes = [(size, "names another size") for size in (MIB - 1, MIB + 1, 0)]

    @classmethod
    def setUpClass(cls):
        cls.log = tempfile.TemporaryFile()
        cls.more = ("--fabric", "auto", "--log-level", "debug")
        super().setUpClass()
        why = [each.why_not for each in cls.client.status().transports if each.name == "fabric"]
        if why != [""]:
            cls.tearDownClass()
            raise unittest.SkipTest(f"no fabric is here: {why}")

    def said(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace")

    def joined(self):
        return {each.name: each.sessions for each in self.client.status().transports}

    def test_status_tells_how_many_sessions_have_joined(self):
        wait_until(lambda: self.joined()["fabric"] == 0, "sessions of other tests are over")
        for session in self.a, self.neighbour, self.a:
            session.pool.JoinFabric(wire.FabricReq(provider="tcp"), timeout=SECONDS,
                                    metadata=session.metadata)
        self.assertEqual(self.joined(), {"grpc": 0, "shm": 0, "fabric": 2})
        self.neighbour.detach()
        wait_until(lambda: self.joined()["fabric"] == 1, "a session is over")
        self.neighbour.attach()

    def test_bytes_are_read_by_the_fabric(self):
        there = self.a.write(self.a.alloc(5 * MIB + 3), pattern(5 * MIB + 3))
        here = self.b.import_(self.a.export(there), self.daemon.address)
        self.assertEqual(self.b.pull(here), pattern(5 * MIB + 3))
        self.assertIn(f"{5 * MIB + 3} bytes came from node 'node-under-test' by the fabric",
                      self.said())

    def test_what_is_lent_is_for_who_has_the_token(self):
        there = self.a.write(self.a.alloc(100), pattern(100))
        grant = self.a.export(there)
        read = wire.TensorReadReq(handle=there, token=grant.token, fabric="tcp")
        call = self.neighbour.pool.ReadTensor(read, timeout=SECONDS)
        chunk = next(call)
        self.assertEqual((chunk.data, chunk.last), (b"", False))
        self.assertEqual([each.transport for each in chunk.handle.also], ["fabric"])
        call.cancel()
        read.token = bytes([grant.token[0] ^ 1]) + grant.token[1:]
        self.refused(Code.PERMISSION_DENIED, ["no grant"], list,
                     self.neighbour.pool.ReadTensor(read, timeout=SECONDS))
        read.token, read.fabric = grant.token, "of another provider"
        chunks = list(self.neighbour.pool.ReadTensor(read, timeout=SECONDS))
        self.assertEqual(b"".join(each.data for each in chunks), pattern(100))

    def test_where_the_fabric_fails_a_stream_brings_the_bytes(self):
        other = Elsewhere()
        handle = wire.TensorHandle(node_id="elsewhere", handle_id=5, nbytes=1000)
        grant = wire.TensorGrant(handle=handle, token=bytes(16))
        calls = [self.b.pool.ImportTensor.future(
            wire.TensorImportReq(grant=grant, address=other.address), timeout=SECONDS,
            metadata=self.b.metadata) for _ in range(70)]  # more than a node remembers others
        for call in calls:
            self.assertEqual(self.b.pull(call.result()), bytes([7]) * 1000)
            self.b.free(call.result())
        self.assertEqual(sorted(other.asked), [""] * 70 + ["tcp"] * 70)
        other.server.stop(None)
        self.assertEqual(self.said().count("warn"), 1)
        self.assertIn("it knows too many other nodes", self.said())


main()
