import { OpenLayer } from '@coppice/layers';
import type { Generation } from '@coppice/vocabulary';
import { Fork, relationBlockKey } from '@coppice/vocabulary';
import { writeDeltaLayer } from './write-layer';

const RELATION = { tablespace: 1663, database: 5, relation: 16384, fork: Fork.main };
const PAGE = Buffer.alloc(8192, 1);

it('others have their turns while a layer is written, also when it is compressed to nearly nothing', async () => {
  const open = new OpenLayer(0);
  for (let block = 0; block < 512; block += 1) {
    // Its own copy: a layer keeps bytes that are the same object once.
    open.put(relationBlockKey(RELATION, block), 100, { kind: 'image', bytes: Buffer.from(PAGE) });
  }
  let turns = 0;
  const immediate = (): void => {
    turns += 1;
    next = setImmediate(immediate);
  };
  let next = setImmediate(immediate);
  const { file } = await writeDeltaLayer(open, { startLsn: 0, endLsn: 200, generation: 1 as Generation });
  clearImmediate(next);
  expect(file.length).toBeLessThan(256 * 1024);
  // Four megabytes, a turn for each 128 kB.
  expect(turns).toBeGreaterThanOrEqual(30);
});
