import type { LineageStep } from '@coppice/catalog';
import type { SafekeeperTimelineStatus } from '@coppice/contracts';
import { CoppiceError } from '@coppice/service-kit';
import { type Lsn, lsn, term, type TimelineId } from '@coppice/vocabulary';
import { placeOnLineage } from './lineage';
import { quorumHead } from './quorum-head';

const step = (id: string, ancestorLsn?: bigint, over: Partial<LineageStep> = {}): LineageStep => ({
  id: id as TimelineId,
  ancestorId: ancestorLsn === undefined ? undefined : ('up' as TimelineId),
  ancestorLsn: ancestorLsn === undefined ? undefined : lsn(ancestorLsn),
  retainedFrom: undefined,
  setupDoneLsn: undefined,
  ...over,
});

describe('a position on the lineage', () => {
  it('lies on the last timeline of the walk', () => {
    expect(placeOnLineage([step('child', 300n), step('parent', 100n)], lsn(200n))).toMatchObject({
      timelineId: 'parent',
      inside: true,
      startLsn: 100n,
    });
  });
  it('where a timeline begins belongs to it and needs no record of its own', () => {
    expect(placeOnLineage([step('child', 300n)], lsn(300n))).toMatchObject({
      timelineId: 'child',
      inside: false,
    });
  });
  it('before the project is refused with the earliest one', () => {
    const place = () =>
      placeOnLineage([step('child', 300n), step('root', 0x100n), step('template')], lsn(0x80n));
    expect(place).toThrow(CoppiceError);
    expect(place).toThrow(
      expect.objectContaining({ code: 'lsn-before-history', remedy: 'The earliest is 0/100.' }),
    );
  });
  it('before what is retained is refused with the earliest one', () => {
    expect(() => placeOnLineage([step('root', 0x100n, { retainedFrom: lsn(0x200n) })], lsn(0x150n))).toThrow(
      expect.objectContaining({ remedy: 'The earliest is 0/200.' }),
    );
  });
  it('tells whether the set-up is in effect there', () => {
    const steps = [step('root', 100n, { setupDoneLsn: lsn(200n) })];
    expect([
      placeOnLineage(steps, lsn(199n)).beforeSetup,
      placeOnLineage(steps, lsn(200n)).beforeSetup,
    ]).toEqual([true, false]);
  });
});

describe('the head by quorum', () => {
  const log = (lastTerm: number, flush: bigint): SafekeeperTimelineStatus => ({
    term: term(lastTerm),
    startLsn: lsn(0n),
    flushLsn: lsn(flush),
    commitLsn: lsn(0n),
    termHistory: [{ term: term(lastTerm), lsn: lsn(0n) }],
    pageserverDurableLsn: lsn(0n),
  });
  const head = (...s: Parameters<typeof quorumHead>[0]): Lsn | undefined => quorumHead(s, lsn(100n))?.lsn;

  it('is what a majority of the last term holds', () => {
    expect(head(log(2, 500n), log(2, 400n), log(2, 300n))).toBe(400n);
    expect(head(log(2, 500n), log(2, 400n), log(1, 900n))).toBe(400n);
    expect(head(log(2, 500n), log(2, 400n), 'no-wal')).toBe(400n);
  });
  it('is announced when a safekeeper was told of it', () => {
    const told = { ...log(2, 400n), commitLsn: lsn(400n) };
    const behind = { ...log(2, 500n), commitLsn: lsn(399n) };
    const isAnnounced = (...s: Parameters<typeof quorumHead>[0]) => quorumHead(s, lsn(100n))?.isAnnounced;
    expect(isAnnounced(behind, told, log(2, 300n))).toBe(true);
    expect(isAnnounced(behind, log(2, 400n), log(2, 300n))).toBe(false);
    expect(isAnnounced('no-wal', 'no-wal', 'no-wal')).toBe(true);
  });
  it('is where the timeline begins when nobody has WAL', () => {
    expect(head('no-wal', 'no-wal', 'no-wal')).toBe(100n);
  });
  it('is open when one does not answer or the last leader reached a minority', () => {
    expect(head(log(2, 500n), log(2, 400n), undefined)).toBeUndefined();
    expect(head(log(3, 500n), log(2, 400n), log(2, 300n))).toBeUndefined();
    expect(head(log(1, 500n), 'no-wal', 'no-wal')).toBeUndefined();
  });
});
