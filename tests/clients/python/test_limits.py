#!/usr/bin/python3
"""What a node takes of everything, each with a daemon whose options make it little: what is too much
is told at once, with the number, and what it had taken goes on."""
import itertools
import pathlib
import resource
import threading
import time
import unittest

import grpc

from harness import (INOUT, INT64, OUTPUT_EXISTING, SECONDS, Client, Daemon, health, health_grpc, inline,
                     main, module_callable, request, stored, values_of, wait_until, wire)

Code = grpc.StatusCode
PACKAGE = "simpler.distributed.v1"
task_ids = itertools.count(1)  # a session names no task twice


def named(session):
    return [("simpler-session", session)]


def resident(pid):
    """Bytes of memory that a process has."""
    pages = int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def main_thread_sleeps(pid):
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"


def is_sanitized(pid):
    """Whether freed memory is kept for a while, to see who uses it."""
    return "libasan" in pathlib.Path(f"/proc/{pid}/maps").read_text()


class Limits(unittest.TestCase):
    def start(self, *options):
        daemon = Daemon("--sub-workers", "4", "--pool-bytes", "16M", *options)
        client = Client(daemon.address)
        client.daemon = daemon
        self.addCleanup(self.stop, daemon, client)
        return client

    def stop(self, daemon, client):
        self.assertTrue(client.heartbeat().ok)
        client.close()
        daemon.ask_to_stop()
        self.assertEqual(daemon.wait(), 0)

    def assertRefused(self, text, call, *arguments, **more):
        with self.assertRaises(grpc.RpcError) as caught:
            call(*arguments, **more)
        self.assertEqual(caught.exception.code(), Code.RESOURCE_EXHAUSTED)
        self.assertIn(text, caught.exception.details())

    def attach(self, client, session):
        client.worker.Attach(wire.AttachReq(), metadata=named(session), timeout=SECONDS)

    def hold(self, client, session=None):
        """A task that runs until its gate is opened, and what opens it."""
        more = {"timeout": SECONDS, "metadata": named(session) if session else None}
        gate = client.install(module_callable("gate_below"))
        flags = client.pool.AllocTensor(
            wire.TensorAllocReq(nbytes=16, shape=[2], dtype=INT64), **more)
        task = client.worker.Dispatch.future(
            request(gate, [stored(flags, 2, OUTPUT_EXISTING)], [0], task_id=next(task_ids)),
            **more)

        def runs():
            pulled = client.pool.PullTensor(flags, **more)
            return values_of(b"".join(chunk.data for chunk in pulled))[1] == 1

        def open_it():
            client.pool.PushTensor(iter([wire.TensorChunk(handle=flags, data=b"\1", last=True)]),
                                   **more)
            self.assertEqual(task.result().error_code, 0)

        wait_until(runs, "the task is running")
        return open_it

    def test_tasks_in_flight(self):
        client = self.start("--max-tasks", "2")
        twice = client.install(module_callable("twice_below", module="twice"))
        held = [self.hold(client), self.hold(client)]
        self.assertEqual(client.status().queue.in_flight, 2)
        self.assertRefused("2 tasks are in flight at this node", client.dispatch, twice,
                           [inline([1], INOUT)])
        # A full queue is no reason not to be ready: it says so itself.
        self.assertTrue(client.status().ready)
        held.pop()()
        answer = client.dispatch(twice, [inline([21], INOUT)])
        self.assertEqual(values_of(answer.output_tensors[0].inline_data), [42])
        held.pop()()

    def test_tasks_in_flight_of_one_session_and_room_for_another(self):
        client = self.start("--max-session-tasks", "1")
        twice = client.install(module_callable("twice_below", module="twice"))
        self.assertEqual(client.status().queue.session_limit, 1)

        def run(value, session):
            answer = client.worker.Dispatch(
                request(twice, [inline([value], INOUT)], task_id=next(task_ids)),
                metadata=named(session) if session else None, timeout=SECONDS)
            return values_of(answer.output_tensors[0].inline_data)

        self.attach(client, "a")
        self.attach(client, "b")
        open_it = self.hold(client, "a")
        self.assertRefused("1 tasks of this session are in flight", run, 1, "a")
        for session in ("b", None):
            self.assertEqual(run(21, session), [42])
        open_it()
        self.assertEqual(run(4, "a"), [8])

    def test_tensors_and_grants_of_one_session_and_room_for_another(self):
        client = self.start("--max-session-tensors", "2", "--max-session-grants", "1")
        limits = client.status().pool
        self.assertEqual((limits.max_session_handles, limits.max_session_grants), (2, 1))
        few, other = (Client(client.daemon.address, session) for session in ("a", "b"))
        for each in few, other:
            each.attach()
            self.addCleanup(each.close)
        mine = [few.alloc(8), few.alloc(8)]
        self.assertRefused("this session has 2 tensors", few.alloc, 8)
        self.assertRefused("this session has 2 tensors", few.push,
                           [wire.TensorChunk(handle=wire.TensorHandle(nbytes=1), data=b"1",
                                             last=True)])
        few.export(mine[0])
        self.assertRefused("this session exports 1 tensors", few.export, mine[1])
        for each in other, client:
            each.export(each.alloc(8))
        self.assertEqual(client.status().pool.grants, 3)
        few.free(mine[1])
        few.alloc(8)

    def test_sessions(self):
        client = self.start("--max-sessions", "1")
        self.attach(client, "a")
        self.attach(client, "a")
        self.assertRefused("1 sessions are attached", self.attach, client, "b")
        sessions = client.status().sessions
        self.assertEqual((sessions.attached, sessions.limit), (1, 1))
        client.worker.Detach(wire.Empty(), metadata=named("a"), timeout=SECONDS)
        self.attach(client, "b")

    def test_open_streams(self):
        client = self.start("--max-streams", "2")
        stub = health_grpc.HealthStub(client.channel)
        watches = [stub.Watch(health.HealthCheckRequest(), timeout=SECONDS) for _ in range(2)]
        for watch in watches:
            next(watch)
        handle = client.alloc(8)
        self.assertRefused("2 streams are open at this server", client.pull, handle)
        self.assertRefused("2 streams are open at this server", client.write, handle, bytes(8))
        self.assertTrue(client.status().ready)  # calls that are none go on
        watches[0].cancel()

        def pulls():
            try:
                return client.pull(handle) == bytes(8)
            except grpc.RpcError as error:
                self.assertEqual(error.code(), Code.RESOURCE_EXHAUSTED)
                return False

        wait_until(pulls, "there is room for a stream")
        watches[1].cancel()

    def test_memory_of_messages_that_come_in(self):
        client = self.start("--rpc-bytes", "128M")
        message = wire.CallablePayload(callable_id=1, pickled=bytes(50 << 20)).SerializeToString()
        flood = [Client(client.daemon.address) for _ in range(16)]
        calls = [each.channel.unary_unary(f"/{PACKAGE}.Catalog/PushCallable").future(
            message, timeout=SECONDS) for each in flood]
        most = 0
        while not all(call.done() for call in calls):
            most = max(most, resident(client.daemon.process.pid))
            time.sleep(0.005)
        codes = {call.code() for call in calls}
        self.assertLessEqual(codes, {Code.INVALID_ARGUMENT, Code.RESOURCE_EXHAUSTED,
                                     Code.UNAVAILABLE})
        if not is_sanitized(client.daemon.process.pid):
            self.assertLess(most, 400 << 20)  # of 800 MiB that came at once
        for each in flood:
            each.close()
        self.assertTrue(client.heartbeat().ok)

    def test_idle_connections(self):
        client = self.start("--idle-timeout", "1")
        idle = threading.Event()
        client.channel.subscribe(lambda state: state == grpc.ChannelConnectivity.IDLE and
                                 idle.set() if client_was_used.is_set() else None)
        client_was_used = threading.Event()
        client.heartbeat()
        client_was_used.set()
        self.assertTrue(idle.wait(SECONDS), "the connection was not closed")
        self.assertTrue(client.heartbeat().ok)  # which opens another


    def test_descriptors_that_an_operator_takes_away(self):
        """Few are left to a daemon that has more open: it serves those that are connected, sleeps
        when there is nothing to do, and still hears that it is to stop."""
        client = self.start()
        pid = client.daemon.process.pid
        client.heartbeat()
        _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (4, hard))
        client.free(client.alloc(8))
        sleeps = 0
        for _ in range(20):
            time.sleep(0.05)
            sleeps += main_thread_sleeps(pid)
        self.assertGreater(sleeps, 10)


if __name__ == "__main__":
    main()
