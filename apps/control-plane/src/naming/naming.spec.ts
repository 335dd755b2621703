import fc from 'fast-check';
import { CoppiceError, systemRandom } from '@coppice/service-kit';
import {
  parseBranchId,
  parseComputeId,
  parseEndpointId,
  parseProjectId,
  parseTimelineId,
} from '@coppice/vocabulary';
import { decodeCursor, encodeCursor } from './cursor';
import { Identifiers } from './identifiers';
import { checkComputeUnits, checkIdentifier, checkName, checkSearch, checkSuspendTimeout } from './limits';
import { ADJECTIVES, NOUNS } from './words';

describe('identifiers', () => {
  const make = new Identifiers(systemRandom);
  it('have the forms that the vocabulary reads', () => {
    for (let i = 0; i < 200; i++) {
      expect(parseProjectId(make.project())).toBeDefined();
      expect(parseBranchId(make.branch())).toBeDefined();
      expect(parseEndpointId(make.endpoint())).toBeDefined();
      expect(parseTimelineId(make.timeline())).toBeDefined();
      expect(parseComputeId(make.compute())).toBeDefined();
      expect(make.operation()).toMatch(
        /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
      );
    }
  });
  it('are made of plain words', () => {
    for (const word of [...ADJECTIVES, ...NOUNS]) expect(word).toMatch(/^[a-z]+$/);
  });
});

describe('cursors', () => {
  it('read back what they were made of', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.integer(),
          fc.string().filter((s) => !s.includes('\0')),
        ),
        fc.string().filter((s) => !s.includes('\0')),
        (key, id) => {
          expect(decodeCursor(encodeCursor({ key, id }), typeof key as 'number')).toEqual({ key, id });
        },
      ),
    );
  });
  it('are refused when made by someone else, whatever it is', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1 }), (text) => {
        expect(() => decodeCursor(text, 'number')).toThrow(CoppiceError);
      }),
    );
  });
});

describe('limits', () => {
  it('refuse names that are too long or cannot be stored', () => {
    expect(checkName('branch', '𝕏'.repeat(256))).toHaveLength(512);
    for (const bad of ['x'.repeat(257), 'a\0', '\ud800', ' a', 'a\n'])
      expect(() => checkName('branch', bad)).toThrow(CoppiceError);
    for (const bad of ['', 'ü'.repeat(32), '\ud800'])
      expect(() => checkIdentifier('role', bad)).toThrow(CoppiceError);
    expect(() => checkSearch('\0')).toThrow(CoppiceError);
  });
  it('keep numbers within their bounds', () => {
    for (const bad of [-2, 604_801, 1.5, NaN]) expect(() => checkSuspendTimeout(bad)).toThrow(CoppiceError);
    expect([checkComputeUnits(0, 0), checkComputeUnits(2, 0), checkComputeUnits(0, 0.25)]).toEqual([
      { min: 0.25, max: 1 },
      { min: 2, max: 2 },
      { min: 0.25, max: 0.25 },
    ]);
    for (const [min, max] of [
      [2, 1],
      [0.3, 1],
      [0.25, 17],
    ] as const)
      expect(() => checkComputeUnits(min, max)).toThrow(CoppiceError);
  });
});
