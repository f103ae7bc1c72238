#!/usr/bin/python3
"""Whose code a node takes in, whichever way it comes."""
import os
import pathlib
import re
import signal
import struct
import subprocess
import tempfile
import unittest

import grpc

from harness import (INOUT, ORCH, SECONDS, SUB, Client, Daemon, LibraryCallable, inline, main,
                     module_callable, module_chunks, values_of, wait_until, wire)

Code = grpc.StatusCode


class Keys:
    """Keys of the command line tool's making, and what they sign, below a directory."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.ids = {}

    def new(self, name):
        said = self.tool("key", "new", self.directory / name)
        self.ids[name] = re.search(r"^key +([0-9a-f]{64})$", said, re.M).group(1)

    def trust(self, directory, name):
        (directory / f"{name}.pub").write_bytes((self.directory / f"{name}.pub").read_bytes())

    def sign(self, name, module):
        """The 96 bytes that travel."""
        path = self.directory / "to-sign.so"
        path.write_bytes(module)
        self.tool("sign", "--key", self.directory / f"{name}.key", path)
        text = path.with_name("to-sign.so.sig").read_text()
        return b"".join(bytes.fromhex(re.search(f"^{field} (.*)$", text, re.M).group(1))
                        for field in ("key", "signature"))

    @staticmethod
    def tool(*arguments):
        return subprocess.run([os.environ["SIMPLER"], *arguments], check=True,
                              stdout=subprocess.PIPE, text=True).stdout


class Node:
    """A daemon with a policy, its log, and a client."""

    def __init__(self, directory, *options):
        self.log_path = pathlib.Path(tempfile.mkstemp(dir=directory, suffix=".log")[1])
        with self.log_path.open("wb") as log:
            self.daemon = Daemon("--sub-workers", "1", "--pool-bytes", "16M", *options, log=log)
        self.client = Client(self.daemon.address)

    def push(self, callable_, client=None, **more):
        message = callable_.message(pickled=callable_.payload(**more))
        return (client or self.client).catalog.PushCallable(message, timeout=SECONDS)

    def dispatch(self, callable_):
        return self.client.dispatch(callable_, [inline([21], INOUT)])

    def log(self):
        return self.log_path.read_text()

    def hang_up(self):
        self.daemon.process.send_signal(signal.SIGHUP)

    def close(self):
        self.client.close()
        self.daemon.ask_to_stop()
        return self.daemon.wait()


def tampered(signature):
    return signature[:-1] + bytes([signature[-1] ^ 1])


class Policy(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix="simpler-policy-")
        self.addCleanup(directory.cleanup)
        self.directory = pathlib.Path(directory.name)
        self.keys = Keys(directory.name)
        self.trust = self.directory / "trust"
        self.trust.mkdir()
        for name in "ours", "lost", "strangers":
            self.keys.new(name)
        self.keys.trust(self.trust, "ours")
        self.keys.trust(self.trust, "lost")
        (self.trust / "revoked").write_text(f"key {self.keys.ids['lost']}\n")
        self.twice = module_callable("twice_below", module="twice")

    def node(self, *options):
        node = Node(self.directory, *options)
        self.addCleanup(node.daemon.kill)
        return node

    def refused(self, node, texts, call, *arguments, **more):
        """With PERMISSION_DENIED, and one more line in the log that says the same."""
        lines = len(node.log().splitlines())
        with self.assertRaises(grpc.RpcError) as caught:
            call(*arguments, **more)
        error = caught.exception
        self.assertEqual(error.code(), Code.PERMISSION_DENIED, error.details())
        written = node.log().splitlines()[lines:]
        self.assertEqual(len(written), 1, written)
        for text in texts:
            self.assertIn(text, error.details())
            self.assertIn(text, written[0])
        self.assertRegex(written[0], r"\bwarn\b")
        self.assertTrue(node.client.heartbeat().ok)

    def is_denied(self, node, callable_):
        """Whether it can be neither called, nor pulled, nor committed, as it was revoked."""
        ref = wire.CallableRef(callable_id=callable_.id, version=callable_.version)
        stub = node.client.catalog
        for call, argument in ((node.dispatch, callable_), (stub.PullCallable, ref),
                               (stub.CommitCallable, ref)):
            try:
                call(argument)
                return False
            except grpc.RpcError as error:
                self.assertEqual(error.code(), Code.PERMISSION_DENIED, error.details())
                self.assertIn("was revoked", error.details())
        return True

    def runs(self, node, callable_):
        response = node.dispatch(callable_)
        self.assertEqual((response.error_code, response.error_msg), (0, ""))
        self.assertEqual(values_of(response.output_tensors[0].inline_data), [42])

    def ways_in(self, node, callable_, signature):
        """Every call that brings a callable, whole or by the digest of its module, or a module."""
        whole = callable_.payload(signature=signature)
        by_digest = callable_.payload(with_module=False, signature=signature)
        stub = node.client.catalog
        stream = list(module_chunks(callable_.module, signature=signature))
        return [("as a stream", stub.PushModule, iter(stream))] + [
                (way, call, callable_.message(pickled=pickled))
                for way, call, pickled in (
                    ("pushed whole", stub.PushCallable, whole),
                    ("pushed by digest", stub.PushCallable, by_digest),
                    ("prepared whole", stub.PrepareCallable, whole),
                    ("prepared by digest", stub.PrepareCallable, by_digest))]

    def bad_signatures(self):
        """What each is called, and what the refusal says; all of them of the module of `twice`."""
        module = self.twice.module
        ours, ids = self.keys.sign("ours", module), self.keys.ids
        other = self.keys.sign("ours", module_callable("scale_below").module)
        strangers = self.keys.sign("strangers", module)
        yield "unsigned", b"", ["is not signed", "simpler sign"]
        yield "wrongly signed", other, ["of other bytes or was damaged", ids["ours"]]
        yield "tampered with", tampered(ours), ["of other bytes or was damaged", ids["ours"]]
        yield "in another's name", ours[:32] + strangers[32:], ["of other bytes or was damaged"]
        yield "untrusted", strangers, ["does not trust", ids["strangers"], str(self.trust)]
        yield "of a revoked key", self.keys.sign("lost", module), ["is revoked", ids["lost"]]

    def test_R18_what_is_not_rightly_signed_is_refused_whichever_way_it_comes(self):
        node = self.node("--code", "signed", "--trust", str(self.trust))
        digest = self.twice.module_digest.hex()
        # First a node that has never seen the module, then one where somebody else has stored it.
        for stored in False, True:
            if stored:
                node.push(self.twice, signature=self.keys.sign("ours", self.twice.module))
            for name, signature, texts in self.bad_signatures():
                for way, call, message in self.ways_in(node, self.twice, signature):
                    with self.subTest(name, way=way, stored=stored):
                        self.refused(node, ["module " + digest, *texts], call, message,
                                     timeout=SECONDS)
        self.runs(node, self.twice)
        self.assertEqual(node.close(), 0)

    def test_R04_no_way_in_leads_round_the_policy(self):
        signature = self.keys.sign("ours", self.twice.module)
        for options, texts in ((["--code", "none"], ["--code none"]),
                               (["--code", "named"], ["--code named", "installed on it"])):
            node = self.node(*options)
            for sent in b"", signature:
                for way, call, message in self.ways_in(node, self.twice, sent):
                    with self.subTest(options, way=way, signed=bool(sent)):
                        self.refused(node, texts, call, message, timeout=SECONDS)
            with self.assertRaises(grpc.RpcError) as caught:
                node.dispatch(self.twice)
            self.assertEqual(caught.exception.code(), Code.NOT_FOUND)
            with self.assertRaises(grpc.RpcError) as caught:
                node.client.pull_module(self.twice.module_digest)
            self.assertEqual(caught.exception.code(), Code.NOT_FOUND)
            self.assertEqual(node.close(), 0)

    def test_R04_libraries_pass_the_same_check(self):
        libraries = self.directory / "libraries"
        libraries.mkdir()
        (libraries / "doubling.so").write_bytes(self.twice.module)
        doubling = LibraryCallable("twice_below", ORCH, b"", "doubling")
        options = ("--library-dir", str(libraries), "--trust", str(self.trust))
        for mode in "named", "signed", "any":
            node = self.node("--code", mode, *options)
            node.client.install(doubling)
            self.runs(node, doubling)
            # The bytes of a library, too, may be revoked: for those that come, and have come.
            good = (self.trust / "revoked").read_text()
            (self.trust / "revoked").write_text(f"module {self.twice.module_digest.hex()}\n")
            other = doubling._replace(name="twice", kind=SUB)
            self.refused(node, ["is revoked", "library 'doubling'"], node.client.install, other)
            node.hang_up()
            wait_until(lambda: self.is_denied(node, doubling), "the callable is withdrawn")
            (self.trust / "revoked").write_text(good)
            self.assertEqual(node.close(), 0)
        node = self.node("--code", "none", *options)
        self.refused(node, ["library 'doubling'", "--code none"], node.client.install, doubling)
        self.assertEqual(node.close(), 0)

    def test_R04_what_lies_in_a_store_from_before_is_no_way_in(self):
        store = self.directory / "store"
        node = self.node("--code", "any", "--store", str(store))
        node.push(self.twice)
        self.assertEqual(node.close(), 0)
        node = self.node("--code", "signed", "--trust", str(self.trust), "--store", str(store))
        for _, call, message in self.ways_in(node, self.twice, b""):
            self.refused(node, ["is not signed"], call, message, timeout=SECONDS)
        node.push(self.twice, with_module=False,
                  signature=self.keys.sign("ours", self.twice.module))
        self.runs(node, self.twice)
        self.assertEqual(node.close(), 0)

    def test_R18_a_signed_module_runs_and_its_signature_is_pulled_with_it(self):
        node = self.node("--code", "signed", "--trust", str(self.trust))
        signature = self.keys.sign("ours", self.twice.module)
        node.push(self.twice, signature=signature)
        self.runs(node, self.twice)
        answer = node.client.catalog.PullCallable(
            wire.CallableRef(callable_id=self.twice.id), timeout=SECONDS)
        self.assertEqual(answer.pickled, self.twice.payload(signature=signature))
        # So another node that trusts the key takes it as it is.
        other = self.node("--code", "signed", "--trust", str(self.trust))
        other.client.catalog.PushCallable(answer, timeout=SECONDS)
        self.runs(other, self.twice)
        for each in node, other:
            self.assertEqual(each.close(), 0)

    def test_R18_a_revoked_module_is_refused_in_every_mode(self):
        (self.trust / "revoked").write_text(f"module {self.twice.module_digest.hex()}\n")
        signature = self.keys.sign("ours", self.twice.module)
        for mode in "none", "named", "signed", "any":
            node = self.node("--code", mode, "--trust", str(self.trust))
            for sent in b"", signature:
                for way, call, message in self.ways_in(node, self.twice, sent):
                    with self.subTest(mode, way=way, signed=bool(sent)):
                        self.refused(node, ["is revoked", f"{self.trust}/revoked"], call, message,
                                     timeout=SECONDS)
            self.assertEqual(node.close(), 0)

    def test_R18_keys_come_and_go_while_a_node_runs(self):
        node = self.node("--code", "signed", "--trust", str(self.trust))
        signature = self.keys.sign("strangers", self.twice.module)
        self.refused(node, ["does not trust"], node.push, self.twice, signature=signature)
        self.keys.trust(self.trust, "strangers")
        node.push(self.twice, signature=signature)
        self.runs(node, self.twice)
        with (self.trust / "revoked").open("a") as revoked:
            revoked.write(f"key {self.keys.ids['strangers']}\n")
        self.refused(node, ["is revoked"], node.push, self.twice, signature=signature)
        self.assertEqual(node.close(), 0)

    def test_R18_what_was_registered_is_withdrawn_when_it_is_revoked(self):
        node = self.node("--code", "signed", "--trust", str(self.trust))
        scale = module_callable("scale_below", state=struct.pack("<q", 2))
        for each in self.twice, scale:
            node.push(each, signature=self.keys.sign("ours", each.module))
            self.runs(node, each)
        list_of_revoked = (self.trust / "revoked").read_text()
        (self.trust / "revoked").write_text(f"module {self.twice.module_digest.hex()}\n")
        node.hang_up()
        wait_until(lambda: "is revoked on this node" in node.log(), "the log tells of it")
        wait_until(lambda: self.is_denied(node, self.twice), "the callable is withdrawn")
        self.assertIn(self.twice.module_digest.hex(), node.log())
        # Who owned it may give it up as ever, and what is of another module is not touched.
        node.client.catalog.UnregisterCallable(
            wire.CallableRef(callable_id=self.twice.id, version=self.twice.version),
            timeout=SECONDS)
        self.runs(node, scale)
        # A mistake can be taken back.
        (self.trust / "revoked").write_text(list_of_revoked)
        node.push(self.twice, signature=self.keys.sign("ours", self.twice.module))
        self.runs(node, self.twice)
        # And a key that is taken away takes all with it that it signed.
        (self.trust / "ours.pub").unlink()
        node.hang_up()
        wait_until(lambda: self.is_denied(node, self.twice), "the callable is withdrawn")
        wait_until(lambda: self.is_denied(node, scale), "the other is withdrawn")
        self.assertEqual(node.close(), 0)

    def test_R18_who_signs_anew_in_time_keeps_his_callables_when_a_key_is_revoked(self):
        node = self.node("--code", "signed", "--trust", str(self.trust))
        scale = module_callable("scale_below", state=struct.pack("<q", 2))
        self.keys.trust(self.trust, "strangers")
        for each in self.twice, scale:
            node.push(each, signature=self.keys.sign("ours", each.module))
        anew = self.keys.sign("strangers", self.twice.module)
        node.push(self.twice, with_module=False, signature=anew)
        (self.trust / "revoked").write_text(f"key {self.keys.ids['ours']}\n")
        node.hang_up()
        wait_until(lambda: self.is_denied(node, scale), "the callable is withdrawn")
        # They are asked about in their order, so the other one was.
        self.runs(node, self.twice)
        answer = node.client.catalog.PullCallable(
            wire.CallableRef(callable_id=self.twice.id), timeout=SECONDS)
        self.assertEqual(answer.pickled, self.twice.payload(signature=anew))
        self.assertEqual(node.close(), 0)

    def test_a_bad_trust_directory_is_told_at_the_start(self):
        def start(*options):
            done = subprocess.run([os.environ["SIMPLER_L3D"], "--listen", "127.0.0.1:0", *options],
                                  stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                  timeout=SECONDS, check=False)
            self.assertEqual(done.stdout, "")
            return done.returncode, done.stderr

        bad = self.directory / "bad"
        bad.mkdir()
        (bad / "none.pub").write_text("no key\n")
        status, text = start("--trust", str(bad))
        self.assertEqual(status, 1)
        self.assertIn(f"'{bad}/none.pub' is not one public Ed25519 key", text)
        status, text = start("--code", "signed")
        self.assertEqual(status, 2)
        self.assertIn("--code signed needs --trust DIR", text)
        (self.trust / "ours.pub").chmod(0o666)
        status, text = start("--trust", str(self.trust))
        self.assertEqual(status, 1)
        self.assertIn("chmod go-w", text)


main()
