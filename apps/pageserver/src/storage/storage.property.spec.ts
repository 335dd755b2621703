import fc from 'fast-check';
import { crc32c } from '@coppice/bytes';
import { MemoryObjectStore } from '@coppice/object-store';
import type { PageValue } from '@coppice/postgres';
import { applyValue, setTransactionStatus, zeroSlruPage } from '@coppice/postgres';
import type { PageKey, TimelineId } from '@coppice/vocabulary';
import { Slru, slruPageKey, replicationOriginKey } from '@coppice/vocabulary';
import { MAX_KEY, MIN_KEY } from '@coppice/layers';
import { importImages } from './import-images';
import { StorageWorld, testTimelineId } from './storage-world';
import type { TimelineFacts } from './timelines';

const XIDS_PER_PAGE = 32768;
const TEMPLATE_LSN = 1000;

/** Keeps every version for ever and looks through all of them. */
class Model {
  readonly ancestors = new Map<TimelineId, { timeline: TimelineId; lsn: number }>();
  readonly #versions = new Map<TimelineId, { key: PageKey; lsn: number; value: PageValue }[]>();

  put(timeline: TimelineId, key: PageKey, lsn: number, value: PageValue): void {
    const versions = this.#versions.get(timeline) ?? [];
    versions.push({ key, lsn, value });
    this.#versions.set(timeline, versions);
  }

  #history(timeline: TimelineId, lsn: number): { key: PageKey; lsn: number; value: PageValue }[] {
    const ancestor = this.ancestors.get(timeline);
    const older = ancestor ? this.#history(ancestor.timeline, Math.min(lsn, ancestor.lsn)) : [];
    return [...older, ...(this.#versions.get(timeline) ?? []).filter((v) => v.lsn <= lsn)];
  }

  value(timeline: TimelineId, key: PageKey, lsn: number): Buffer | undefined {
    const newest = this.#history(timeline, lsn).filter((v) => v.key === key).at(-1);
    return newest === undefined || newest.value.bytes.length === 0 ? undefined : newest.value.bytes;
  }

  page(timeline: TimelineId, key: PageKey, lsn: number): Buffer | undefined {
    const versions = this.#history(timeline, lsn).filter((v) => v.key === key);
    if (versions.length === 0 || (versions.at(-1)!.value.kind === 'image' && versions.at(-1)!.value.bytes.length === 0)) return undefined;
    const page = Buffer.alloc(8192);
    for (const { value, lsn: at } of versions) applyValue(page, value, at, undefined);
    return page;
  }

  values(timeline: TimelineId, lsn: number): [PageKey, Buffer][] {
    const keys = [...new Set(this.#history(timeline, lsn).map((v) => v.key))].filter(isValueKey).sort();
    return keys.flatMap((key) => {
      const value = this.value(timeline, key, lsn);
      return value ? [[key, value] as [PageKey, Buffer]] : [];
    });
  }
}

/** A page as text that is quick to compare. */
const shortOf = (page: Buffer | undefined): string => (page === undefined ? 'none' : `${crc32c(page)}`);
const isValueKey = (key: PageKey): boolean => key >= replicationOriginKey(0);
const pageKeyOf = (n: number): PageKey => slruPageKey(Slru.xact, n);

type Step =
  | { readonly do: 'record'; readonly on: number; readonly puts: readonly { readonly n: number; readonly pick: number }[] }
  | { readonly do: 'branch'; readonly on: number; readonly back: number }
  | { readonly do: 'freeze' | 'flush' | 'compact'; readonly on: number }
  | { readonly do: 'restart' };

const anyPut = fc.record({ n: fc.nat(5), pick: fc.nat(40) });
const anyStep: fc.Arbitrary<Step> = fc.oneof(
  { weight: 30, arbitrary: fc.record({ do: fc.constant('record' as const), on: fc.nat(5), puts: fc.uniqueArray(anyPut, { minLength: 1, maxLength: 4, selector: (p) => p.n }) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('branch' as const), on: fc.nat(5), back: fc.nat(400) }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constantFrom('freeze' as const, 'flush' as const, 'compact' as const), on: fc.nat(5) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('restart' as const) }) },
);

function valueOf(n: number, pick: number): { key: PageKey; value: PageValue } {
  if (n >= 4) {
    const bytes = pick % 7 === 0 ? Buffer.alloc(0) : Buffer.alloc(1 + (pick % 5), pick);
    return { key: replicationOriginKey(n), value: { kind: 'image', bytes } };
  }
  const key = pageKeyOf(n);
  if (pick === 0) return { key, value: { kind: 'image', bytes: Buffer.alloc(8192, n + 1) } };
  if (pick === 1) return { key, value: zeroSlruPage() };
  if (pick === 2) return { key, value: { kind: 'image', bytes: Buffer.alloc(0) } };
  return { key, value: setTransactionStatus({ xids: [n * XIDS_PER_PAGE + pick * 13, n * XIDS_PER_PAGE + pick], status: pick % 2 === 0 ? 1 : 2 }) };
}

describe('timeline storage', () => {
  it('reads at every position of every branch what a store that keeps everything reads', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(anyStep, { minLength: 40, maxLength: 160 }), fc.infiniteStream(fc.nat(1_000_000)), async (steps, random) => {
        const pick = (limit: number): number => random.next().value % limit;
        const facts = new Map<TimelineId, TimelineFacts>();
        const model = new Model();
        const world = new StorageWorld({ store: new MemoryObjectStore(), facts, openLayerBytes: 2000 });
        const template = testTimelineId(1);
        const entries = [0, 1, 2].map((n) => [pageKeyOf(n), Buffer.alloc(8192, 40 + n)] as const);
        await importImages(
          { timeline: template, lsn: TEMPLATE_LSN, lastRecordLsn: 900, systemIdentifier: 7n, logicalBlocks: 3, entries },
          { store: world.store, attachment: world.attachment, timelines: world.timelines },
        );
        for (const [key, bytes] of entries) model.put(template, key, TEMPLATE_LSN, { kind: 'image', bytes });
        const ends = new Map<TimelineId, number[]>();
        const log = new Map<TimelineId, { lsn: number; endLsn: number; puts: { key: PageKey; value: PageValue }[] }[]>();
        const branches: TimelineId[] = [];
        const branch = (of: TimelineId, lsn: number): void => {
          const id = testTimelineId(2 + branches.length);
          facts.set(id, { ancestor: { timeline: of, lsn }, systemIdentifier: 7n });
          model.ancestors.set(id, { timeline: of, lsn });
          branches.push(id);
          ends.set(id, [lsn]);
          log.set(id, []);
        };
        branch(template, TEMPLATE_LSN);

        const apply = async (id: TimelineId, record: { lsn: number; endLsn: number; puts: { key: PageKey; value: PageValue }[] }): Promise<void> => {
          const timeline = await world.timelines.get(id);
          for (const [i, { key, value }] of record.puts.entries()) {
            timeline.put(key, record.endLsn, value);
            if (i === 1 && record.endLsn % 5 === 0) timeline.freeze();
            if (i === 0 && record.endLsn % 7 === 0) await world.flush(timeline);
          }
          timeline.finishRecord(record);
        };
        const restart = async (): Promise<void> => {
          world.restart();
          for (const id of branches) {
            const timeline = await world.timelines.get(id);
            for (const record of log.get(id)!) if (record.lsn >= timeline.finished.lsn) await apply(id, record);
          }
        };

        for (const step of steps) {
          if (step.do === 'restart') {
            await restart();
            continue;
          }
          const id = branches[step.on % branches.length]!;
          if (step.do === 'record') {
            const lsn = ends.get(id)!.at(-1)!;
            const record = { lsn, endLsn: lsn + 24 + pick(100), puts: step.puts.map(({ n, pick: p }) => valueOf(n, p)) };
            for (const { key, value } of record.puts) model.put(id, key, record.endLsn, value);
            if (pick(20) === 0) {
              const timeline = await world.timelines.get(id);
              timeline.put(record.puts[0]!.key, record.endLsn, record.puts[0]!.value);
              await world.flush(timeline);
              await restart();
            }
            ends.get(id)!.push(record.endLsn);
            log.get(id)!.push(record);
            await apply(id, record);
          } else if (step.do === 'branch') {
            const of = ends.get(id)!;
            branch(id, of[step.back % of.length]!);
          } else {
            const timeline = await world.timelines.get(id);
            if (step.do === 'freeze') timeline.freeze();
            else await world[step.do](timeline);
          }
        }

        for (let check = 0; check < 60; check += 1) {
          const id = branches[pick(branches.length)]!;
          const positions = ends.get(id)!;
          const lsn = pick(5) === 0 && positions[0]! > TEMPLATE_LSN ? TEMPLATE_LSN + pick(positions[0]! - TEMPLATE_LSN) : positions[pick(positions.length)]!;
          const timeline = await world.timelines.get(id);
          const keys = [0, 1, 2, 3].map(pageKeyOf);
          const pages = await world.reader.pages(timeline, keys, lsn);
          expect(pages.map(shortOf)).toEqual(keys.map((key) => shortOf(model.page(id, key, lsn))));
          const values: [PageKey, Buffer][] = [];
          for await (const [key, value] of world.reader.scan(timeline, { from: replicationOriginKey(0), to: MAX_KEY }, lsn)) values.push([key, value]);
          expect(values).toEqual(model.values(id, lsn));
        }
        for await (const [key] of world.reader.scan(await world.timelines.get(branches[0]!), { from: MIN_KEY, to: MIN_KEY }, 1)) throw new Error(key);
      }),
      { numRuns: 40, endOnFailure: true },
    );
  }, 120_000);
});
