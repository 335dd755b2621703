import { Fork, type PageKey, parseTimelineId, relationBlockKey, Slru, slruPageKey } from '@coppice/vocabulary';
import { WarmSets } from './warm-sets';

const [one, two] = ['1', '2'].map((digit) => parseTimelineId(digit.repeat(32))!) as [never, never];
const block = (relation: number, number: number): PageKey => relationBlockKey({ tablespace: 1663, database: 5, relation, fork: Fork.main }, number);

describe('warm sets', () => {
  it('share catalog and status pages among all timelines of a template, and keep users’ pages to their own', () => {
    const sets = new WarmSets();
    const status = slruPageKey(Slru.xact, 0);
    sets.recorder(7n, one)([block(1259, 0), status, block(20000, 1)]);
    expect(sets.keysFor(7n, one)).toEqual([block(1259, 0), status, block(20000, 1)]);
    expect(sets.keysFor(7n, two)).toEqual([block(1259, 0), status]);
    expect(sets.keysFor(8n, two)).toEqual([]);
  });

  it('learn only the first pages of a start, and forget the oldest', () => {
    const sets = new WarmSets();
    for (let start = 0; start < 3; start++) {
      const record = sets.recorder(7n, one);
      for (let i = 0; i < 1_000; i++) record([block(1259, start * 1_000 + i)]);
    }
    const keys = sets.keysFor(7n, one);
    expect(keys.length).toBe(384);
    expect(keys).toContain(block(1259, 2_255));
    expect(keys).not.toContain(block(1259, 2_256));
    expect(keys).not.toContain(block(1259, 0));
  });

  it('remember a bounded number of timelines', () => {
    const sets = new WarmSets();
    sets.recorder(7n, one)([block(20000, 0)]);
    for (let i = 0; i < 256; i++) sets.recorder(7n, parseTimelineId(i.toString(16).padStart(32, '0'))!)([block(20000, 0)]);
    expect(sets.keysFor(7n, one)).toEqual([]);
  });
});
