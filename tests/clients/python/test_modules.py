#!/usr/bin/python3
"""Modules on a node: as streams, on disk, and as libraries that are installed there."""
import hashlib
import os
import pathlib
import shutil
import subprocess
import tempfile
import threading

import grpc

from harness import (INOUT, MIB, ORCH, SECONDS, SUB, Client, Daemon, DaemonTest, LibraryCallable,
                     inline, main, module_callable, module_chunks, values_of, wait_until, wire)

Code = grpc.StatusCode
OPTIONS = ("--sub-workers", "1", "--pool-bytes", "16M")


def by_digest(callable_, **more):
    return callable_.message(pickled=callable_.payload(with_module=False), **more)


class ModuleTest(DaemonTest):
    def prepare_and_commit(self, client, message):
        ref = client.catalog.PrepareCallable(message, timeout=SECONDS)
        client.catalog.CommitCallable(ref, timeout=SECONDS)
        return ref

    def runs(self, client, callable_, expected):
        response = client.dispatch(callable_, [inline([21], INOUT)])
        self.assertEqual((response.error_code, response.error_msg), (0, ""))
        self.assertEqual(values_of(response.output_tensors[0].inline_data), [expected])

    def another_node(self, *options, log=None):
        daemon = Daemon(*OPTIONS, *options, log=log)
        self.addCleanup(daemon.kill)
        client = Client(daemon.address)
        self.addCleanup(client.close)
        return daemon, client

    def stop(self, daemon):
        daemon.ask_to_stop()
        self.assertEqual(daemon.wait(), 0)


class Streams(ModuleTest):
    options = OPTIONS + ("--module-bytes", "130M")
    twice = module_callable("twice_below", module="twice")

    def push(self, chunks):
        return self.client.push_module(None, chunks)

    def refused_push(self, code, texts, chunks):
        self.refused(code, texts, self.push, chunks)

    def unknown(self, module):
        self.refused(Code.NOT_FOUND, ["not known here"], self.client.pull_module,
                     hashlib.sha256(module).digest())

    def test_R09_a_module_of_64_MiB_goes_from_one_node_to_another_and_runs(self):
        large = module_callable("large_below", module="large")
        self.assertGreater(len(large.module), 64 * MIB)
        self.refused(Code.NOT_FOUND, ["PushModule"], self.prepare_and_commit, self.client,
                     by_digest(large))
        self.assertEqual(self.client.push_module(large.module).digest, large.module_digest)
        self.prepare_and_commit(self.client, by_digest(large))
        self.runs(self.client, large, 126)
        # What is pulled names it by digest; its bytes are a stream again.
        answer = self.client.catalog.PullCallable(
            wire.CallableRef(callable_id=large.id), timeout=SECONDS)
        self.assertEqual(answer.pickled, large.payload(with_module=False))
        self.assertEqual(answer.digest, large.digest)
        daemon, other = self.another_node()
        chunks = self.client.pull_module(large.module_digest)
        self.assertEqual(chunks[0].nbytes, len(large.module))
        self.assertEqual(b"".join(chunk.data for chunk in chunks), large.module)
        other.push_module(None, chunks)
        other.catalog.PushCallable(answer, timeout=SECONDS)
        self.runs(other, large, 126)
        self.stop(daemon)

    def test_a_message_has_no_room_for_it(self):
        large = module_callable("large_below", module="large")
        message = large.message(pickled=large.payload()[:80 + 11 + 50 * MIB])
        self.refused(Code.INVALID_ARGUMENT, ["PushModule"], self.client.catalog.PushCallable,
                     message, timeout=SECONDS)

    def test_a_module_that_is_known_is_not_taken_again(self):
        self.client.install(self.twice)
        first = next(module_chunks(self.twice.module, size=10))
        self.assertEqual(self.push([first]).digest, self.twice.module_digest)
        self.assertEqual(b"".join(chunk.data for chunk in
                                  self.client.pull_module(self.twice.module_digest)),
                         self.twice.module)

    def test_chunks_that_are_no_module(self):
        module = module_callable("first", SUB, module="two_files").module
        good = list(module_chunks(module, size=4096))
        digest = good[0].module

        def chunk(**fields):
            return wire.ModuleChunk(**fields)

        for what, texts, chunks in (
                ("none at all", ["got none"], []),
                ("without a module", ["names none"], [chunk(nbytes=1, data=b"x")]),
                ("a short digest", ["module.digest"],
                 [chunk(module=wire.ModuleRef(digest=b"x"), nbytes=1, data=b"x")]),
                ("of no bytes", ["0 bytes"], [chunk(module=digest)]),
                ("of too many bytes", ["bytes"], [chunk(module=digest, nbytes=(1 << 30) + 1)]),
                ("of the most bytes", ["bytes"], [chunk(module=digest, nbytes=(1 << 64) - 1)]),
                ("too short", ["ended after"], good[:-1]),
                ("too long", ["go past"], good + [chunk(offset=len(module), data=b"x")]),
                ("the last twice", ["offset"], good + good[-1:]),
                ("out of order", ["offset"], [good[0], good[2], good[1]] + good[3:]),
                ("not from the beginning", ["offset"],
                 [chunk(module=digest, nbytes=len(module), offset=1, data=b"x")]),
                ("at the end of all offsets", ["2^64"],
                 [good[0], chunk(offset=(1 << 64) - 1, data=b"xx")]),
                ("of two modules", ["another module"],
                 [good[0], chunk(module=wire.ModuleRef(digest=bytes(32)), offset=4096)]),
                ("of two sizes", ["another module"], [good[0], chunk(nbytes=7, offset=4096)]),
                ("damaged", ["digest"], good[:-1] + [chunk(
                    offset=good[-1].offset, data=bytes(len(good[-1].data)))])):
            with self.subTest(what):
                self.refused_push(Code.INVALID_ARGUMENT, texts, chunks)
                self.unknown(module)
        none = pathlib.Path(os.environ["SIMPLER_MODULES"], "no_callables.so").read_bytes()
        for content in b"#!/bin/sh\n", none:
            self.refused_push(Code.INVALID_ARGUMENT, [], module_chunks(content))
            self.unknown(content)

    def open_uploads(self, count, nbytes):
        """Streams that have begun and do not go on, until they are let."""
        go_on = threading.Event()
        self.addCleanup(go_on.set)

        def chunks(i):
            digest = hashlib.sha256(b"%d" % i).digest()
            yield wire.ModuleChunk(module=wire.ModuleRef(digest=digest), nbytes=nbytes)
            go_on.wait(SECONDS)

        return [self.client.catalog.PushModule.future(chunks(i), timeout=SECONDS)
                for i in range(count)]

    def is_full(self, text, nbytes):
        """Whether an upload of this size is refused now; one that is not is broken off."""
        chunk = wire.ModuleChunk(module=wire.ModuleRef(digest=bytes(32)), nbytes=nbytes)
        try:
            self.push([chunk])
        except grpc.RpcError as error:
            return error.code() == Code.RESOURCE_EXHAUSTED and text in error.details()
        return False

    def test_uploads_at_once_are_limited_and_give_back_what_they_had(self):
        for count, nbytes, text in (16, 1000, "16 modules are being uploaded"), \
                                   (2, 60 * MIB, "finds no room"):
            calls = self.open_uploads(count, nbytes)
            wait_until(lambda: self.is_full(text, nbytes), "all have begun")
            for call in calls:
                call.cancel()
            wait_until(lambda: not self.is_full(text, nbytes), "all are gone")

    def test_the_same_module_twice_at_once(self):
        module = module_callable("worker_cases", module="worker_cases").module
        calls = [self.client.catalog.PushModule.future(
            module_chunks(module, size=1000), timeout=SECONDS) for _ in range(4)]
        for call in calls:
            self.assertEqual(call.result().digest, hashlib.sha256(module).digest())

    def test_what_is_in_use_makes_no_room(self):
        large = module_callable("large_below", module="large")
        self.client.push_module(large.module)
        self.prepare_and_commit(self.client, by_digest(large))
        chunk = wire.ModuleChunk(module=wire.ModuleRef(digest=bytes(32)), nbytes=70 * MIB)
        self.refused_push(Code.RESOURCE_EXHAUSTED,
                          [f"{70 * MIB} bytes", "in use", f"{130 * MIB}"], [chunk])
        self.client.catalog.UnregisterCallable(
            wire.CallableRef(callable_id=large.id, version=large.version), timeout=SECONDS)
        self.client.pull_module(large.module_digest)
        self.refused_push(Code.INVALID_ARGUMENT, ["ended after"], [chunk])
        self.unknown(large.module)

    def test_modules_that_were_never_here(self):
        self.unknown(b"never here")
        self.refused(Code.INVALID_ARGUMENT, ["digest"], self.client.pull_module, b"short")


class Kept(ModuleTest):
    def setUp(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="simpler-store-"))
        self.addCleanup(shutil.rmtree, self.directory)
        self.twice = module_callable("twice_below", module="twice")

    def place(self, callable_):
        text = callable_.module_digest.hex()
        return self.directory / text[:2] / text

    def is_kept(self, callable_):
        place = self.place(callable_)
        return place.exists() and place.read_bytes() == callable_.module

    def test_R03_a_module_that_a_node_had_is_not_sent_again_after_its_restart(self):
        large = module_callable("large_below", module="large")
        daemon, client = self.another_node("--store", str(self.directory))
        client.install(self.twice)
        client.push_module(large.module)
        self.stop(daemon)
        self.assertTrue(self.is_kept(self.twice) and self.is_kept(large))
        daemon, client = self.another_node("--store", str(self.directory))
        for callable_, expected in (self.twice, 42), (large, 126):
            self.prepare_and_commit(client, by_digest(callable_))
            self.runs(client, callable_, expected)
        self.assertEqual(client.push_module(large.module).digest, large.module_digest)
        self.stop(daemon)

    def test_two_nodes_share_a_directory(self):
        _, one = self.another_node("--store", str(self.directory))
        _, other = self.another_node("--store", str(self.directory))
        one.install(self.twice)
        wait_until(lambda: self.is_kept(self.twice), "it is kept")
        self.prepare_and_commit(other, by_digest(self.twice))
        self.runs(other, self.twice, 42)

    def test_what_is_damaged_is_removed_and_taken_anew(self):
        place = self.place(self.twice)
        place.parent.mkdir()
        for damaged in (b"", self.twice.module[:-1], self.twice.module + b"x",
                        b"x" + self.twice.module[1:]):
            place.write_bytes(damaged)
            with tempfile.TemporaryFile() as log:
                daemon, client = self.another_node("--store", str(self.directory), log=log)
                self.refused(Code.NOT_FOUND, [], client.catalog.PrepareCallable,
                             by_digest(self.twice), timeout=SECONDS)
                self.assertFalse(place.exists())
                client.install(self.twice)
                self.stop(daemon)
                log.seek(0)
                self.assertIn(b"is damaged", log.read())
            self.assertTrue(self.is_kept(self.twice))

    def test_what_somebody_else_put_there_is_left_alone(self):
        place = self.place(self.twice)
        for kept in self.directory / "notes", self.directory / "ab" / "more", \
                self.directory / "tmp":
            kept.parent.mkdir(exist_ok=True)
            kept.write_text("mine")
        place.parent.mkdir(exist_ok=True)
        place.symlink_to(pathlib.Path(os.environ["SIMPLER_MODULES"], "twice.so"))
        stale = self.directory / "tmp-0123456789abcdef"
        stale.write_text("of a writer that died")
        daemon, client = self.another_node("--store", str(self.directory), "--store-bytes", "1M")
        self.refused(Code.NOT_FOUND, [], client.catalog.PrepareCallable, by_digest(self.twice),
                     timeout=SECONDS)
        client.install(self.twice)
        client.install(module_callable("gate"))
        self.stop(daemon)
        self.assertFalse(stale.exists())
        for kept in "notes", "ab/more", "tmp":
            self.assertEqual((self.directory / kept).read_text(), "mine")

    def test_the_directory_is_limited(self):
        large = module_callable("large_below", module="large")
        with tempfile.TemporaryFile() as log:
            daemon, client = self.another_node("--store", str(self.directory), "--store-bytes",
                                               "1M", log=log)
            client.install(self.twice)
            client.push_module(large.module)
            self.prepare_and_commit(client, by_digest(large))
            self.stop(daemon)
            log.seek(0)
            self.assertIn(b"not kept", log.read())
        self.assertTrue(self.is_kept(self.twice))
        self.assertFalse(self.place(large).exists())

    def test_a_directory_that_cannot_be_used_is_told_at_the_start(self):
        file = self.directory / "file"
        file.write_text("")
        for options, text in ((("--store", str(file)), "module store"),
                              (("--store", str(self.directory / "no" / "such")), "module store"),
                              (("--store", "/proc"), "module store"),
                              (("--library-dir", str(self.directory / "none")),
                               "library directory")):
            ended = subprocess.run(
                [os.environ["SIMPLER_L3D"], "--listen", "127.0.0.1:0", *options],
                stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS)
            self.assertEqual(ended.returncode, 1, ended.stderr)
            self.assertIn(text, ended.stderr)
            self.assertIn(options[1], ended.stderr)


class Libraries(ModuleTest):
    @classmethod
    def setUpClass(cls):
        cls.directories = [pathlib.Path(tempfile.mkdtemp(prefix="simpler-libraries-"))
                           for _ in range(2)]
        for directory in cls.directories:
            cls.addClassCleanup(shutil.rmtree, directory)
            cls.options = OPTIONS + tuple(
                word for path in cls.directories for word in ("--library-dir", str(path)))
        super().setUpClass()

    def put(self, module, name, directory=0):
        path = self.directories[directory] / name
        shutil.copy(pathlib.Path(os.environ["SIMPLER_MODULES"], f"{module}.so"), path)
        self.addCleanup(path.unlink, missing_ok=True)
        return path

    def named(self, library, name="twice_below", kind=ORCH):
        return LibraryCallable(name, kind, b"", library)

    def refused_push(self, code, texts, callable_):
        return self.refused(code, texts, self.client.catalog.PushCallable, callable_.message(),
                            timeout=SECONDS)

    def unregister(self, callable_):
        self.client.catalog.UnregisterCallable(
            wire.CallableRef(callable_id=callable_.id, version=callable_.version),
            timeout=SECONDS)

    def test_R04_a_callable_of_a_library_runs_and_is_pulled_by_its_name(self):
        self.put("twice", "doubling.so")
        for library in "doubling", "doubling.so":
            callable_ = self.named(library)
            self.prepare_and_commit(self.client, callable_.message())
            self.runs(self.client, callable_, 42)
            answer = self.client.catalog.PullCallable(
                wire.CallableRef(callable_id=callable_.id), timeout=SECONDS)
            self.assertEqual((answer.pickled, answer.digest),
                             (callable_.payload(), callable_.digest))
            self.unregister(callable_)

    def test_directories_are_searched_in_their_order(self):
        first, second = self.named("one"), self.named("one.so")
        self.put("twice", "one", 1)
        self.refused_push(Code.NOT_FOUND, ["'one.so'"], second)
        self.client.install(first)
        self.runs(self.client, first, 42)
        self.unregister(first)
        self.put("no_callables", "one.so", 0)
        self.refused_push(Code.INVALID_ARGUMENT, ["library 'one'"], first)

    def test_a_callable_keeps_its_code_until_it_is_gone(self):
        callable_ = self.named("changing")
        path = self.put("twice", "changing.so")
        self.client.install(callable_)
        self.put("no_callables", "changing.so")
        self.client.install(callable_)
        self.runs(self.client, callable_, 42)
        self.unregister(callable_)
        self.refused_push(Code.INVALID_ARGUMENT, ["changing"], callable_)
        path.unlink()
        self.refused_push(Code.NOT_FOUND, ["changing"], callable_)

    def test_libraries_that_are_not_there(self):
        for library in "missing", "missing.so", "a" * 63:
            details = self.refused_push(
                Code.NOT_FOUND, [f"'{library}'", "2 directories", "--library-dir"],
                self.named(library))
            for directory in self.directories:
                self.assertNotIn(str(directory), details)

    def test_names_that_are_none(self):
        self.put("twice", "real.so")
        for library in ("../real", "..", ".", ".real", "/etc/passwd", "a/b", "a\0b", "real ",
                        "r\xe9al", "", "a" * 64):
            self.refused_push(Code.INVALID_ARGUMENT, [], self.named(library))

    def test_files_that_are_none(self):
        directory = self.directories[0]
        (directory / "link.so").symlink_to(self.put("twice", "target"))
        (directory / "folder.so").mkdir()
        (directory / "empty.so").write_bytes(b"")
        (directory / "text.so").write_bytes(b"#!/bin/sh\nexit 0\n")
        os.mkfifo(directory / "pipe.so")
        for library, text in (("link", "symbolic link"), ("folder", "regular file"),
                              ("empty", "empty"), ("pipe", "regular file"), ("text", "ELF")):
            details = self.refused_push(Code.INVALID_ARGUMENT, [f"'{library}'", text],
                                        self.named(library))
            self.assertNotIn(str(directory), details)

    def test_a_library_that_is_long_to_read_holds_nobody_up(self):
        path = self.directories[0] / "long.so"
        with open(path, "wb") as file:
            file.truncate(1 << 30)  # as large as modules may be
        self.addCleanup(path.unlink)
        push = self.client.catalog.PushCallable.future(self.named("long").message(),
                                                       timeout=SECONDS)
        answered = 0
        while not push.done():
            self.client.heartbeat()
            answered += 1
        self.assertEqual(push.code(), Code.INVALID_ARGUMENT, push.details())
        self.assertGreater(answered, 10)

    def test_what_the_library_does_not_declare(self):
        self.put("twice", "lib.so")
        self.refused_push(Code.NOT_FOUND, ["thrice_below"], self.named("lib", "thrice_below"))
        self.refused_push(Code.FAILED_PRECONDITION, ["twice_below"], self.named("lib", kind=SUB))

    def test_a_node_without_libraries(self):
        daemon, client = self.another_node()
        self.refused(Code.NOT_FOUND, ["0 directories"], client.catalog.PushCallable,
                     self.named("any").message(), timeout=SECONDS)
        self.stop(daemon)


main()
