import { Fork, type PageKey, parseTimelineId, relationBlockKey, relationSizeKey, Slru, slruPageKey } from '@coppice/vocabulary';
import { WarmSets } from './warm-sets';
import { parseSnapshot } from './warm-sets-file';

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

  it('forget what several starts in a row had no use for, and only that', () => {
    const sets = new WarmSets();
    const [used, unused] = [block(1259, 0), block(1259, 1)];
    sets.recorder(7n, one)([used, unused]);
    const judge = (isUsed: boolean): void => sets.judge(7n, two, [{ key: used, isUsed: true }, { key: unused, isUsed }]);
    for (const isUsed of [false, false, true, false, false]) judge(isUsed);
    expect(sets.keysFor(7n, one)).toEqual([used, unused]);
    judge(false);
    expect(sets.keysFor(7n, one)).toEqual([used]);
  });

  it('come back from what was kept of them', () => {
    const sets = new WarmSets();
    const keys = [block(1259, 0), relationSizeKey({ tablespace: 1664, database: 0, relation: 1262, fork: Fork.main }), slruPageKey(Slru.xact, 7), block(20000, 3)];
    sets.recorder(7n, one)(keys);
    const again = new WarmSets();
    again.restore(parseSnapshot(JSON.stringify(sets.snapshot())));
    expect(again.keysFor(7n, one)).toEqual(sets.keysFor(7n, one));
    expect(again.keysFor(7n, two)).toEqual(keys.slice(0, 3));
  });

  it.each(['', '{}', '{"lineages":[],"timelines":[["x",[]]]}', '{"lineages":[["7",["00"]]],"timelines":[]}', '{"lineages":[["7",["0800"]]]'])(
    'are not taken from %s',
    (text) => expect(() => parseSnapshot(text)).toThrow(SyntaxError),
  );
});
