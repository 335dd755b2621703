import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { decodeControlFile, UnusableControlFile, encodeControlFile } from '../control-file';
import { CorruptRelationMap, decodeRelationMap, encodeRelationMap } from '../relmap';
import {
  dateFromPgMicros,
  pgMicrosFromDate,
  pgMicrosFromUnixMillis,
  unixMicrosFromPgMicros,
} from '../pg-time';
import { decodeCheckpoint, encodeCheckpoint } from '../checkpoint';
import { WAL_PAGE_SIZE, WAL_SEGMENT_SIZE } from './page-header';
import type { WalRecord } from './record';
import { parseSegmentName, segmentName } from './segment-name';
import { WalStreamDecoder } from './stream-decoder';
import { shutdownCheckpointRecord } from './synthesize';

const file = (name: string): Buffer => gunzipSync(readFileSync(join(__dirname, '../testdata', `${name}.gz`)));
const control = decodeControlFile(file('pg_control'));

describe('a shutdown checkpoint made for a start', () => {
  const make = (at: number): ReturnType<typeof shutdownCheckpointRecord> =>
    shutdownCheckpointRecord({
      at,
      previous: at - 200,
      checkpoint: control.checkpoint,
      systemIdentifier: control.systemIdentifier,
    });

  it('is one record from S to where PostgreSQL writes on, wherever S is in a page', () => {
    const page = 7 * WAL_SEGMENT_SIZE - WAL_PAGE_SIZE;
    for (let at = page - 200; at <= page + WAL_PAGE_SIZE; at += 8) {
      if (at > page && at < page + 24) continue;
      const made = make(at);
      const records: WalRecord[] = [];
      const decoder = new WalStreamDecoder(at, { systemIdentifier: control.systemIdentifier });
      decoder.push(made.bytes, (record) => records.push(record));
      expect(records).toHaveLength(1);
      expect(records[0]).toMatchObject({
        lsn: made.startLsn,
        endLsn: made.endLsn,
        prev: at - 200,
        rmgr: 0,
        info: 0,
      });
      expect(decodeCheckpoint(records[0]!.mainData)).toEqual({ ...control.checkpoint, redo: made.startLsn });
      expect(at + made.bytes.length).toBe(made.endLsn);
    }
  });

  it('needs two files when a segment ends inside it', () => {
    const at = 7 * WAL_SEGMENT_SIZE - 16;
    const { segments } = make(at);
    expect(segments.map((segment) => segment.name)).toEqual([segmentName(at), segmentName(at + 16)]);
    expect(segments[0]!.pieces.map((piece) => [piece.offset, piece.bytes.length])).toEqual([
      [WAL_SEGMENT_SIZE - WAL_PAGE_SIZE, 24],
      [0, 40],
      [WAL_SEGMENT_SIZE - 16, 16],
    ]);
    expect(segments[1]!.pieces.map((piece) => [piece.offset, piece.bytes.length])).toEqual([[0, 40 + 104]]);
  });

  it('is refused where no record can end', () => {
    for (const at of [0, 4, WAL_PAGE_SIZE + 8, WAL_SEGMENT_SIZE + 24, 1.5])
      expect(() => make(at)).toThrow(RangeError);
  });
});

describe('small files of a cluster', () => {
  it('are written as they were read', () => {
    expect(encodeControlFile(control)).toEqual(file('pg_control'));
    expect(encodeRelationMap(decodeRelationMap(file('pg_filenode.map')))).toEqual(file('pg_filenode.map'));
    expect(decodeCheckpoint(encodeCheckpoint(control.checkpoint))).toEqual(control.checkpoint);
  });

  it('are refused with any bit flipped', () => {
    const bytes = file('pg_control');
    for (let at = 0; at < 292; at++) {
      const damaged = Buffer.from(bytes);
      damaged[at]! ^= 1 << at % 8;
      expect(() => decodeControlFile(damaged)).toThrow(UnusableControlFile);
    }
    const map = file('pg_filenode.map');
    for (let at = 0; at < map.length; at++) {
      const damaged = Buffer.from(map);
      damaged[at]! ^= 1 << at % 8;
      expect(() => decodeRelationMap(damaged)).toThrow(CorruptRelationMap);
    }
    expect(() => decodeRelationMap(map.subarray(1))).toThrow(CorruptRelationMap);
    expect(() => decodeControlFile(bytes.subarray(0, 100))).toThrow(UnusableControlFile);
  });
});

describe('segment names', () => {
  it('are those of PostgreSQL', () => {
    expect(segmentName(0x16_b374d848)).toBe('0000000100000016000000B3');
    expect(segmentName(0x1_00000000 - 1, { segmentSize: 1024 * 1024 })).toBe('000000010000000000000FFF');
    expect(parseSegmentName('0000000300000016000000B3')).toEqual({ tli: 3, startLsn: 0x16_b3000000 });
    for (const name of ['0000000100000016000001B3', '0000000100000016000000b3', '00000002.history', '']) {
      expect(parseSegmentName(name)).toBeUndefined();
    }
  });
});

describe('timestamps', () => {
  it('count from 2000, also before it and before 1970', () => {
    expect(pgMicrosFromDate(new Date('2000-01-01T00:00:00Z'))).toBe(0n);
    expect(unixMicrosFromPgMicros(1n)).toBe(946_684_800_000_001n);
    expect(pgMicrosFromUnixMillis(946_684_800_001.5)).toBe(1500n);
    for (const text of ['1969-12-31T23:59:59.999Z', '1999-12-31T23:59:59.001Z', '2026-11-23T04:05:06.789Z']) {
      expect(dateFromPgMicros(pgMicrosFromDate(new Date(text))).toISOString()).toBe(text);
    }
    expect(dateFromPgMicros(-1n).toISOString()).toBe('1999-12-31T23:59:59.999Z');
  });
});
