#!/usr/bin/python3
"""Storage on a node, as a Python client sees it."""
import threading
import time

import grpc

from harness import (FLOAT32, INT64, MIB, SECONDS, DaemonTest, chunks_of, main, wait_until,
                     wire)

Code = grpc.StatusCode


def pattern(size):
    return bytes(range(251)) * (size // 251 + 1)


class Storage(DaemonTest):
    def test_heartbeat(self):
        self.assertTrue(self.client.heartbeat().ok)

    def test_alloc_says_what_it_gave(self):
        before = time.time() * 1000
        handle = self.client.alloc(4096, ttl_ms=60000, shape=[1024], dtype=FLOAT32)
        self.assertEqual(handle.node_id, "node-under-test")
        self.assertNotEqual(handle.handle_id, 0)
        self.assertEqual(handle.nbytes, 4096)
        self.assertEqual(handle.transport, "grpc")
        self.assertAlmostEqual(handle.lease_deadline_unix_ms, before + 60000, delta=30000)
        self.client.free(handle)

    def test_R01_no_address_is_sent(self):
        handle = self.client.alloc(64)
        for each in handle, self.client.write(handle, b"x" * 64), self.client.refresh(handle):
            self.assertEqual((each.remote_addr, each.rkey), (0, 0))
        self.client.free(handle)

    def test_R01_a_sent_address_is_not_looked_at(self):
        handle = self.client.write(self.client.alloc(64), b"x" * 64)
        handle.remote_addr, handle.rkey = 0xdeadbeef, 7
        self.assertEqual(self.client.pull(handle), b"x" * 64)
        self.client.free(handle)

    def test_fresh_storage_reads_as_zero(self):
        handle = self.client.write(self.client.alloc(MIB), pattern(MIB)[:MIB])
        self.client.free(handle)
        handle = self.client.alloc(MIB)
        self.assertEqual(self.client.pull(handle), bytes(MIB))
        self.client.free(handle)

    def test_chunks_that_all_repeat_the_handle(self):
        size = 5 * MIB + 12345
        data = pattern(size)[:size]
        handle = self.client.alloc(size)
        pushed = self.client.push(chunks_of(handle, data))
        self.assertEqual((pushed.handle_id, pushed.nbytes), (handle.handle_id, size))
        self.assertEqual(self.client.pull(handle), data)
        self.client.free(handle)

    def test_chunks_without_a_handle_continue(self):
        size = 3 * MIB + 1
        data = pattern(size)[:size]
        handle = self.client.alloc(size)
        self.client.push(chunks_of(handle, data, repeat=False))
        self.assertEqual(self.client.pull(handle), data)
        self.client.free(handle)

    def test_offsets_are_absolute(self):
        handle = self.client.write(self.client.alloc(10), b"0123456789")
        self.client.push([
            wire.TensorChunk(handle=handle, offset=7, data=b"ccc"),
            wire.TensorChunk(handle=handle, offset=0, data=b"aa", last=True),
        ])
        self.assertEqual(self.client.pull(handle), b"aa23456ccc")
        self.client.free(handle)

    def test_a_push_with_a_span_writes_its_runs(self):
        handle = self.client.write(self.client.alloc(12), b"." * 12)
        self.client.write_span(handle, b"aabbc", wire.TensorSpan(
            offset=1, run_bytes=2, pitch=4, runs=3))
        self.assertEqual(self.client.pull(handle), b".aa..bb..c..")
        self.client.free(handle)

    def test_chunks_of_a_span_count_its_packed_bytes(self):
        rows, width, pitch = 700, 3000, 4096
        handle = self.client.alloc(rows * pitch)
        data = pattern(rows * width)[:rows * width]
        self.client.write_span(handle, data, wire.TensorSpan(
            offset=96, run_bytes=width, pitch=pitch, runs=rows))
        have = self.client.pull(handle)
        for row in range(rows):
            at = row * pitch
            self.assertEqual(have[at:at + 96], bytes(96))
            self.assertEqual(have[at + 96:at + 96 + width], data[row * width:(row + 1) * width])
        self.client.free(handle)

    def test_pull_covers_the_tensor_in_order(self):
        size = 3 * MIB + 5
        handle = self.client.alloc(size)
        chunks = self.client.pull_chunks(handle)
        at = 0
        for chunk in chunks:
            self.assertEqual(chunk.offset, at)
            at += len(chunk.data)
        self.assertEqual(at, size)
        self.assertEqual([chunk.last for chunk in chunks],
                         [False] * (len(chunks) - 1) + [True])
        self.assertEqual(chunks[0].handle.handle_id, handle.handle_id)
        self.client.free(handle)

    def test_a_push_whose_first_handle_is_0_allocates(self):
        size = 2 * MIB + 3
        data = pattern(size)[:size]
        new = wire.TensorHandle(nbytes=size)
        handle = self.client.push(chunks_of(new, data))
        self.assertNotEqual(handle.handle_id, 0)
        self.assertEqual((handle.node_id, handle.nbytes), ("node-under-test", size))
        self.assertEqual(self.client.pull(handle), data)
        self.client.free(handle)

    def test_a_push_of_no_chunk_allocates_nothing_and_still_gives_a_handle(self):
        handle = self.client.push([])
        self.assertNotEqual(handle.handle_id, 0)
        self.assertEqual(handle.nbytes, 0)
        self.assertEqual(self.client.pull(handle), b"")
        self.client.free(handle)

    def test_a_pull_of_an_empty_tensor_is_one_empty_chunk(self):
        handle = self.client.alloc(0)
        chunks = self.client.pull_chunks(handle)
        self.assertEqual([(chunk.data, chunk.last) for chunk in chunks], [(b"", True)])
        self.client.free(handle)

    def test_refresh_moves_the_deadline(self):
        handle = self.client.alloc(64, ttl_ms=60000)
        later = self.client.refresh(handle, ttl_ms=600000)
        self.assertEqual((later.handle_id, later.nbytes), (handle.handle_id, 64))
        self.assertGreater(later.lease_deadline_unix_ms, handle.lease_deadline_unix_ms + 400000)
        self.client.free(handle)

    def test_a_lease_that_nobody_renews_ends(self):
        handle = self.client.alloc(64, ttl_ms=50)
        # Not by looking at the handle: using storage renews its lease.
        wait_until(self.pool_is_free, "the lease is over")
        self.refused(Code.FAILED_PRECONDITION, [], self.client.pull, handle)


class Refusals(DaemonTest):
    """Each of these is refused before it touches anything."""

    def users_of(self, handle):
        chunk = wire.TensorChunk(handle=handle, data=b"x", last=True)
        return ((self.client.pull, handle), (self.client.free, handle),
                (self.client.refresh, handle), (self.client.push, [chunk]))

    def test_an_unknown_handle(self):
        unknown = wire.TensorHandle(node_id="node-under-test", handle_id=(1 << 32) | 0xfff0)
        for call, argument in self.users_of(unknown):
            with self.subTest(call.__name__):
                self.refused(Code.NOT_FOUND, ["handle"], call, argument)

    def test_a_foreign_node(self):
        handle = self.client.alloc(64)
        foreign = wire.TensorHandle(node_id="some-other-node", handle_id=handle.handle_id,
                                    nbytes=64)
        for call, argument in self.users_of(foreign):
            with self.subTest(call.__name__):
                self.refused(Code.NOT_FOUND, ["some-other-node", "node-under-test"],
                             call, argument)
        self.client.free(handle)

    def test_a_stale_handle(self):
        handle = self.client.alloc(64)
        self.client.free(handle)
        again = self.client.alloc(64)  # may take the same slot, with another generation
        for call, argument in self.users_of(handle):
            with self.subTest(call.__name__):
                self.refused(Code.FAILED_PRECONDITION, [], call, argument)
        self.assertEqual(self.client.pull(again), bytes(64))
        self.client.free(again)

    def test_no_handle_where_one_is_needed(self):
        for call in self.client.pull, self.client.free, self.client.refresh:
            with self.subTest(call.__name__):
                with self.assertRaises(grpc.RpcError) as caught:
                    call(wire.TensorHandle())
                self.assertIn(caught.exception.code(), (Code.INVALID_ARGUMENT, Code.NOT_FOUND))

    def test_a_write_out_of_range(self):
        handle = self.client.write(self.client.alloc(100), b"a" * 100)
        for offset, size in (100, 1), (99, 2), (0, 101), (1 << 63, 1), ((1 << 64) - 1, 1):
            with self.subTest(offset=offset, size=size):
                chunk = wire.TensorChunk(handle=handle, offset=offset, data=b"b" * size,
                                         last=True)
                self.refused(Code.INVALID_ARGUMENT, [str(offset), f"{size} bytes"],
                             self.client.push, [chunk])
        self.assertEqual(self.client.pull(handle), b"a" * 100)
        self.client.free(handle)

    def test_a_span_that_cannot_be(self):
        handle = self.client.write(self.client.alloc(100), b"a" * 100)
        for fields, text in (
                ((0, 101, 0, 1), "span ends at 101"),
                ((99, 2, 0, 1), "span ends at 101"),
                ((0, 8, 7, 2), "they overlap"),
                ((0, 1, 1, (1 << 64) - 1), "past 2^63-1"),
                ((0, 1, 50, 3), "span ends at 101"),
                (((1 << 64) - 1, 1, 0, 1), "past 2^63-1")):
            span = wire.TensorSpan(**dict(zip(("offset", "run_bytes", "pitch", "runs"), fields)))
            with self.subTest(fields):
                self.refused(Code.INVALID_ARGUMENT, [text],
                             self.client.write_span, handle, b"b", span)
        few = wire.TensorSpan(offset=10, run_bytes=2, pitch=4, runs=2)
        self.refused(Code.INVALID_ARGUMENT, ["5 bytes at offset 0", "the span's 4 bytes"],
                     self.client.write_span, handle, b"bbbbb", few)
        late = [wire.TensorChunk(handle=handle, data=b"a"),
                wire.TensorChunk(data=b"a", offset=1, span=few, last=True)]
        self.refused(Code.INVALID_ARGUMENT, ["after the first has a span"],
                     self.client.push, late)
        self.assertEqual(self.client.pull(handle), b"a" * 100)
        self.client.free(handle)

    def test_a_first_chunk_without_handle(self):
        with self.assertRaises(grpc.RpcError) as caught:
            self.client.push([wire.TensorChunk(data=b"x", last=True)])
        self.assertEqual(caught.exception.code(), Code.INVALID_ARGUMENT)

    def test_a_push_past_capacity_names_the_numbers(self):
        held = self.client.alloc(MIB)
        asked = self.pool_bytes + 1
        new = wire.TensorHandle(nbytes=asked)
        text = self.refused(Code.RESOURCE_EXHAUSTED, [], self.client.push,
                            [wire.TensorChunk(handle=new, data=b"x")])
        for number in asked, MIB, self.pool_bytes:
            self.assertIn(str(number), text)
        self.client.free(held)

    def test_an_allocation_past_capacity_names_the_numbers(self):
        held = self.client.alloc(2 * MIB)
        asked = self.pool_bytes
        text = self.refused(Code.RESOURCE_EXHAUSTED, [], self.client.alloc, asked)
        for number in asked, 2 * MIB, self.pool_bytes:
            self.assertIn(str(number), text)
        self.client.free(held)

    def test_an_allocation_of_any_number_of_bytes_is_answered(self):
        for nbytes in (1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 1):
            with self.subTest(nbytes=nbytes):
                with self.assertRaises(grpc.RpcError) as caught:
                    self.client.alloc(nbytes)
                self.assertIn(caught.exception.code(),
                              (Code.RESOURCE_EXHAUSTED, Code.INVALID_ARGUMENT))

    def test_shapes_and_types_that_make_no_sense(self):
        for more, name in (
                ({"shape": [-1], "dtype": INT64}, "shape"),
                ({"shape": [1 << 62, 8], "dtype": INT64}, "shape"),
                ({"shape": [1 << 32, 1 << 32], "dtype": INT64}, "shape"),
                ({"shape": [1] * 9, "dtype": INT64}, "shape"),
                ({"shape": [3], "dtype": INT64}, "shape"),  # 24 bytes, 8 asked
                ({"shape": [8], "dtype": 99}, "dtype"),
                ({"shape": [8], "dtype": -1}, "dtype"),
                ({"tag": 5}, "tag"),
                ({"tag": -1}, "tag")):
            with self.subTest(**more):
                self.refused(Code.INVALID_ARGUMENT, [name], self.client.alloc, 8, **more)

    def test_whatever_was_refused_took_no_room(self):
        for _ in range(8):
            handle = self.client.alloc(4 * MIB)
            chunk = wire.TensorChunk(handle=handle, offset=4 * MIB, data=b"x", last=True)
            self.refused(Code.INVALID_ARGUMENT, [], self.client.push, [chunk])
            self.client.free(handle)
            # A push that allocates and then fails gives back what it took.
            new = wire.TensorHandle(nbytes=4 * MIB)
            self.refused(Code.INVALID_ARGUMENT, [], self.client.push, [
                wire.TensorChunk(handle=new, data=b"x"),
                wire.TensorChunk(offset=5 * MIB, data=b"x", last=True)])
        self.client.free(self.client.alloc(self.pool_bytes))

    def test_a_push_that_is_given_up_takes_no_room(self):
        given_up = threading.Event()

        def chunks():
            yield wire.TensorChunk(handle=wire.TensorHandle(nbytes=4 * MIB), data=b"x")
            given_up.wait(SECONDS)

        call = self.client.pool.PushTensor.future(chunks(), timeout=SECONDS)
        wait_until(lambda: not self.pool_is_free(), "the push has allocated")
        call.cancel()
        given_up.set()
        wait_until(self.pool_is_free, "the daemon has given back what the push took")


main()
