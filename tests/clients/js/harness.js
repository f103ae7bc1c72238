// A daemon of one's own, and the wire's messages as any JavaScript client would have them: names in
// camel case, 64-bit integers as text, bytes as buffers. The environment says where things are, as
// in ../python/harness.py.
'use strict';

const assert = require('node:assert/strict');
const childProcess = require('node:child_process');
const crypto = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');
const { after, before } = require('node:test');
const grpc = require('@grpc/grpc-js');
const protoLoader = require('@grpc/proto-loader');

const SECONDS = 60; // for anything that is expected to happen
const MIB = 1 << 20;
const INT64 = 7;
const Tag = { INPUT: 0, OUTPUT: 1, INOUT: 2, OUTPUT_EXISTING: 3, NO_DEP: 4 };
const Kind = { SUB: 1, ORCH: 2, CHIP: 3 };

const wire = grpc.loadPackageDefinition(protoLoader.loadSync('simpler_distributed_v1.proto', {
  includeDirs: [process.env.SIMPLER_PROTO],
  longs: String,
  defaults: true,
  oneofs: true,
})).simpler.distributed.v1;

const OPTIONS = {
  'grpc.max_send_message_length': -1,
  'grpc.max_receive_message_length': -1,
  'grpc.enable_http_proxy': 0,
};

// Meson ends a test that takes too long with SIGTERM: leave by the door, so that daemons go, too.
process.on('SIGTERM', () => process.exit(1));

// Started on a free port of this machine; stopped by SIGTERM, which it answers with exit 0.
class Daemon {
  static start(...options) {
    const daemon = new Daemon();
    const args = ['--listen', '127.0.0.1:0', '--log-level', 'warn', ...options];
    daemon.process = childProcess.spawn(process.env.SIMPLER_L3D, args,
      { stdio: ['ignore', 'pipe', 'inherit'] });
    daemon.ended = new Promise((resolve) => daemon.process.on('exit',
      (code, signal) => resolve(signal ?? code)));
    process.on('exit', () => daemon.process.kill('SIGKILL'));
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error('the daemon is not ready')), SECONDS * 1000);
      late.unref();
      let said = '';
      daemon.process.stdout.on('data', (text) => {
        said += text;
        const ready = said.match(/^ready (\S+)\n/);
        if (!ready) return;
        clearTimeout(late);
        daemon.address = ready[1];
        resolve(daemon);
      });
      daemon.process.on('error', reject);
      daemon.ended.then((status) => reject(new Error(`the daemon ended with ${status}`)));
    });
  }

  async stop() {
    this.process.kill('SIGTERM');
    assert.equal(await this.ended, 0, 'exit status after SIGTERM');
  }
}

const deadline = () => ({ deadline: Date.now() + SECONDS * 1000 });

// All services of one connection, as promises.
class Client {
  constructor(address) {
    const credentials = grpc.credentials.createInsecure();
    this.worker = new wire.L3Worker(address, credentials, OPTIONS);
    this.catalog = new wire.Catalog(address, credentials, OPTIONS);
    this.pool = new wire.TensorPool(address, credentials, OPTIONS);
  }

  call(service, method, request) {
    return new Promise((resolve, reject) => {
      service[method](request, deadline(),
        (error, answer) => (error ? reject(error) : resolve(answer)));
    });
  }

  heartbeat() { return this.call(this.worker, 'Heartbeat', {}); }
  alloc(nbytes, more = {}) { return this.call(this.pool, 'AllocTensor', { nbytes, ...more }); }
  free(handle) { return this.call(this.pool, 'FreeTensor', { handle }); }
  refresh(handle, ttlMs = 0) {
    return this.call(this.pool, 'RefreshTensor', { handle, ttlMs });
  }

  push(chunks) {
    return new Promise((resolve, reject) => {
      const stream = this.pool.PushTensor(deadline(),
        (error, answer) => (error ? reject(error) : resolve(answer)));
      stream.on('error', () => {}); // the callback has it
      for (const chunk of chunks) stream.write(chunk);
      stream.end();
    });
  }

  pullChunks(handle) {
    return new Promise((resolve, reject) => {
      const chunks = [];
      this.pool.PullTensor(handle, deadline())
        .on('data', (chunk) => chunks.push(chunk))
        .on('error', reject)
        .on('end', () => resolve(chunks));
    });
  }

  async pull(handle) {
    return Buffer.concat((await this.pullChunks(handle)).map((chunk) => chunk.data));
  }

  write(handle, data) { return this.push(chunksOf(handle, data)); }

  async tensor(values) {
    const data = int64s(values);
    const handle = await this.alloc(data.length, { shape: [values.length], dtype: INT64 });
    return this.write(handle, data);
  }

  async values(handle) { return valuesOf(await this.pull(handle)); }

  async install(callable, more = {}) {
    await this.call(this.catalog, 'PushCallable', { ...message(callable), ...more });
    return callable;
  }

  dispatch(callable, tensorRefs = [], scalarArgs = [], more = {}) {
    return this.call(this.worker, 'Dispatch', {
      taskId: 1, callableId: callable.id, callableVersion: callable.version, tensorRefs,
      scalarArgs, ...more,
    });
  }

  // A unary call of bytes that nobody checked.
  raw(method, data) {
    const itself = (bytes) => bytes;
    return new Promise((resolve, reject) => {
      this.worker.makeUnaryRequest(method, itself, itself, data, new grpc.Metadata(), deadline(),
        (error, answer) => (error ? reject(error) : resolve(answer)));
    });
  }

  close() {
    for (const service of [this.worker, this.catalog, this.pool]) service.close();
  }
}

// As existing clients cut them: pieces of 1 MiB that all name the handle. Without `repeat` the
// first one alone does.
function* chunksOf(handle, data, { repeat = true } = {}) {
  for (let at = 0; at === 0 || at < data.length; at += MIB) {
    const chunk = { offset: at, data: data.subarray(at, at + MIB), last: at + MIB >= data.length };
    yield repeat || at === 0 ? { handle, ...chunk } : chunk;
  }
}

function int64s(values) {
  const data = Buffer.alloc(values.length * 8);
  values.forEach((value, i) => data.writeBigInt64LE(BigInt(value), i * 8));
  return data;
}

const valuesOf = (data) => Array.from({ length: data.length / 8 },
  (_, i) => Number(data.readBigInt64LE(i * 8)));

const inline = (values, tag = Tag.INPUT) =>
  ({ inlineData: int64s(values), shape: [values.length], dtype: INT64, tag });
const stored = (handle, count, tag = Tag.INPUT) =>
  ({ handle, shape: [count], dtype: INT64, tag });

// --- callables: what src/catalog/payload.h and digest.h say ---

const sha256 = (data) => crypto.createHash('sha256').update(data).digest();

function u32(value) {
  const out = Buffer.alloc(4);
  out.writeUInt32LE(value);
  return out;
}

function u64(value) {
  const out = Buffer.alloc(8);
  out.writeBigUInt64LE(BigInt(value));
  return out;
}

function moduleCallable(name, { kind = Kind.ORCH, state = Buffer.alloc(0),
  module = 'client_tasks' } = {}) {
  const content = fs.readFileSync(path.join(process.env.SIMPLER_MODULES, `${module}.so`));
  const fields = [Buffer.from('simpler.callable'), u32(kind), u32(1), Buffer.from('module'),
    sha256(content), Buffer.from(name), state];
  const digest = sha256(Buffer.concat(
    fields.flatMap((field) => [u64(field.length), field])));
  return {
    name, kind, state, content, digest,
    version: digest.readBigUInt64LE(0).toString(),
    id: (digest.readBigUInt64LE(8) || 1n).toString(),
  };
}

function payload({ name, kind, state, content }) {
  return Buffer.concat([Buffer.from('SMPC'), u32(2), u32(kind), u32(1), u32(1), u32(name.length),
    u32(0), u32(state.length), sha256(content), u64(content.length), u32(0), u32(0),
    Buffer.from(name), state, content]);
}

const message = (callable) =>
  ({ callableId: callable.id, version: callable.version, pickled: payload(callable) });

// --- tests ---

async function waitUntil(condition, what) {
  const until = Date.now() + SECONDS * 1000;
  while (!await condition()) {
    assert.ok(Date.now() < until, `after ${SECONDS} seconds it still is not so that ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

// One daemon for the tests of a file. `it.client` is connected to it; what `prepare` returns is put
// into `it`, too. All in one hook: at the top of a file, hooks do not wait for each other.
function withDaemon(options, prepare = () => ({})) {
  const it = {};
  before(async () => {
    it.daemon = await Daemon.start('--node-id', 'node-under-test', ...options);
    it.client = new Client(it.daemon.address);
    Object.assign(it, await prepare(it.client));
  });
  after(async () => {
    it.client.close();
    await it.daemon.stop();
  });
  // The call fails with this code, and its text has all of `texts` in it; the daemon lives on.
  it.refused = async (code, texts, call) => {
    const error = await call.then(() => assert.fail(`not refused with ${grpc.status[code]}`),
      (reason) => reason);
    assert.equal(grpc.status[error.code], grpc.status[code], error.message);
    for (const text of texts) assert.ok(error.details.includes(text), error.details);
    assert.ok((await it.client.heartbeat()).ok);
    return error.details;
  };
  return it;
}

module.exports = {
  Client, Daemon, INT64, Kind, MIB, Tag, chunksOf, grpc, inline, int64s, moduleCallable, payload,
  stored, valuesOf, waitUntil, withDaemon,
};
