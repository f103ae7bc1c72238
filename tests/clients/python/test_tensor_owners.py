#!/usr/bin/python3
"""Whose tensors are whose: sessions, ranges that are read, grants, and what comes of an end."""
import os
import signal

import grpc

from harness import (INOUT, INPUT, MIB, NO_DEP, OUTPUT, OUTPUT_EXISTING, Client, DaemonTest,
                     main, module_callable, stored, wait_until, wire)

Code = grpc.StatusCode
SIZES = (0, 1, 4095, 4096, 4097, MIB - 1, MIB, MIB + 1)


def pattern(size):
    return (bytes(range(251)) * (size // 251 + 1))[:size]


class Owners(DaemonTest):
    """Two sessions and the one of those that have none."""

    def setUp(self):
        self.anne, self.ben = (Client(self.daemon.address, session) for session in ("a1", "b2"))
        for client in self.anne, self.ben:
            client.attach()

    def tearDown(self):
        for client in self.anne, self.ben:
            client.detach()
            client.close()
        super().tearDown()
        self.assertTrue(self.pool_is_free())

    # --- handles ---

    def test_a_handle_of_another_session_is_no_handle_here(self):
        handle = self.anne.write(self.anne.alloc(64), b"x" * 64)
        chunk = wire.TensorChunk(handle=handle, data=b"y", last=True)
        twice = self.client.install(module_callable("twice_below", module="twice"))
        for other in self.ben, self.client:
            for call, argument in ((other.pull, handle), (other.read, handle),
                                   (other.free, handle), (other.refresh, handle),
                                   (other.push, [chunk]), (other.export, handle)):
                with self.subTest(call.__name__, session=other.session):
                    self.refused(Code.NOT_FOUND, ["none that this session has"], call, argument)
            for tag in INPUT, OUTPUT, INOUT, OUTPUT_EXISTING, NO_DEP:
                self.refused(Code.NOT_FOUND, ["tensor_refs[0]"], other.dispatch, twice,
                             [stored(handle, 8, tag)])
        self.assertEqual(self.anne.pull(handle), b"x" * 64)

    def test_a_session_uses_what_is_its_own(self):
        twice = self.client.install(module_callable("twice_below", module="twice"))
        handle = self.anne.tensor([1, 2, 3])
        response = self.anne.dispatch(twice, [stored(handle, 3, INOUT)])
        self.assertEqual((response.error_code, response.error_msg), (0, ""))
        self.assertEqual(self.anne.values(handle), [2, 4, 6])

    def test_what_a_session_had_goes_with_it(self):
        handle = self.anne.alloc(MIB, ttl_ms=3600000)
        pushed = self.anne.push([wire.TensorChunk(handle=wire.TensorHandle(nbytes=4),
                                                  data=b"abcd", last=True)])
        self.anne.detach()
        self.anne.attach()
        for each in handle, pushed:
            self.refused(Code.FAILED_PRECONDITION, ["was freed"], self.anne.pull, each)

    def test_a_session_that_falls_silent_loses_what_it_had_after_its_time(self):
        silent = Client(self.daemon.address, "c3")
        silent.attach(ttl_ms=200)
        silent.alloc(self.pool_bytes, ttl_ms=3600000)
        self.assertFalse(self.pool_is_free())
        wait_until(self.pool_is_free, "the session is over")
        self.refused(Code.FAILED_PRECONDITION, ["not attached"], silent.alloc, 1)
        silent.close()

    def test_what_is_made_for_a_client_that_has_given_up_is_taken_back(self):
        """It cannot free what it was not told of, and its session renews all leases."""
        handle = self.anne.alloc(64)
        grant = self.anne.export(handle)
        calls = ((self.ben, self.ben.pool.AllocTensor, wire.TensorAllocReq(nbytes=MIB)),
                 (self.ben, self.ben.pool.ImportTensor, wire.TensorImportReq(grant=grant)),
                 (self.anne, self.anne.pool.ExportTensor, wire.TensorExportReq(handle=handle)))
        self.daemon.process.send_signal(signal.SIGSTOP)
        os.waitpid(self.daemon.process.pid, os.WUNTRACED)
        try:
            given_up = [call.future(message, timeout=0.2, metadata=client.metadata)
                        for _ in range(50) for client, call, message in calls]
            for call in given_up:
                self.assertEqual(call.exception().code(), Code.DEADLINE_EXCEEDED)
        finally:
            self.daemon.process.send_signal(signal.SIGCONT)
        self.anne.heartbeat()
        self.ben.heartbeat()  # behind what each has given up
        self.anne.release(grant)
        self.anne.free(handle)

        def nothing():
            pool = self.client.status().pool
            return (pool.handles, pool.used) == (0, 0)
        wait_until(nothing, "neither storage nor grants are left")

    def test_attaching_again_renews_each_lease_for_its_own_time(self):
        handle = self.anne.alloc(64, ttl_ms=60000)
        before = handle.lease_deadline_unix_ms
        wait_until(lambda: (self.anne.attach(), self.anne.read_chunks(handle)[0].handle)[1]
                   .lease_deadline_unix_ms > before, "the lease ends later")

    def test_calls_of_a_session_that_is_not_attached_are_refused(self):
        stranger = Client(self.daemon.address, "d4")
        handle = self.anne.alloc(8)
        chunk = wire.TensorChunk(handle=handle, data=b"y", last=True)
        for call, argument in ((stranger.alloc, 8), (stranger.pull, handle),
                               (stranger.read, handle), (stranger.free, handle),
                               (stranger.push, [chunk]), (stranger.export, handle)):
            with self.subTest(call.__name__):
                self.refused(Code.FAILED_PRECONDITION, ["session d4 is not attached"], call,
                             argument)
        stranger.close()

    # --- ranges ---

    def test_all_of_a_tensor_is_read_where_no_span_is_given(self):
        for size in SIZES:
            with self.subTest(size=size):
                handle = self.anne.write(self.anne.alloc(size), pattern(size))
                chunks = self.anne.read_chunks(handle)
                self.assertEqual(b"".join(chunk.data for chunk in chunks), pattern(size))
                self.assertEqual(chunks[0].handle.handle_id, handle.handle_id)
                self.assertEqual([chunk.HasField("handle") for chunk in chunks],
                                 [True] + [False] * (len(chunks) - 1))
                self.assertTrue(chunks[-1].last)
                self.anne.free(handle)

    def test_spans_are_read_packed(self):
        data = pattern(5 * MIB)
        handle = self.anne.write(self.anne.alloc(len(data)), data)
        for offset, run, pitch, runs in ((0, 0, 0, 0), (7, 100, 0, 1), (4095, 1, 4096, 1000),
                                         (1, 3000, 4096, 1200), (0, MIB + 1, 2 * MIB, 2),
                                         (0, 5, 5, MIB), (5 * MIB, 0, 9, 9)):
            with self.subTest((offset, run, pitch, runs)):
                want = b"".join(data[at:at + run] for at in
                                (offset + pitch * i for i in range(runs)))
                span = wire.TensorSpan(offset=offset, run_bytes=run, pitch=pitch, runs=runs)
                chunks = self.anne.read_chunks(handle, span)
                self.assertEqual(b"".join(chunk.data for chunk in chunks), want)
                at = 0
                for chunk in chunks:
                    self.assertEqual(chunk.offset, at)
                    at += len(chunk.data)

    def test_spans_past_the_end_are_not_read(self):
        handle = self.anne.alloc(100)
        for fields in ((0, 101, 0, 1), (100, 1, 0, 1), (0, 1, 50, 3), (99, 1, 1, 2)):
            span = wire.TensorSpan(**dict(zip(("offset", "run_bytes", "pitch", "runs"), fields)))
            with self.subTest(fields):
                self.refused(Code.INVALID_ARGUMENT, ["past the tensor's 100 bytes"],
                             self.anne.read, handle, span)
        for fields, text in (((0, 8, 7, 2), "overlap"), ((0, 1, 1, (1 << 64) - 1), "2^63-1")):
            span = wire.TensorSpan(**dict(zip(("offset", "run_bytes", "pitch", "runs"), fields)))
            self.refused(Code.INVALID_ARGUMENT, [text], self.anne.read, handle, span)

    # --- grants ---

    def test_whoever_has_the_token_of_a_grant_reads(self):
        handle = self.anne.write(self.anne.alloc(10), b"0123456789")
        grant = self.anne.export(handle)
        self.assertEqual((grant.handle.handle_id, len(grant.token), grant.write),
                         (handle.handle_id, 16, False))
        for reader in self.ben, self.client, self.anne:
            self.assertEqual(reader.read(grant.handle, token=grant.token), b"0123456789")
        wrong = bytes([grant.token[0] ^ 1]) + grant.token[1:]
        self.refused(Code.PERMISSION_DENIED, ["no grant"], self.ben.read, handle, token=wrong)
        self.refused(Code.INVALID_ARGUMENT, ["token has 3 bytes"], self.ben.read, handle,
                     token=b"abc")
        # The storage outlives its owner's handle, and not the grant.
        self.anne.free(handle)
        self.assertEqual(self.ben.read(grant.handle, token=grant.token), b"0123456789")
        self.ben.release(grant)
        self.refused(Code.PERMISSION_DENIED, ["released"], self.ben.read, handle,
                     token=grant.token)
        self.refused(Code.PERMISSION_DENIED, ["released"], self.anne.release, grant)

    def test_a_grant_ends_after_its_time(self):
        handle = self.anne.alloc(10)
        grant = self.anne.export(handle, ttl_ms=50)

        def is_over():
            try:
                self.ben.read(grant.handle, token=grant.token)
                return False
            except grpc.RpcError as error:
                self.assertEqual(error.code(), Code.PERMISSION_DENIED)
                return True
        wait_until(is_over, "the grant is over")

    def test_no_token_is_given_twice(self):
        handle = self.anne.alloc(10)
        self.assertEqual(len({self.anne.export(handle).token for _ in range(100)}), 100)


main()
