// Tasks on a node, as a JavaScript client sends them; results come back through tensors.
'use strict';

const assert = require('node:assert/strict');
const { test } = require('node:test');
const {
  Client, Daemon, INT64, Kind, Tag, grpc, inline, int64s, moduleCallable, payload, stored,
  valuesOf, waitUntil, withDaemon,
} = require('./harness');

const { status } = grpc;
const AT_ONCE = 4;
const it = withDaemon(['--sub-workers', String(AT_ONCE), '--pool-bytes', '32M'], async (client) => {
  const callables = {};
  for (const name of ['add_below', 'gate', 'gate_below', 'refuse', 'crash_below'])
    callables[name] = await client.install(moduleCallable(name));
  callables.twice = await client.install(moduleCallable('twice_below', { module: 'twice' }));
  return { callables };
});

function outputs(answer) {
  assert.deepEqual([answer.errorCode, answer.errorMsg], [0, '']);
  return answer.outputTensors;
}

test('R08_an_inline_tensor_comes_back_changed', async () => {
  const answer = await it.client.dispatch(it.callables.twice, [inline([1, 2, 3], Tag.INOUT)], [],
    { taskId: 77 });
  assert.equal(answer.taskId, '77');
  const [out] = outputs(answer);
  assert.deepEqual(valuesOf(out.inlineData), [2, 4, 6]);
  assert.deepEqual([out.shape, out.dtype, out.tag], [['3'], INT64, Tag.INOUT]);
});

test('R08_stored_tensors_give_a_stored_result', async () => {
  const a = await it.client.tensor([1, 2, 3]);
  const b = await it.client.tensor([10, 20, 30]);
  const total = await it.client.alloc(24);
  const [out] = outputs(await it.client.dispatch(it.callables.add_below,
    [stored(a, 3), stored(b, 3), stored(total, 3, Tag.OUTPUT)]));
  assert.equal(out.handle.handleId, total.handleId);
  assert.deepEqual(await it.client.values(total), [11, 22, 33]);
  for (const handle of [a, b, total]) await it.client.free(handle);
});

test('R13_an_inline_output_is_sent_without_bytes', async () => {
  for (const tag of [Tag.OUTPUT, Tag.OUTPUT_EXISTING]) {
    const [out] = outputs(await it.client.dispatch(it.callables.add_below,
      [inline([1, 2]), inline([3, 4]), { shape: [2], dtype: INT64, tag }]));
    assert.deepEqual(valuesOf(out.inlineData), [4, 6]);
  }
});

test('a failure of user code is in the answer', async () => {
  const answer = await it.client.dispatch(it.callables.refuse, [inline([1])]);
  assert.equal(answer.errorCode, 1007);
  assert.match(answer.errorMsg, /refused with 1 tensors/);
});

test('R05_a_crash_is_told_and_the_next_task_runs', async () => {
  const answer = await it.client.dispatch(it.callables.crash_below);
  assert.notEqual(answer.errorCode, 0);
  assert.match([answer.errorMsg, ...answer.remoteTraceback].join('\n'), /crash/);
  const [out] = outputs(await it.client.dispatch(it.callables.twice, [inline([4], Tag.INOUT)]));
  assert.deepEqual(valuesOf(out.inlineData), [8]);
});

for (const name of ['gate', 'gate_below']) {
  test(`R16_tasks_run_at_once_and_others_are_answered_meanwhile_${name}`, async () => {
    const flags = await it.client.tensor(Array(AT_ONCE + 1).fill(0));
    const argument = stored(flags, AT_ONCE + 1, Tag.OUTPUT_EXISTING);
    let done = 0;
    const tasks = Array.from({ length: AT_ONCE }, (_, i) =>
      it.client.dispatch(it.callables[name], [argument], [i]).finally(() => { done += 1; }));
    await waitUntil(async () => done > 0
      || (await it.client.values(flags)).slice(1).every((flag) => flag === 1),
    'all tasks are running');
    assert.equal(done, 0);
    assert.ok((await it.client.heartbeat()).ok);
    await it.client.write(flags, int64s([1]));
    for (const answer of await Promise.all(tasks)) outputs(answer);
    await it.client.free(flags);
  });
}

test('R16_many_small_tasks', async () => {
  const answers = await Promise.all(Array.from({ length: 200 }, (_, i) =>
    it.client.dispatch(it.callables.twice, [inline([i], Tag.INOUT)], [], { taskId: i })));
  answers.forEach((answer, i) => {
    assert.equal(answer.taskId, String(i));
    assert.deepEqual(valuesOf(outputs(answer)[0].inlineData), [2 * i]);
  });
});

test('R09_what_was_pulled_as_the_newest_runs_on_another_node', async () => {
  const { twice } = it.callables;
  const answer = await it.client.call(it.client.catalog, 'PullCallable',
    { callableId: twice.id, version: 0 });
  assert.equal(answer.version, twice.version);
  assert.ok(answer.pickled.equals(payload(twice)));
  const other = await Daemon.start('--sub-workers', '1', '--pool-bytes', '16M');
  const client = new Client(other.address);
  await client.call(client.catalog, 'PushCallable', answer);
  const [out] = outputs(await client.dispatch(twice, [inline([21], Tag.INOUT)]));
  assert.deepEqual(valuesOf(out.inlineData), [42]);
  client.close();
  await other.stop();
});

test('R07_captured_state_travels_with_the_callable', async () => {
  const scale = await it.client.install(moduleCallable('scale_below', { state: int64s([-5]) }));
  const [out] = outputs(await it.client.dispatch(scale, [inline([1, 2], Tag.INOUT)]));
  assert.deepEqual(valuesOf(out.inlineData), [-5, -10]);
});

test('R02_R11_tensor_args_are_refused', async () => {
  await it.refused(status.INVALID_ARGUMENT, ['tensor_args', 'tensor_refs'],
    it.client.dispatch(it.callables.twice, [inline([1], Tag.INOUT)], [],
      { tensorArgs: [{ data: 57005, shape: [1] }] }));
});

test('an unknown callable, a wrong version', async () => {
  const { twice } = it.callables;
  await it.refused(status.NOT_FOUND, [],
    it.client.dispatch(twice, [], [], { callableId: '1234605616436508552' }));
  await it.refused(status.FAILED_PRECONDITION, ['version'], it.client.dispatch(twice, [], [],
    { callableVersion: (BigInt(twice.version) ^ 1n).toString() }));
  await it.refused(status.NOT_FOUND, [], it.client.call(it.client.catalog, 'PullCallable',
    { callableId: '1234605616436508552' }));
});

test('R22_a_wrong_kind_is_told_with_both_kinds_and_the_name', async () => {
  const add = await it.client.install(moduleCallable('add', { kind: Kind.SUB }));
  await it.refused(status.FAILED_PRECONDITION, ['sub task', 'orchestration function', 'add'],
    it.client.dispatch(add));
  await it.refused(status.FAILED_PRECONDITION,
    ['sub task', 'orchestration function', 'twice_below'],
    it.client.dispatch(it.callables.twice, [], [], { callableKind: Kind.SUB }));
});

test('tensors that make no sense', async () => {
  const inlineData = Buffer.alloc(8);
  for (const [tensor, text] of [
    [{ shape: [1], dtype: 99 }, 'dtype'],
    [{ shape: [1], dtype: INT64, tag: 5 }, 'tag'],
    [{ shape: [-1], dtype: INT64 }, 'shape'],
    [{ shape: ['4611686018427387904', 4], dtype: INT64 }, 'shape'],
    [{ shape: [2], dtype: INT64 }, 'inline'],
  ])
    await it.refused(status.INVALID_ARGUMENT, ['tensor_refs[0]', text],
      it.client.dispatch(it.callables.twice, [{ inlineData, ...tensor }]));
});

test('handles that are no good', async () => {
  const handle = await it.client.tensor([1]);
  const argument = (more) => [stored({ ...handle, ...more }, 1, Tag.INOUT)];
  await it.refused(status.NOT_FOUND, [],
    it.client.dispatch(it.callables.twice, argument({ handleId: '4295032816' })));
  await it.refused(status.NOT_FOUND, ['some-other-node'],
    it.client.dispatch(it.callables.twice, argument({ nodeId: 'some-other-node' })));
  await it.client.free(handle);
  await it.refused(status.FAILED_PRECONDITION, [],
    it.client.dispatch(it.callables.twice, argument({})));
});
