import type { RelationsPart } from '@coppice/contracts';
import { highestRelation } from './compute-image';

describe('the highest relation of a stream', () => {
  const part = (relation: number[]): RelationsPart => {
    const same = (value: number): number[] => relation.map(() => value);
    return {
      kind: 'relations',
      value: { tablespace: same(1663), database: same(5), relation, fork: same(0), blocks: same(1) },
    };
  };
  async function* stream(...parts: RelationsPart[]): AsyncGenerator<RelationsPart> {
    yield* parts;
  }

  it('is that of any of its parts', async () => {
    const init: RelationsPart = {
      kind: 'initFork',
      value: { tablespace: 1663, database: 5, relation: 7, pages: Buffer.alloc(0) },
    };
    expect(await highestRelation(stream(part([3, 0xffffffff]), init, part([]), part([9])))).toBe(0xffffffff);
  });

  it('is 0 where there is none', async () => expect(await highestRelation(stream())).toBe(0));
});
