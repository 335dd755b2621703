/** Ids as users meet them: two words to tell them apart by ear, and random characters so that they never collide. */
import type { BranchId, ComputeId, EndpointId, ProjectId, TimelineId } from '@coppice/vocabulary';
import type { Random } from '@coppice/service-kit';
import { ADJECTIVES, NOUNS } from './words';

const ALPHABET = 'abcdefghijklmnopqrstuvwxyz0123456789';
const DIGITS = '0123456789';

function pick(words: readonly string[], random: Random): string {
  return words[Math.floor(random.unit() * words.length)]!;
}

/** Characters drawn without bias: bytes that would favour the first ones are thrown away. */
function characters(alphabet: string, count: number, random: Random): string {
  const fair = 256 - (256 % alphabet.length);
  let text = '';
  while (text.length < count) {
    for (const byte of random.bytes(count))
      if (byte < fair && text.length < count) text += alphabet[byte % alphabet.length];
  }
  return text;
}

export class Identifiers {
  readonly #random: Random;

  constructor(random: Random) {
    this.#random = random;
  }

  /** `calm-oak-48213077`, also the name of a project that was given none. */
  project(): ProjectId {
    return `${pick(ADJECTIVES, this.#random)}-${pick(NOUNS, this.#random)}-${characters(DIGITS, 8, this.#random)}` as ProjectId;
  }

  branch(): BranchId {
    return `br-${this.#words()}-${characters(ALPHABET, 8, this.#random)}` as BranchId;
  }

  endpoint(): EndpointId {
    return `ep-${this.#words()}-${characters(ALPHABET, 8, this.#random)}` as EndpointId;
  }

  checkpoint(): string {
    return `ckpt-${this.#words()}-${characters(ALPHABET, 8, this.#random)}`;
  }

  snapshot(): string {
    return `snap-${this.#words()}-${characters(ALPHABET, 8, this.#random)}`;
  }

  timeline(): TimelineId {
    return this.#random.bytes(16).toString('hex') as TimelineId;
  }

  /** `agent-<32 hex>`. */
  agent(): string {
    return `agent-${this.#random.bytes(16).toString('hex')}`;
  }

  /** The user name of a scoped credential. */
  login(): string {
    return `cred_${characters(ALPHABET, 16, this.#random)}`;
  }

  compute(): ComputeId {
    return `compute-${this.#random.bytes(16).toString('hex')}` as ComputeId;
  }

  /** Of what is deleted together. */
  deletion(): string {
    return this.operation();
  }

  /** A version 4 UUID. */
  operation(): string {
    const b = this.#random.bytes(16);
    b[6] = (b[6]! & 0x0f) | 0x40;
    b[8] = (b[8]! & 0x3f) | 0x80;
    const hex = b.toString('hex');
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
  }

  #words(): string {
    return `${pick(ADJECTIVES, this.#random)}-${pick(NOUNS, this.#random)}`;
  }
}
