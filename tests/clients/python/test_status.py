#!/usr/bin/python3
"""L3Worker.Status of a real node, and grpc.health.v1 beside it, while its processes are stopped and
killed."""
import os
import pathlib
import signal
import socket
import time
import unittest

import grpc

from harness import (OUTPUT_EXISTING, SECONDS, SUB, Client, Daemon, DaemonTest, health,
                     health_grpc, inline, main, module_callable, stored, values_of, wait_until,
                     wire, INOUT)

SERVICES = ["L3Worker", "Catalog", "TensorPool"]
MODULES = os.environ["SIMPLER_MODULES"]


def children(pid):
    found = []
    for thread in pathlib.Path(f"/proc/{pid}/task").iterdir():
        found += [int(each) for each in (thread / "children").read_text().split()]
    return found


class Node:
    """A daemon with a client, whose processes one can reach."""

    def __init__(self, *options, **more):
        self.daemon = Daemon("--pool-bytes", "16M", *options, **more)
        self.client = Client(self.daemon.address)
        self.health = health_grpc.HealthStub(self.client.channel)
        # Its engine is ready; that it has told of its workers, too, takes a moment.
        wait_until(lambda: self.client.status().workers, "the engine has told of its workers")

    def close(self):
        self.client.close()
        self.daemon.ask_to_stop()
        if self.daemon.wait() != 0:
            raise AssertionError("the daemon did not end well")

    def engine(self):
        return self.client.status().engine.pid

    def helper(self):
        [helper] = children(self.engine())
        return helper

    def serving(self):
        """The services that serve, by the standard service."""
        return [name for name in SERVICES if self.health.Check(health.HealthCheckRequest(
            service=f"simpler.distributed.v1.{name}"), timeout=SECONDS).status == 1]

    def reason(self, what):
        for each in self.client.status().not_ready:
            if each.what == what:
                return each
        return None

    def wait_for(self, what):
        wait_until(lambda: self.reason(what), f"{what} is a reason")
        return self.reason(what)

    def wait_ready(self):
        wait_until(lambda: self.client.status().ready, "the node is ready")


class Status(unittest.TestCase):
    def start(self, *options, **more):
        node = Node(*options, **more)
        self.addCleanup(node.close)
        return node

    def assertRuns(self, node):
        """A task with a sub task below it."""
        twice = node.client.install(module_callable("twice_below", module="twice"))
        answer = node.client.dispatch(twice, [inline([21], INOUT)])
        self.assertEqual(values_of(answer.output_tensors[0].inline_data), [42], answer.error_msg)

    def test_R17_a_node_tells_all_that_it_is_made_of(self):
        node = self.start("--node-id", "told", "--sub-workers", "3", "--chips", "1")
        gate = node.client.install(module_callable("gate_below"))
        flags = node.client.tensor([0, 0])
        task = node.client.dispatch_later(gate, [stored(flags, 2, OUTPUT_EXISTING)], [0])
        wait_until(lambda: node.client.values(flags)[1] == 1, "the task is running")
        wait_until(lambda: node.client.status().workers[0].busy == 1, "a sub worker is busy")
        status = node.client.status()
        self.assertTrue(status.ready)
        self.assertEqual((status.node_id, status.draining, len(status.not_ready)),
                         ("told", False, 0))
        self.assertEqual([(each.kind, each.count, each.idle, each.busy, each.dead)
                          for each in status.workers],
                         [("sub worker", 3, 2, 1, 0), ("chip", 1, 1, 0, 0)])
        self.assertEqual((status.engine.state, status.engine.answering, status.engine.runs),
                         ("ready", True, 1))
        self.assertEqual([(each.name, each.count, each.failed) for each in status.devices],
                         [("sim", 1, 0)])
        self.assertEqual((status.pool.capacity, status.pool.handles), (16 << 20, 1))
        self.assertEqual([(each.name, each.available) for each in status.transports],
                         [("grpc", True), ("shm", True), ("fabric", False)])
        lanes = {each.name: each.available for each in status.lanes}
        self.assertTrue(lanes["unary"] and lanes["stream"] and lanes["shm"])
        self.assertEqual((status.catalog.callables, status.catalog.modules), (1, 1))
        self.assertEqual((status.queue.in_flight, status.queue.limit), (1, 1024))
        self.assertEqual(node.serving(), SERVICES)
        node.client.write(flags, b"\1")
        self.assertEqual(task.result().error_code, 0)

    def test_R17_a_frozen_engine_is_not_ready_though_the_node_is_alive(self):
        node = self.start("--sub-workers", "1")
        engine = node.engine()
        os.kill(engine, signal.SIGSTOP)
        reason = node.wait_for("engine")
        self.assertIn(f"(pid {engine}) is alive and does not answer", reason.why)
        self.assertEqual(list(reason.services), ["L3Worker", "Catalog"])
        self.assertTrue(node.client.heartbeat().ok)
        self.assertEqual(node.serving(), ["TensorPool"])
        node.client.free(node.client.alloc(8))
        os.kill(engine, signal.SIGCONT)
        node.wait_ready()
        self.assertEqual(node.engine(), engine)
        self.assertRuns(node)

    def test_R17_a_stopped_spawn_helper_is_noticed(self):
        node = self.start("--sub-workers", "1")
        helper = node.helper()
        os.kill(helper, signal.SIGSTOP)
        reason = node.wait_for("workers")
        self.assertIn("the spawn helper is stopped", reason.why)
        self.assertEqual(node.serving(), ["Catalog", "TensorPool"])
        self.assertRuns(node)  # by the worker that there is
        os.kill(helper, signal.SIGCONT)
        node.wait_ready()

    def test_R17_devices_that_cannot_be_opened_are_told_with_the_drivers_words(self):
        node = self.start("--sub-workers", "1", "--chips", "2", "--device", "./device_driver.so",
                          cwd=MODULES)
        wait_until(lambda: node.client.status().devices[0].failed, "a device has failed")
        [device] = node.client.status().devices
        self.assertEqual((device.count, device.failed), (2, 1))
        self.assertIn("the second test device is on fire", device.error)
        self.assertTrue(node.client.status().ready)

    def test_R17_a_node_none_of_whose_devices_opens_is_not_ready(self):
        node = self.start("--sub-workers", "1", "--chips", "1", "--device", "no-such-device")
        reason = node.wait_for("devices")
        self.assertIn("no-such-device", reason.why)
        self.assertEqual(node.serving(), ["Catalog", "TensorPool"])

    def test_R05_a_killed_engine_is_replaced_with_all_its_callables(self):
        node = self.start("--sub-workers", "1")
        callables = [node.client.install(module_callable("twice_below", module="twice")),
                     node.client.install(module_callable("gate_below")),
                     node.client.install(module_callable("add", SUB))]
        self.assertRuns(node)
        engine = node.engine()
        killed = time.monotonic()
        os.kill(engine, signal.SIGKILL)
        wait_until(lambda: node.client.status().engine.restarts == 1, "there is a new engine")
        node.wait_ready()
        # A fiftieth of a second on an idle machine; simpler-bench measures it.
        self.assertLess(time.monotonic() - killed, 10)
        status = node.client.status()
        self.assertNotEqual(status.engine.pid, engine)
        self.assertIn("killed by signal 9", status.engine.last_end)
        self.assertEqual(status.catalog.callables, len(callables))
        self.assertRuns(node)

    def test_R05_killed_workers_are_replaced_and_counted(self):
        node = self.start("--sub-workers", "2", "--chips", "1")
        [engine, helper] = node.engine(), node.helper()
        killed = children(helper)
        for each in killed:
            os.kill(each, signal.SIGKILL)
        wait_until(lambda: [each.deaths for each in node.client.status().workers] == [2, 1],
                   "all deaths are counted")
        wait_until(lambda: [each.idle for each in node.client.status().workers] == [2, 1],
                   "all have been replaced")
        self.assertFalse(set(children(helper)) & set(killed))
        self.assertRuns(node)
        self.assertEqual(node.engine(), engine)

    def test_R05_workers_that_die_again_and_again_are_started_later_and_it_is_told(self):
        node = self.start("--sub-workers", "1")
        helper = node.helper()

        def told():
            for each in children(helper):
                os.kill(each, signal.SIGKILL)
            return "1 died young too often" in (node.reason("workers") or wire.NotReady()).why

        wait_until(told, "the status tells of workers that wait")
        node.wait_ready()
        self.assertRuns(node)

    def test_R05_a_killed_spawn_helper_costs_an_engine_and_the_node_recovers(self):
        node = self.start("--sub-workers", "1")
        engine = node.engine()
        os.kill(node.helper(), signal.SIGKILL)
        wait_until(lambda: node.client.status().engine.restarts == 1, "there is a new engine")
        node.wait_ready()
        self.assertNotEqual(node.engine(), engine)
        self.assertRuns(node)


    def test_R17_only_clients_of_the_nodes_machine_may_drain_it(self):
        address = own_address()
        if not address:
            self.skipTest("this machine has no address but loopback")
        node = self.start("--sub-workers", "1", "--insecure", "--listen", "0.0.0.0:0")
        port = node.daemon.address.rpartition(":")[2]
        stranger = Client(f"{address}:{port}")
        self.addCleanup(stranger.close)
        with self.assertRaises(grpc.RpcError) as caught:
            stranger.worker.Drain(wire.DrainReq(), timeout=SECONDS)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.PERMISSION_DENIED)
        self.assertIn("SIGTERM", caught.exception.details())
        self.assertTrue(stranger.status().ready)


def own_address():
    """Of an interface that others can reach; None without one. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        address = probe.getsockname()[0]
    return None if address.startswith("127.") else address


if __name__ == "__main__":
    main()
