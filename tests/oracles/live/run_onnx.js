// Runs models with onnxruntime-node: run_onnx.js FOLDER, which holds requests.json (a list of {model, inputs, outputs}) and the raw
// little-endian data that it names; outputs are written beside. Tensors of 4 bits travel packed.
const fs = require('fs');
const path = require('path');
const ort = require('onnxruntime-node');

const folder = process.argv[2];
const arrays = {
  float32: Float32Array, uint8: Uint8Array, int8: Int8Array, uint16: Uint16Array, int16: Int16Array, int32: Int32Array, int64: BigInt64Array,
  int4: Int8Array, uint4: Uint8Array,
};

(async () => {
  for (const request of JSON.parse(fs.readFileSync(path.join(folder, 'requests.json')))) {
    const session = await ort.InferenceSession.create(path.join(folder, request.model), {intraOpNumThreads: 1, graphOptimizationLevel: 'disabled'});
    const feeds = {};
    for (const t of request.inputs) {
      const raw = fs.readFileSync(path.join(folder, t.file));
      const bytes = new Uint8Array(raw).buffer;
      feeds[t.name] = new ort.Tensor(t.type, new arrays[t.type](bytes), t.dims);
    }
    const results = await session.run(feeds);
    if (request.repeat) {  // a timing: the fastest of so many runs, in seconds
      let best = Infinity;
      for (let i = 0; i < request.repeat; ++i) {
        const begin = process.hrtime.bigint();
        await session.run(feeds);
        best = Math.min(best, Number(process.hrtime.bigint() - begin) / 1e9);
      }
      fs.writeFileSync(path.join(folder, 'seconds'), String(best));
    }
    for (const t of request.outputs) {
      const d = results[t.name].data;
      fs.writeFileSync(path.join(folder, t.file), Buffer.from(d.buffer, d.byteOffset, d.byteLength));
    }
    await session.release();
  }
})().catch(e => { console.error(String(e)); process.exit(1); });
