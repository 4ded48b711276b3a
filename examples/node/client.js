// Both services from Node, by the descriptor set that `compactface protocol` writes.
//
// node client.js DESCRIPTORS PHOTO [ENCODER [RECOGNIZER]], where the services are host:port.

import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { promisify } from 'node:util';

import grpc from '@grpc/grpc-js';
import { loadFileDescriptorSetFromBuffer } from '@grpc/proto-loader';

const [, , descriptors, photo, encoderAt = 'localhost:50051', recognizerAt = 'localhost:50052'] =
  process.argv;

const definitions = loadFileDescriptorSetFromBuffer(readFileSync(descriptors), {
  keepCase: true,
  enums: String,
  longs: Number,
});
const { v1 } = grpc.loadPackageDefinition(definitions).compactface;

const encoder = connect(v1.EncoderService, encoderAt);
const recognizer = connect(v1.RecognizerService, recognizerAt);
const gallery = connect(v1.GalleryService, recognizerAt);

const { faces } = await encoder.Encode({ image: readFileSync(photo) });
if (faces.length === 0) throw new Error(`${photo} shows no face`);
const [face] = faces; // the largest
console.log(`encode: ${face.size_bytes} bytes of codec ${face.map.codec_id}`);

const collection = `example-${randomUUID()}`;
await gallery.CreateCollection({ collection: { collection_id: collection } });
try {
  await ask();
} finally {
  await gallery.DeleteCollection({ collection, force: true });
}
for (const client of [encoder, recognizer, gallery]) client.close();

// Enrolls a face, recognizes it, and is refused.
async function ask() {
  await gallery.Enroll({ collection, subject_id: 'ada', maps: [face.map] });

  const probe = { map: face.map };
  const found = await recognizer.Identify({ collection, probe, threshold: { max_fpir: 0.01 } });
  const [best] = found.candidates;
  console.log(`identify: ${found.decision} ${best.subject_id} ${best.similarity.toFixed(3)}`);

  const same = await recognizer.Verify({ collection, probe, subject_id: 'ada' });
  console.log(`verify: ${same.decision} ${same.similarity.toFixed(3)}`);

  const broken = { ...face.map, png: face.map.png.subarray(0, -1) };
  try {
    await recognizer.Identify({ collection, probe: { map: broken } });
  } catch (error) {
    console.log(`refused: ${grpc.status[error.code]} ${explain(error)}`);
  }
}

// A client whose methods give promises, each with a deadline of ten seconds.
function connect(Service, target) {
  const client = new Service(target, grpc.credentials.createInsecure());
  const methods = Object.keys(Service.service).map((name) => {
    const call = promisify(client[name].bind(client));
    return [name, (request) => call(request, { deadline: Date.now() + 10_000 })];
  });
  return { ...Object.fromEntries(methods), close: () => client.close() };
}

// The reason and the field at fault, out of google.rpc.Status.
function explain(error) {
  const [bytes] = error.metadata.get('grpc-status-details-bin');
  const status = definitions['google.rpc.Status'].deserialize(bytes);
  const detail = (name) => {
    const found = status.details.find(({ type_url }) => type_url.endsWith(`/${name}`));
    return found && definitions[name].deserialize(found.value);
  };
  const { reason } = detail('google.rpc.ErrorInfo');
  const { field_violations } = detail('google.rpc.BadRequest');
  return `${reason} in ${field_violations[0].field}`;
}
