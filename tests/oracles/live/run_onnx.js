// Runs models with onnxruntime-node: run_onnx.js FOLDER, which holds requests.json (a list of {model, inputs, outputs}) and the raw
// little-endian data that it names; outputs are written beside. `runs`: the first input holds so many tensors, one behind the other;
// each is run by itself, and the outputs lie one behind the other too.
const fs = require('fs');
const path = require('path');
const ort = require('onnxruntime-node');

const folder = process.argv[2];
const arrays = {
  float32: Float32Array, uint8: Uint8Array, int8: Int8Array, uint16: Uint16Array, int16: Int16Array, int32: Int32Array, int64: BigInt64Array,
};

async function run(request) {
  const session = await ort.InferenceSession.create(path.join(folder, request.model), {intraOpNumThreads: 1, graphOptimizationLevel: 'disabled'});
  const runs = request.runs || 1, feeds = {}, written = {};
  for (const t of request.outputs) written[t.name] = [];
  const bytes = request.inputs.map(t => new Uint8Array(fs.readFileSync(path.join(folder, t.file))).buffer);
  for (let r = 0; r < runs; ++r) {
    request.inputs.forEach((t, i) => {
      const length = bytes[i].byteLength / runs;
      feeds[t.name] = new ort.Tensor(t.type, new arrays[t.type](bytes[i].slice(r * length, (r + 1) * length)), t.dims);
    });
    const results = await session.run(feeds);
    for (const t of request.outputs) {
      const d = results[t.name].data;
      written[t.name].push(Buffer.from(d.buffer, d.byteOffset, d.byteLength));
    }
  }
  if (request.repeat) {  // a timing: the fastest of so many runs, in seconds
    let best = Infinity;
    for (let i = 0; i < request.repeat; ++i) {
      const begin = process.hrtime.bigint();
      await session.run(feeds);
      best = Math.min(best, Number(process.hrtime.bigint() - begin) / 1e9);
    }
    fs.writeFileSync(path.join(folder, 'seconds'), String(best));
  }
  for (const t of request.outputs) fs.writeFileSync(path.join(folder, t.file), Buffer.concat(written[t.name]));
  await session.release();
}

(async () => {
  for (const request of JSON.parse(fs.readFileSync(path.join(folder, 'requests.json')))) {
    try {
      await run(request);
    } catch (e) {
      fs.writeFileSync(path.join(folder, request.model + '.error'), String(e));
    }
  }
})();
