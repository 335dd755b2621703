import type { TimelineId } from '@coppice/vocabulary';
import {
  generateIdentityKey,
  IdentityIssuer,
  parseIdentityKey,
  type ServiceName,
  signIdentity,
} from './identity';
import { IdentityVerifier } from './identity-verifier';

const timeline = 'ab'.repeat(16) as TimelineId;
let now = 1_000_000;
const clock = { now: () => now, monotonic: () => now, sleep: () => Promise.resolve() };
const key = generateIdentityKey();
const issuer = new IdentityIssuer(key, clock);
const verifier = new IdentityVerifier(issuer.publicKey, clock);
const invalid = (why: string) =>
  expect.objectContaining({
    kind: 'Unauthenticated',
    code: 'identity-invalid',
    message: expect.stringContaining(why),
  });
const refusal = (token: string): unknown => {
  try {
    return verifier.verify(token);
  } catch (error) {
    return error;
  }
};

describe('an identity token', () => {
  it('says who it was issued to and what for, again and again', () => {
    const token = issuer.issue('compute', { node: 'agent-1', timeline, compute: 'compute-1' });
    const identity = {
      service: 'compute',
      node: 'agent-1',
      timeline,
      compute: 'compute-1',
      issuedUnixMs: now,
    };
    expect(verifier.verify(token)).toEqual(identity);
    expect(verifier.verify(token)).toEqual(identity);
  });

  it('is refused when any part of it was changed', () => {
    const [version, payload, signature] = issuer.issue('reaper').split('.') as [string, string, string];
    const other = Buffer.from(JSON.stringify({ service: 'control-plane', issuedUnixMs: now })).toString(
      'base64url',
    );
    const flipped = Buffer.from(signature, 'base64url');
    flipped[5]! ^= 1;
    expect(refusal(`${version}.${other}.${signature}`)).toEqual(invalid('not signed'));
    expect(refusal(`${version}.${payload}.${flipped.toString('base64url')}`)).toEqual(invalid('not signed'));
    expect(refusal(`v2.${payload}.${signature}`)).toEqual(invalid('form'));
    expect(refusal(`${version}.${payload}.${signature}.`)).toEqual(invalid('form'));
    expect(refusal(`${version}.${payload}.`)).toEqual(invalid('form'));
    expect(refusal('')).toEqual(invalid('form'));
    expect(refusal('x'.repeat(1_000_000))).toEqual(invalid('form'));
  });

  it('is refused when another key signed it', () => {
    expect(refusal(new IdentityIssuer(generateIdentityKey()).issue('gateway'))).toEqual(
      invalid('not signed'),
    );
  });

  it('is refused once it has expired, though it was good before', () => {
    const token = issuer.issue('gateway', { expiresUnixMs: now + 10 });
    expect(refusal(token)).toMatchObject({ service: 'gateway' });
    now += 10;
    expect(refusal(token)).toEqual(invalid('expired'));
    expect(refusal(token)).toEqual(invalid('expired'));
  });

  it('is refused when it is signed, but names no known service or, of a compute, no timeline', () => {
    const signed = (identity: object): string => signIdentity(parseIdentityKey(key), identity as never);
    expect(refusal(signed({ service: 'root', issuedUnixMs: now }))).toEqual(invalid('unknown service'));
    expect(refusal(signed({ service: 'compute', issuedUnixMs: now }))).toEqual(invalid('names no timeline'));
    expect(refusal(signed({ service: 'compute', issuedUnixMs: now, timeline: 'x' }))).toEqual(
      invalid('names no timeline'),
    );
    expect(refusal(signed({ service: 'reaper' }))).toEqual(invalid('when it was issued'));
  });

  it('is not remembered beyond a bound', () => {
    const small = new IdentityVerifier(issuer.publicKey, clock, 2);
    for (const service of ['reaper', 'gateway', 'pageserver', 'reaper'] satisfies ServiceName[])
      small.verify(issuer.issue(service));
    expect(small.remembered).toBe(2);
  });
});

describe('a key', () => {
  it('is refused, by a text for people, when it is none', () => {
    expect(() => new IdentityIssuer('bm8=')).toThrow('private key is not an Ed25519 key');
    expect(() => new IdentityVerifier(key)).toThrow('public key is not an Ed25519 key');
  });
});
