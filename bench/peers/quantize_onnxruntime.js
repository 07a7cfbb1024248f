// quantize_onnxruntime.js FOLDER SCALE ZERO_POINT: QuantizeLinear of FOLDER/x (float32) to uint8 with onnxruntime-node, on one thread.
//
// Writes FOLDER/y (uint8) and prints the seconds of the fastest call, then those of a call with one element: node's own share.
const fs = require('fs');
const path = require('path');
const ort = require('onnxruntime-node');

// A model of one node, as protocol buffers: fields are bytes [tag, length, ...payload] or [tag, number].
const varint = n => n < 128 ? [n] : [n & 127 | 128, ...varint(Math.floor(n / 128))];
const field = (tag, payload) => typeof payload === 'number' ? [...varint(tag << 3), ...varint(payload)]
                                                            : [...varint(tag << 3 | 2), ...varint(payload.length), ...payload];
const text = (tag, s) => field(tag, [...Buffer.from(s)]);
const tensor = (tag, name, type, shape) =>
    field(tag, [...text(1, name), ...field(2, field(1, [...field(1, type), ...field(2, shape.flatMap(d => field(1, field(1, d))))]))]);
const model = n => {
  const node = [...text(1, 'x'), ...text(1, 's'), ...text(1, 'z'), ...text(2, 'y'), ...text(4, 'QuantizeLinear')];
  const graph = [...field(1, node), ...text(2, 'g'), ...tensor(11, 'x', 1, [n]), ...tensor(11, 's', 1, []), ...tensor(11, 'z', 2, []),
                 ...tensor(12, 'y', 2, [n])];
  return Uint8Array.from([...field(1, 8), ...field(7, graph), ...field(8, [...text(1, ''), ...field(2, 13)])]);
};

const [folder, scale, zeroPoint] = process.argv.slice(2);
const fastest = async x => {
  const session = await ort.InferenceSession.create(model(x.length), {intraOpNumThreads: 1});
  const feeds = {
    x: new ort.Tensor('float32', x, [x.length]),
    s: new ort.Tensor('float32', Float32Array.from([Number(scale)]), []),
    z: new ort.Tensor('uint8', Uint8Array.from([Number(zeroPoint)]), []),
  };
  let best = Infinity, y;
  for (const end = Date.now() + 500; Date.now() < end;) {
    const begin = process.hrtime.bigint();
    y = (await session.run(feeds)).y.data;
    best = Math.min(best, Number(process.hrtime.bigint() - begin) / 1e9);
  }
  return [best, y];
};
(async () => {
  const raw = fs.readFileSync(path.join(folder, 'x'));
  const x = new Float32Array(new Uint8Array(raw).buffer);
  const [seconds, y] = await fastest(x);
  fs.writeFileSync(path.join(folder, 'y'), y);
  console.log(seconds, (await fastest(x.slice(0, 1)))[0]);
})().catch(e => { console.error(String(e)); process.exit(1); });
