/** 64-bit integers over the real encoding: as they were, or refused. */
import fc from 'fast-check';
import { type Lsn, lsn } from '@coppice/vocabulary';
import { controlContract, pageserverContract } from '../index';
import { loadService } from './load-protos';
import type { ServiceContract } from './service';

type Carry = (model: Record<string, unknown>) => Record<string, unknown>;

/** What arrives of a request of `method`. */
function carrier(contract: ServiceContract<never>, method: string): Carry {
  const wire = loadService(contract.file, contract.name)[method[0]!.toUpperCase() + method.slice(1)]!;
  const { request } = (contract.methods as Record<string, { request: never }>)[method] as unknown as {
    request: { toWire(model: unknown): object; fromWire(wire: unknown, field: string): object };
  };
  return (model) =>
    request.fromWire(wire.requestDeserialize(wire.requestSerialize(request.toWire(model))), '') as Record<
      string,
      unknown
    >;
}

const timelineId = 'ab'.repeat(16);
const lsnAtTime = carrier(pageserverContract as never, 'lsnAtTime');
const createBranch = carrier(controlContract as never, 'createBranch');
const signed = fc.bigInt({ min: -(1n << 63n), max: (1n << 63n) - 1n });
const unsigned = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });
const edges = [0n, 1n, -1n, 1n << 31n, 1n << 32n, (1n << 32n) - 1n, -(1n << 32n), -(1n << 63n)];

describe('a 64-bit integer', () => {
  it('arrives as it was sent, with its sign', () => {
    const arrives = (unixMicros: bigint): void =>
      expect(lsnAtTime({ timelineId, unixMicros }).unixMicros).toBe(unixMicros);
    edges.forEach(arrives);
    fc.assert(fc.property(signed, arrives));
  });

  it('arrives as it was sent where it has no sign', () => {
    const arrives = (value: bigint): void => {
      const upToLsn = value === 0n ? undefined : (value as Lsn);
      expect(lsnAtTime({ timelineId, unixMicros: 0n, upToLsn }).upToLsn).toBe(upToLsn);
    };
    [0n, lsn(1n), 1n << 31n, 1n << 32n, 1n << 63n, (1n << 64n) - 1n].forEach(arrives);
    fc.assert(fc.property(unsigned, arrives));
  });

  it('arrives as a number where it is exact as one, and is refused where not', () => {
    const send = (parentTimestampUnixMicros: number): unknown =>
      createBranch({ parentTimestampUnixMicros }).parentTimestampUnixMicros;
    for (const value of [0, 1, 2 ** 31, 2 ** 32, 2 ** 32 - 1, Number.MAX_SAFE_INTEGER])
      expect(send(value)).toBe(value);
    fc.assert(fc.property(fc.maxSafeNat(), (value) => send(value) === value));
    for (const value of [-1, 2 ** 53, 2 ** 62, 2 ** 63])
      expect(() => send(value)).toThrow('an integer within 2^53');
  });
});
