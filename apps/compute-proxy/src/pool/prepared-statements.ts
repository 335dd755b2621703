/**
 * Prepared statements of the protocol, for clients that get another server with every transaction: a client's name stands for
 * the text, and the text has one name on all servers, under which it is prepared when a client uses it there.
 */
import { ByteWriter } from '@coppice/bytes';
import { writeMessage } from '@coppice/postgres';
import { mayLeaveState } from './session-effects';

/** Longest Parse of a named statement, bytes. */
export const MAX_STATEMENT_BYTES = 1024 * 1024;
const MAX_CLIENT_STATEMENTS = 1_000;
const MAX_CLIENT_BYTES = 2 * 1024 * 1024;
export const MAX_SERVER_STATEMENTS = 256;
/** Of a statement beside its text, which is its key and in its message. */
const OVERHEAD_BYTES = 300;

export interface Statement {
  /** On servers. */
  readonly name: string;
  /** The Parse message that prepares it. */
  readonly message: Buffer;
  /** Its text looks as if it left something behind in the session. */
  readonly leavesState: boolean;
}

/** A client's statement without a name. */
export interface UnnamedStatement {
  /** The whole Parse message; `undefined` when it was too long to keep. */
  message: Buffer | undefined;
  readonly leavesState: boolean;
}

interface Known {
  readonly statement: Statement;
  readonly bytes: number;
  uses: number;
  /** Of one that no client has. */
  readonly forget: () => void;
}

/** What one endpoint's pooled clients may have prepared, as a part of the memory for all: others need some, too. */
const ENDPOINT_SHARE = 1 / 16;

/** What the prepared statements of all pooled clients take in a proxy. Those that no client has at the moment go when others come. */
export class StatementMemory {
  readonly #maxBytes: number;
  #held = 0;
  /** The one that was in use last comes last. */
  readonly #unused = new Set<Known>();
  #unusedBytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get held(): number {
    return this.#held;
  }

  /** For the clients of one endpoint. */
  share(): StatementShare {
    return new StatementShare(this, this.#maxBytes * ENDPOINT_SHARE);
  }

  /** Whether there is room for so much more, after some of those that nobody has were forgotten. */
  makeRoom(bytes: number): boolean {
    if (this.#held - this.#unusedBytes + bytes > this.#maxBytes) return false;
    for (const known of this.#unused) {
      if (this.#held + bytes <= this.#maxBytes) break;
      known.forget();
    }
    return true;
  }

  count(bytes: number): void {
    this.#held += bytes;
  }

  setUnused(known: Known, isUnused: boolean): void {
    if (isUnused) this.#unused.add(known);
    else if (!this.#unused.delete(known)) return;
    this.#unusedBytes += isUnused ? known.bytes : -known.bytes;
  }
}

/** What the clients of one endpoint have prepared. */
export class StatementShare {
  #used = 0;

  constructor(
    readonly memory: StatementMemory,
    readonly maxBytes: number,
  ) {}

  hasRoomFor(bytes: number): boolean {
    return this.#used + bytes <= this.maxBytes;
  }

  count(bytes: number): void {
    this.#used += bytes;
  }
}

/**
 * All statements of one target, by text and parameter types. Some that no client has at the moment are remembered: clients that
 * come and go prepare the same ones.
 */
export class StatementRegistry {
  readonly #byText = new Map<string, Known>();
  readonly #share: StatementShare;
  /** The one that was in use last comes last. */
  readonly #unused = new Set<Known>();
  #unusedBytes = 0;
  #next = 1;
  #isClosed = false;

  constructor(share: StatementShare) {
    this.#share = share;
  }

  /**
   * `body`: a Parse message after the statement's name. `undefined`: there is no memory for another. One that a client had, and
   * never lost as it turned out, is its own again in any case.
   */
  use(body: Buffer, isRestored = false): Statement | undefined {
    const text = body.toString('latin1');
    let known = this.#byText.get(text);
    const bytes = 2 * text.length + OVERHEAD_BYTES;
    if (!known || known.uses === 0) {
      if (!isRestored && !this.#share.hasRoomFor(bytes)) return undefined;
      if (!known && !this.#share.memory.makeRoom(bytes) && !isRestored) return undefined;
      this.#share.count(bytes);
    }
    if (known) this.#setUnused(known, false);
    else this.#byText.set(text, (known = this.#make(text, body, bytes)));
    known.uses += 1;
    return known.statement;
  }

  release({ name, message }: Statement): void {
    const known = this.#byText.get(message.toString('latin1', 5 + name.length + 1));
    if (!known) return;
    known.uses -= 1;
    if (known.uses > 0) return;
    this.#share.count(-known.bytes);
    this.#setUnused(known, true);
    for (const oldest of this.#unused) {
      const isFew = this.#unused.size <= MAX_SERVER_STATEMENTS && this.#unusedBytes <= MAX_CLIENT_BYTES;
      if (isFew && !this.#isClosed) return;
      oldest.forget();
    }
  }

  /** The last of its clients and servers is gone, or about to give its statements back. */
  close(): void {
    this.#isClosed = true;
    for (const known of this.#unused) known.forget();
  }

  get size(): number {
    return this.#byText.size;
  }

  #make(text: string, body: Buffer, bytes: number): Known {
    const name = `coppice_${this.#next}`;
    this.#next += 1;
    const message = writeMessage('P', new ByteWriter(body.length + 24).cstring(name).raw(body).finish());
    const leavesState = mayLeaveState(body, 0, body.indexOf(0));
    const forget = (): void => {
      this.#setUnused(known, false);
      this.#byText.delete(text);
      this.#share.memory.count(-bytes);
    };
    const known: Known = { statement: { name, message, leavesState }, bytes, uses: 0, forget };
    this.#share.memory.count(bytes);
    return known;
  }

  #setUnused(known: Known, isUnused: boolean): void {
    this.#share.memory.setUnused(known, isUnused);
    if (isUnused) this.#unused.add(known);
    else if (!this.#unused.delete(known)) return;
    this.#unusedBytes += isUnused ? known.bytes : -known.bytes;
  }
}

/** One client's named statements; of too many the least recently used is forgotten. */
export class ClientStatements {
  readonly #registry: StatementRegistry;
  /** Made when the first is. */
  #byName: Map<string, Statement> | undefined;
  #bytes = 0;

  constructor(registry: StatementRegistry) {
    this.#registry = registry;
  }

  get(name: string): Statement | undefined {
    const byName = this.#byName;
    const statement = byName?.get(name);
    if (statement && byName!.size > MAX_CLIENT_STATEMENTS / 2) {
      byName!.delete(name);
      byName!.set(name, statement);
    }
    return statement;
  }

  /** Under a name that is free. `undefined`: there is no memory for another. */
  add(name: string, body: Buffer, isRestored = false): Statement | undefined {
    const statement = this.#registry.use(body, isRestored);
    if (!statement) return undefined;
    this.#byName ??= new Map();
    this.#byName.set(name, statement);
    this.#bytes += statement.message.length;
    for (const [oldest, { message }] of this.#byName) {
      if (this.#byName.size <= MAX_CLIENT_STATEMENTS && this.#bytes <= MAX_CLIENT_BYTES) break;
      if (message !== statement.message) this.remove(oldest);
    }
    return statement;
  }

  remove(name: string): void {
    const statement = this.#byName?.get(name);
    if (!statement) return;
    this.#byName!.delete(name);
    this.#bytes -= statement.message.length;
    this.#registry.release(statement);
  }

  clear(): void {
    for (const name of [...(this.#byName?.keys() ?? [])]) this.remove(name);
    this.#byName = undefined;
  }
}
