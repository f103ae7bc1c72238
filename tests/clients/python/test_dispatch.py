#!/usr/bin/python3
"""Tasks on a node, as a Python client sends them; results come back through tensors."""
import struct

import grpc

from harness import (CHIP, INOUT, INPUT, INT64, NO_DEP, ORCH, OUTPUT, OUTPUT_EXISTING, SUB, UINT8,
                     DaemonTest, inline, int64s, main, module_callable, stored,
                     values_of, wait_until, wire)

Code = grpc.StatusCode
AT_ONCE = 4


class Dispatching(DaemonTest):
    options = ("--sub-workers", str(AT_ONCE), "--pool-bytes", "32M",
               "--node-id", "node-under-test")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for name in "add_below", "gate", "gate_below", "refuse", "crash_below":
            setattr(cls, name, cls.client.install(module_callable(name)))
        cls.twice = cls.client.install(module_callable("twice_below", module="twice"))

    def outputs(self, response):
        self.assertEqual((response.error_code, response.error_msg), (0, ""))
        return response.output_tensors

    # --- results come back ---

    def test_R08_an_inline_tensor_comes_back_changed(self):
        response = self.client.dispatch(self.twice, [inline([1, 2, 3], INOUT)], task_id=77)
        self.assertEqual(response.task_id, 77)
        [out] = self.outputs(response)
        self.assertEqual(values_of(out.inline_data), [2, 4, 6])
        self.assertEqual((list(out.shape), out.dtype, out.tag), ([3], INT64, INOUT))

    def test_R08_stored_tensors_give_a_stored_result(self):
        a, b = self.client.tensor([1, 2, 3]), self.client.tensor([10, 20, 30])
        total = self.client.alloc(24)
        [out] = self.outputs(self.client.dispatch(
            self.add_below, [stored(a, 3), stored(b, 3), stored(total, 3, OUTPUT)]))
        self.assertEqual(out.handle.handle_id, total.handle_id)
        self.assertEqual(self.client.values(total), [11, 22, 33])
        for handle in a, b, total:
            self.client.free(handle)

    def test_views_of_one_tensor_are_arguments_of_their_own(self):
        handle = self.client.tensor([1, 2, 10, 20, 0, 0, 7])
        [out] = self.outputs(self.client.dispatch(self.add_below, [
            stored(handle, 2), stored(handle, 2, offset=16),
            stored(handle, 2, OUTPUT, offset=32)]))
        self.assertEqual((out.handle.handle_id, out.offset), (handle.handle_id, 32))
        self.assertEqual(self.client.values(handle), [1, 2, 10, 20, 11, 22, 7])
        self.client.free(handle)

    def test_a_view_that_cannot_be_is_refused(self):
        handle = self.client.tensor([1, 2])
        for offset, count, texts in ((8, 2, ["16 bytes from offset 8", "has 16"]),
                                     (16, 1, ["8 bytes from offset 16"]),
                                     ((1 << 63) - 16, 1, ["storage has 16"]),
                                     ((1 << 64) - 8, 1, ["past 2^63-1"]),
                                     (4, 1, ["no multiple of the 8 bytes of int64"])):
            with self.subTest(offset=offset):
                self.refused(Code.INVALID_ARGUMENT, ["tensor_refs[0]", *texts],
                             self.client.dispatch, self.twice,
                             [stored(handle, count, INOUT, offset)])
        nothing = inline([1])
        nothing.offset = 8
        self.refused(Code.INVALID_ARGUMENT, ["offset is 8 without a handle"],
                     self.client.dispatch, self.twice, [nothing])
        self.assertEqual(self.client.values(handle), [1, 2])
        self.client.free(handle)

    def test_R08_inline_and_stored_tensors_mix(self):
        a = self.client.tensor([5, 6])
        total = wire.TensorRef(shape=[2], dtype=INT64, tag=OUTPUT)
        [out] = self.outputs(self.client.dispatch(
            self.add_below, [stored(a, 2), inline([1, 1]), total]))
        self.assertEqual(values_of(out.inline_data), [6, 7])
        self.client.free(a)

    def test_R14_a_stored_tensor_is_updated_in_place(self):
        handle = self.client.tensor([1, 2, 3])
        for _ in range(3):
            self.outputs(self.client.dispatch(self.twice, [stored(handle, 3, INOUT)]))
        self.assertEqual(self.client.values(handle), [8, 16, 24])
        self.client.free(handle)

    def test_R15_the_same_processes_run_all_tasks_and_see_storage_younger_than_they_are(self):
        who = self.client.install(module_callable("who", module="remote_cases"))
        seen = []
        for _ in range(20):
            handle = self.client.alloc(16)
            self.outputs(self.client.dispatch(who, [stored(handle, 2, OUTPUT)]))
            seen.append(self.client.values(handle))
            self.client.free(handle)
        self.assertLessEqual(len({worker for worker, _ in seen}), AT_ONCE)
        self.assertEqual(len({parent for _, parent in seen}), 1)

    def test_R13_an_inline_output_is_sent_without_bytes(self):
        for empty in {}, {"inline_data": b""}:
            for tag in OUTPUT, OUTPUT_EXISTING:
                with self.subTest(tag=tag, **empty):
                    total = wire.TensorRef(shape=[2], dtype=INT64, tag=tag, **empty)
                    [out] = self.outputs(self.client.dispatch(
                        self.add_below, [inline([1, 2]), inline([3, 4]), total]))
                    self.assertEqual(values_of(out.inline_data), [4, 6])
                    self.assertEqual(out.tag, tag)

    def test_R13_old_bytes_of_an_inline_output_do_not_reach_the_task(self):
        [out] = self.outputs(self.client.dispatch(self.twice, [inline([21], OUTPUT)]))
        self.assertEqual(values_of(out.inline_data), [0])

    def test_outputs_are_in_argument_order_and_inputs_are_not_among_them(self):
        tensors = [inline([1]), inline([2]), wire.TensorRef(shape=[1], dtype=INT64, tag=OUTPUT),
                   inline([9], INOUT), inline([8], NO_DEP)]
        outs = self.outputs(self.client.dispatch(self.add_below, tensors))
        self.assertEqual([out.tag for out in outs], [OUTPUT, INOUT])
        self.assertEqual([values_of(out.inline_data) for out in outs], [[3], [9]])

    def test_R07_captured_state_travels_with_the_callable(self):
        for factor in 3, -5:
            scale = self.client.install(
                module_callable("scale_below", state=struct.pack("<q", factor)))
            [out] = self.outputs(self.client.dispatch(scale, [inline([1, 2], INOUT)]))
            self.assertEqual(values_of(out.inline_data), [factor, 2 * factor])

    def test_a_task_without_arguments_and_a_default_config(self):
        config = wire.CallConfigWire(block_dim=8, aicpu_thread_num=2)
        for blob in b"", config.SerializeToString():
            [out] = self.outputs(self.client.dispatch(
                self.twice, [inline([21], INOUT)], config_blob=blob))
            self.assertEqual(values_of(out.inline_data), [42])

    # --- failures of user code are no failures of the call ---

    def test_a_failure_of_user_code_is_in_the_answer(self):
        response = self.client.dispatch(self.refuse, [inline([1])], task_id=5)
        self.assertEqual((response.task_id, response.error_code), (5, 1007))
        self.assertIn("refused with 1 tensors", response.error_msg)
        self.assertEqual(list(response.output_tensors), [])

    def test_the_answer_names_the_chain_of_calls(self):
        float_tensor = wire.TensorRef(inline_data=bytes(8), shape=[2], dtype=0, tag=INOUT)
        response = self.client.dispatch(self.twice, [float_tensor])
        self.assertNotEqual(response.error_code, 0)
        told = response.error_msg + "\n".join(response.remote_traceback)
        for text in "sub task 'twice'", "sub worker", "got float32":
            self.assertIn(text, told)

    def test_R05_a_crash_is_told_and_the_next_task_runs(self):
        handle = self.client.tensor([7])
        response = self.client.dispatch(self.crash_below)
        self.assertNotEqual(response.error_code, 0)
        told = response.error_msg + "\n".join(response.remote_traceback)
        self.assertIn("crash", told)
        self.assertRegex(told, r"signal 9|SIGKILL|[Kk]illed")
        self.outputs(self.client.dispatch(self.twice, [stored(handle, 1, INOUT)]))
        self.assertEqual(self.client.values(handle), [14])
        self.client.free(handle)

    def test_R20_an_index_out_of_range_names_index_and_count(self):
        response = self.client.dispatch(self.add_below, [inline([1])])
        told = response.error_msg + "\n".join(response.remote_traceback)
        self.assertRegex(told, r"\b1\b.*\b1\b")
        self.assertNotEqual(response.error_code, 0)

    # --- many at once ---

    def pass_gates(self, callable_, count=AT_ONCE):
        """Tasks that wait for this client, which gets other answers meanwhile."""
        flags = self.client.tensor([0] * (count + 1))
        argument = stored(flags, count + 1, OUTPUT_EXISTING)
        calls = [self.client.dispatch_later(callable_, [argument], [i], task_id=i + 1)
                 for i in range(count)]
        wait_until(lambda: self.client.values(flags)[1:] == [1] * count
                   or any(call.done() for call in calls), "all tasks are running")
        self.assertEqual([call.done() for call in calls], [False] * count)
        self.assertTrue(self.client.heartbeat().ok)
        other = self.client.tensor([1, 2])
        self.assertEqual(self.client.values(other), [1, 2])
        self.client.free(other)
        self.client.write(flags, int64s([1]))
        for i, call in enumerate(calls):
            response = call.result()
            self.outputs(response)
            self.assertEqual(response.task_id, i + 1)
        self.client.free(flags)

    def test_R16_orchestration_functions_run_at_once(self):
        self.pass_gates(self.gate)

    def test_what_waits_behind_all_that_may_run_is_stopped_and_costs_no_other(self):
        running, count = 256, 258  # docs/wire.md, Limits
        flags = self.client.tensor([0] * (count + 1))
        argument = stored(flags, count + 1, OUTPUT_EXISTING)
        calls = [self.client.dispatch_later(self.gate, [argument], [i]) for i in range(running)]

        def come_to(in_flight):
            wait_until(lambda: self.client.status().queue.in_flight == in_flight
                       or any(call.done() for call in calls), f"{in_flight} are in flight")
            self.assertEqual([call.done() for call in calls], [False] * len(calls))

        wait_until(lambda: self.client.values(flags)[1:] == [1] * running + [0, 0],
                   "as many as may run do")
        stopped = self.client.dispatch_later(self.gate, [argument], [running])
        calls.append(self.client.dispatch_later(self.gate, [argument], [running + 1]))
        come_to(count)
        stopped.cancel()
        come_to(count - 1)
        self.assertEqual(self.client.values(flags)[running + 1:], [0, 0])
        self.client.write(flags, int64s([1]))
        for call in calls:
            self.outputs(call.result())
        self.assertEqual(self.client.values(flags)[running + 1:], [0, 1])
        self.client.free(flags)

    def test_R16_sub_tasks_of_several_dispatches_run_at_once(self):
        self.pass_gates(self.gate_below)

    def test_R16_a_task_runs_while_others_wait(self):
        flags = self.client.tensor([0, 0])
        waiting = self.client.dispatch_later(
            self.gate_below, [stored(flags, 2, OUTPUT_EXISTING)], [0])
        wait_until(lambda: self.client.values(flags)[1] == 1, "the first task is running")
        [out] = self.outputs(self.client.dispatch(self.twice, [inline([4], INOUT)]))
        self.assertEqual(values_of(out.inline_data), [8])
        self.assertFalse(waiting.done())
        self.client.write(flags, int64s([1]))
        self.outputs(waiting.result())
        self.client.free(flags)

    def test_a_tensor_that_is_freed_under_a_task_stays_until_the_task_ends(self):
        flags, used = self.client.tensor([0, 0]), self.client.alloc(24 << 20)
        waiting = self.client.dispatch_later(
            self.gate_below, [stored(flags, 2, OUTPUT_EXISTING), stored(used, 3 << 20)], [0])
        wait_until(lambda: self.client.values(flags)[1] == 1, "the task is running")
        self.client.free(used)
        self.refused(Code.FAILED_PRECONDITION, [], self.client.pull, used)
        self.refused(Code.RESOURCE_EXHAUSTED, [], self.client.alloc, 24 << 20)
        self.client.write(flags, int64s([1]))
        self.outputs(waiting.result())
        self.client.free(self.client.alloc(24 << 20))
        self.client.free(flags)

    def test_R16_many_small_tasks(self):
        calls = [self.client.dispatch_later(self.twice, [inline([i], INOUT)], task_id=i + 1)
                 for i in range(200)]
        for i, call in enumerate(calls):
            response = call.result()
            self.assertEqual(response.task_id, i + 1)
            self.assertEqual(values_of(self.outputs(response)[0].inline_data), [2 * i])

    # --- what a node refuses ---

    def refused_dispatch(self, code, texts, callable_, tensors=(), **more):
        return self.refused(code, texts, self.client.dispatch, callable_, tensors, **more)

    def test_an_unknown_callable(self):
        self.refused_dispatch(Code.NOT_FOUND, ["1234567890123"], self.twice,
                              callable_id=1234567890123)

    def test_a_wrong_version(self):
        self.refused_dispatch(Code.FAILED_PRECONDITION, ["version"], self.twice,
                              callable_version=self.twice.version ^ 1)

    def test_a_wrong_digest(self):
        self.refused_dispatch(Code.FAILED_PRECONDITION, ["digest"], self.twice,
                              [inline([1], INOUT)], callable_digest=bytes(32))
        self.refused_dispatch(Code.INVALID_ARGUMENT, ["callable_digest"], self.twice,
                              [inline([1], INOUT)], callable_digest=b"short")
        response = self.client.dispatch(self.twice, [inline([1], INOUT)],
                                        callable_digest=self.twice.digest, callable_kind=ORCH)
        self.assertEqual(values_of(self.outputs(response)[0].inline_data), [2])

    def test_R22_a_sub_task_is_not_dispatched(self):
        add = self.client.install(module_callable("add", SUB))
        self.refused_dispatch(Code.FAILED_PRECONDITION,
                              ["sub task", "orchestration function", "add"], add)

    def test_R22_a_kind_that_is_not_the_callables(self):
        self.refused_dispatch(Code.FAILED_PRECONDITION,
                              ["sub task", "orchestration function", "twice_below"],
                              self.twice, [inline([1], INOUT)], callable_kind=SUB)
        self.refused_dispatch(Code.INVALID_ARGUMENT, ["callable_kind"],
                              self.twice, callable_kind=99)

    def test_R22_R23_only_an_orchestration_function_asked_for_as_one_runs(self):
        names = {"add_one": SUB, "node_adds_one": ORCH, "add_one_on_chip": CHIP}
        said = {SUB: "sub task", ORCH: "orchestration function", CHIP: "chip"}
        handle = self.client.tensor([7])
        for name, kind in names.items():
            callable_ = self.client.install(module_callable(name, kind, module="worker_cases"))
            for asked in 0, SUB, ORCH, CHIP:
                with self.subTest(name=name, asked=asked):
                    if kind == ORCH and asked in (0, ORCH):
                        continue
                    self.refused_dispatch(
                        Code.FAILED_PRECONDITION,
                        [f"'{name}'", said[kind], said[asked or ORCH]], callable_,
                        [stored(handle, 1, INOUT)], callable_kind=asked)
                    self.assertEqual(self.client.values(handle), [7])
        self.outputs(self.client.dispatch(
            self.client.install(module_callable("node_adds_one", module="worker_cases")),
            [stored(handle, 1, INOUT)], callable_kind=ORCH))
        self.assertEqual(self.client.values(handle), [8])
        self.client.free(handle)

    def test_R02_R11_tensor_args_are_refused(self):
        for tensors in [], [inline([1], INOUT)]:
            with self.subTest(tensor_refs=len(tensors)):
                self.refused_dispatch(
                    Code.INVALID_ARGUMENT, ["tensor_args", "tensor_refs"], self.twice, tensors,
                    tensor_args=[wire.ContinuousTensorRef(data=0xdead, shape=[1], tag=INOUT)])

    def test_R12_an_oversize_inline_argument_is_an_error(self):
        tensor = wire.TensorRef(inline_data=bytes((1 << 20) + 8), shape=[(1 << 17) + 1],
                                dtype=INT64, tag=INOUT)
        self.refused_dispatch(Code.INVALID_ARGUMENT, ["inline", str(1 << 20)], self.twice,
                              [tensor])
        tensor = wire.TensorRef(inline_data=int64s([3]) * (1 << 17), shape=[1 << 17],
                                dtype=INT64, tag=INOUT)
        [out] = self.outputs(self.client.dispatch(self.twice, [tensor]))
        self.assertEqual(out.inline_data, int64s([6]) * (1 << 17))

    def test_tensors_that_make_no_sense(self):
        data = bytes(8)
        for fields, text in (
                ({"shape": [1], "dtype": 99}, "dtype"),
                ({"shape": [1], "dtype": -1}, "dtype"),
                ({"shape": [1], "dtype": INT64, "tag": 5}, "tag"),
                ({"shape": [1], "dtype": INT64, "tag": -1}, "tag"),
                ({"shape": [-1], "dtype": INT64}, "shape"),
                ({"shape": [0, 1 << 62], "dtype": INT64}, "2^63-1"),
                ({"shape": [1 << 62, 0], "dtype": INT64}, "2^63-1"),
                ({"shape": [-1, -1], "dtype": INT64}, "shape"),
                ({"shape": [1 << 62, 4], "dtype": INT64}, "shape"),
                ({"shape": [1] * 9, "dtype": INT64}, "shape"),
                ({"shape": [2], "dtype": INT64}, "inline"),  # 16 bytes, 8 sent
                ({"shape": [7], "dtype": UINT8}, "inline")):
            with self.subTest(**fields):
                tensor = wire.TensorRef(inline_data=data, **fields)
                details = self.refused_dispatch(Code.INVALID_ARGUMENT, ["tensor_refs[1]"],
                                                self.twice, [inline([1]), tensor])
                self.assertIn(text, details)

    def test_tensors_larger_than_their_storage(self):
        handle = self.client.tensor([1, 2])
        self.refused_dispatch(Code.INVALID_ARGUMENT, ["16"], self.twice,
                              [stored(handle, 3, INOUT)])
        self.assertEqual(self.client.values(handle), [1, 2])
        self.client.free(handle)

    def test_handles_that_are_no_good(self):
        handle = self.client.tensor([1])
        unknown = wire.TensorHandle(node_id="node-under-test", handle_id=(1 << 32) | 0xfff0)
        foreign = wire.TensorHandle(node_id="some-other-node", handle_id=handle.handle_id)
        self.refused_dispatch(Code.NOT_FOUND, [], self.twice, [stored(unknown, 1, INOUT)])
        self.refused_dispatch(Code.NOT_FOUND, ["some-other-node"], self.twice,
                              [stored(foreign, 1, INOUT)])
        self.client.free(handle)
        self.refused_dispatch(Code.FAILED_PRECONDITION, [], self.twice,
                              [stored(handle, 1, INOUT)])

    def test_too_many_arguments(self):
        self.refused_dispatch(Code.INVALID_ARGUMENT, ["32"], self.twice,
                              [inline([1])] * 33)
        self.refused_dispatch(Code.INVALID_ARGUMENT, ["128"], self.twice,
                              scalars=[1] * 129)

    def test_configs_that_make_no_sense(self):
        flagged = wire.CallConfigWire(enable_dump_tensor=True)
        self.refused_dispatch(Code.INVALID_ARGUMENT, ["config_blob"], self.twice,
                              config_blob=b"\xff\xff")
        self.refused_dispatch(Code.INVALID_ARGUMENT, ["output_prefix"], self.twice,
                              config_blob=flagged.SerializeToString())

    def test_refused_tasks_take_no_room(self):
        stale = self.client.tensor([1])
        self.client.free(stale)
        large = wire.TensorRef(inline_data=bytes(1 << 20), shape=[1 << 17], dtype=INT64,
                               tag=INOUT)
        for _ in range(40):  # 40 MiB in a pool of 32
            self.refused_dispatch(Code.FAILED_PRECONDITION, [], self.twice,
                                  [large, stored(stale, 1, INPUT)])
        self.client.free(self.client.alloc(self.pool_bytes))


main()
