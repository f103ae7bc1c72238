#!/usr/bin/python3
"""Callables on a node, as a Python client ships and fetches them."""
import os
import pathlib
import struct

import grpc

from harness import (CHIP, INOUT, ORCH, SUB, SECONDS, Callable, Client, Daemon, DaemonTest, inline,
                     main, module_callable, values_of, wire)

Code = grpc.StatusCode


class Catalog(DaemonTest):
    def push(self, message):
        return self.client.catalog.PushCallable(message, timeout=SECONDS)

    def pull(self, callable_id, version=0, client=None):
        return (client or self.client).catalog.PullCallable(
            wire.CallableRef(callable_id=callable_id, version=version), timeout=SECONDS)

    def refused_push(self, code, texts, message):
        return self.refused(code, texts, self.push, message)

    def runs(self, client, callable_, expected=42):
        response = client.dispatch(callable_, [inline([21], INOUT)])
        self.assertEqual((response.error_code, response.error_msg), (0, ""))
        self.assertEqual(values_of(response.output_tensors[0].inline_data), [expected])

    def test_what_is_pushed_can_be_pulled_and_run(self):
        twice = self.client.install(module_callable("twice_below", module="twice"))
        answer = self.pull(twice.id, twice.version)
        self.assertEqual((answer.callable_id, answer.version), (twice.id, twice.version))
        self.assertEqual(answer.pickled, twice.payload())
        self.runs(self.client, twice)

    def test_pushing_again_changes_nothing(self):
        twice = module_callable("twice_below", module="twice")
        for _ in range(3):
            self.client.install(twice)
        self.runs(self.client, twice)

    def test_a_callable_id_of_the_clients_own_choice(self):
        twice = module_callable("twice_below", module="twice")
        self.push(twice.message(callable_id=7))
        response = self.client.dispatch(twice, [inline([4], INOUT)], callable_id=7)
        self.assertEqual(values_of(response.output_tensors[0].inline_data), [8])

    def test_R09_version_0_is_answered_with_the_real_version(self):
        ours = 0x52303901
        factors = [module_callable("scale_below", state=struct.pack("<q", factor))
                   for factor in (2, 3)]
        for scale in factors:
            self.push(scale.message(callable_id=ours))
            answer = self.pull(ours)
            self.assertNotEqual(answer.version, 0)
            self.assertEqual((answer.callable_id, answer.version), (ours, scale.version))
            self.assertEqual(answer.pickled, scale.payload())
        self.assertEqual(self.pull(ours, factors[0].version).version, factors[0].version)

    def test_R09_what_was_pulled_as_the_newest_runs_on_another_node(self):
        twice = self.client.install(module_callable("twice_below", module="twice"))
        answer = self.pull(twice.id)
        other = Daemon("--sub-workers", "1", "--pool-bytes", "16M", "--node-id", "other-node")
        client = Client(other.address)
        client.catalog.PushCallable(answer, timeout=SECONDS)
        self.runs(client, twice)
        client.close()
        other.ask_to_stop()
        self.assertEqual(other.wait(), 0)

    def test_R03_whoever_installs_a_callable_under_whichever_id_gets_the_same(self):
        scale = module_callable("scale_below", state=struct.pack("<q", 11))
        other = Client(self.daemon.address)
        ways = ((self.client, scale.id, scale.version), (other, 0x52303301, scale.version),
                (self.client, 0x52303302, 0), (other, scale.id, 0), (other, scale.id, scale.version))
        for client, callable_id, version in ways:
            client.catalog.PushCallable(
                scale.message(callable_id=callable_id, version=version), timeout=SECONDS)
        for client, callable_id, _ in ways:
            answer = self.pull(callable_id, client=client)
            self.assertEqual((answer.version, answer.pickled), (scale.version, scale.payload()))
            response = client.dispatch(scale, [inline([2], INOUT)], callable_id=callable_id)
            self.assertEqual(values_of(response.output_tensors[0].inline_data), [22])
        other.close()

    def test_several_versions_of_one_id_live_beside_each_other(self):
        ours = 99
        for factor in 2, 3, 4:
            scale = module_callable("scale_below", state=struct.pack("<q", factor))
            self.push(scale.message(callable_id=ours))
        for factor in 3, 2, 4:
            scale = module_callable("scale_below", state=struct.pack("<q", factor))
            response = self.client.dispatch(scale, [inline([1], INOUT)], callable_id=ours)
            self.assertEqual(values_of(response.output_tensors[0].inline_data), [factor])

    def test_a_module_that_is_known_is_not_sent_again(self):
        self.client.install(module_callable("scale_below", state=struct.pack("<q", 5)))
        scale = module_callable("scale_below", state=struct.pack("<q", 6))
        self.push(scale.message(pickled=scale.payload(with_module=False)))
        self.runs(self.client, scale, 126)
        # What is pulled is whole, however it was pushed.
        self.assertEqual(self.pull(scale.id).pickled, scale.payload())

    def test_version_0_in_a_push_is_whatever_it_is(self):
        twice = module_callable("twice_below", module="twice")
        self.push(twice.message(callable_id=1234, version=0))
        self.assertEqual(self.pull(1234).version, twice.version)

    # --- what a node refuses ---

    def test_unknown_callables(self):
        self.refused(Code.NOT_FOUND, [], self.pull, 0x1122334455667788)
        twice = self.client.install(module_callable("twice_below", module="twice"))
        self.refused(Code.FAILED_PRECONDITION, ["version"], self.pull, twice.id,
                     twice.version ^ 1)

    def test_a_version_that_is_not_the_callables(self):
        twice = module_callable("twice_below", module="twice")
        self.refused_push(Code.INVALID_ARGUMENT, ["version"],
                          twice.message(callable_id=55, version=twice.version ^ 1))
        self.refused(Code.NOT_FOUND, [], self.pull, 55)

    def test_callable_id_0(self):
        twice = module_callable("twice_below", module="twice")
        self.refused_push(Code.INVALID_ARGUMENT, ["id"], twice.message(callable_id=0))

    def test_a_name_that_the_module_does_not_declare(self):
        absent = module_callable("thrice_below", module="twice")
        self.refused_push(Code.NOT_FOUND, ["thrice_below", "twice_below"], absent.message())

    def test_R22_a_kind_that_the_module_does_not_declare(self):
        for kind, said in (SUB, "sub task"), (CHIP, "chip"):
            wrong = module_callable("twice_below", kind, module="twice")
            self.refused_push(Code.FAILED_PRECONDITION,
                              [said, "orchestration function", "twice_below"], wrong.message())

    def test_a_module_that_nobody_sent(self):
        unknown = Callable("twice_below", ORCH, b"", b"never seen here")
        self.refused_push(Code.NOT_FOUND, ["module"],
                          unknown.message(pickled=unknown.payload(with_module=False)))

    def test_a_module_that_is_not_the_one_it_claims_to_be(self):
        twice = module_callable("twice_below", module="twice")
        forged = twice.payload()[:-1] + b"x"
        self.refused_push(Code.INVALID_ARGUMENT, ["digest"], twice.message(pickled=forged))

    def test_R04_modules_that_are_none(self):
        module = pathlib.Path(os.environ["SIMPLER_MODULES"], "twice.so").read_bytes()
        none = pathlib.Path(os.environ["SIMPLER_MODULES"], "no_callables.so").read_bytes()
        for what, content in (
                ("text", b"#!/bin/sh\nexit 0\n"),
                ("half of one", module[:len(module) // 2]),
                ("a header", module[:64]),
                ("of another machine", module[:18] + b"\x08\x00" + module[20:]),
                ("without callables", none)):
            with self.subTest(what):
                bad = Callable("twice_below", ORCH, b"", content)
                self.refused_push(Code.INVALID_ARGUMENT, [], bad.message())

    def test_payloads_that_are_none(self):
        twice = module_callable("twice_below", module="twice")
        good = twice.payload()

        def with_field(offset, layout, value):
            return good[:offset] + struct.pack(layout, value) + good[offset +
                                                                     struct.calcsize(layout):]

        for what, payload in (
                ("nothing", b""),
                ("half a header", good[:32]),
                ("a header", good[:80]),
                ("one byte missing", good[:-1]),
                ("one byte too many", good + b"x"),
                ("a Python pickle", b"\x80\x04\x95\x10\x00\x00\x00"),
                ("another magic", with_field(0, "<4s", b"SMPX")),
                ("kind 0", with_field(8, "<I", 0)),
                ("kind 4", with_field(8, "<I", 4)),
                ("no name", with_field(20, "<I", 0)),
                ("a long name", with_field(20, "<I", 64)),
                ("the longest name", with_field(20, "<I", 0xffffffff)),
                ("a large state", with_field(28, "<I", 65537)),
                ("the largest state", with_field(28, "<I", 0xffffffff)),
                ("the largest module", with_field(64, "<Q", (1 << 64) - 1)),
                ("a name with a slash", good.replace(b"twice_below", b"twice/below", 1))):
            with self.subTest(what):
                self.refused_push(Code.INVALID_ARGUMENT, [],
                                  twice.message(version=0, pickled=payload))

    def test_payloads_and_callables_of_other_versions(self):
        twice = module_callable("twice_below", module="twice")
        good = twice.payload()
        for offset, ours in (4, 2), (12, 1):  # the payload's version, and the callable ABI
            other = good[:offset] + struct.pack("<I", 7) + good[offset + 4:]
            details = self.refused_push(Code.FAILED_PRECONDITION, [],
                                        twice.message(version=0, pickled=other))
            self.assertRegex(details, r"\b7\b")
            self.assertRegex(details, rf"\b{ours}\b")


main()
