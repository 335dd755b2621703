/**
 * Prepared statements of the protocol, for clients that get another server with every transaction: a client's name stands for
 * the text, and the text has one name on all servers, under which it is prepared when a client uses it there.
 */
import { ByteWriter } from '@coppice/bytes';
import { writeMessage } from '@coppice/postgres';
import { mayLeaveState } from './session-effects';

/** Longest Parse of a named statement, bytes. */
export const MAX_STATEMENT_BYTES = 1024 * 1024;
/** A longer one without a name is not kept for a later transaction: every client has one, and drivers send it anew each time. */
export const MAX_KEPT_UNNAMED_BYTES = 64 * 1024;
const MAX_CLIENT_STATEMENTS = 1_000;
const MAX_CLIENT_BYTES = 2 * 1024 * 1024;
export const MAX_SERVER_STATEMENTS = 256;
/** Of a statement beside its text. */
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
  uses: number;
}

/** What the statements of all pooled clients take in a proxy. */
export class StatementMemory {
  held = 0;

  constructor(readonly maxBytes: number) {}

  /** One target must not have it all. */
  get maxTargetBytes(): number {
    return this.maxBytes / 4;
  }
}

/**
 * All statements of one target, by text and parameter types. Some that no client has at the moment are remembered: clients that
 * come and go prepare the same ones.
 */
export class StatementRegistry {
  readonly #byText = new Map<string, Known>();
  readonly #memory: StatementMemory;
  #bytes = 0;
  /** The one that was in use last comes last. */
  readonly #unused = new Set<string>();
  #unusedBytes = 0;
  #next = 1;
  #isClosed = false;

  constructor(memory: StatementMemory) {
    this.#memory = memory;
  }

  /** `body`: a Parse message after the statement's name. `undefined`: there is no memory for another. */
  use(body: Buffer): Statement | undefined {
    const text = body.toString('latin1');
    let known = this.#byText.get(text);
    if (!known) {
      this.#shrink(() => this.#hasRoomFor(body.length));
      if (!this.#hasRoomFor(body.length)) return undefined;
      const name = `coppice_${this.#next}`;
      this.#next += 1;
      const message = writeMessage('P', new ByteWriter(body.length + 24).cstring(name).raw(body).finish());
      const leavesState = mayLeaveState(body, 0, body.indexOf(0));
      known = { statement: { name, message, leavesState }, uses: 0 };
      this.#byText.set(text, known);
      this.#count(heldFor(text.length));
    } else if (this.#unused.delete(text)) this.#unusedBytes -= text.length;
    known.uses += 1;
    return known.statement;
  }

  release({ name, message }: Statement): void {
    const text = message.toString('latin1', 5 + name.length + 1);
    const known = this.#byText.get(text);
    if (!known) return;
    known.uses -= 1;
    if (known.uses > 0) return;
    this.#unused.add(text);
    this.#unusedBytes += text.length;
    this.#shrink(
      () =>
        !this.#isClosed &&
        this.#unused.size <= MAX_SERVER_STATEMENTS &&
        this.#unusedBytes <= MAX_CLIENT_BYTES,
    );
  }

  /** The last of its clients and servers is gone, or about to give its statements back. */
  close(): void {
    this.#isClosed = true;
    this.#shrink(() => false);
  }

  get size(): number {
    return this.#byText.size;
  }

  /** Forgets those that no client has, the longest unused first, until that is enough. */
  #shrink(isEnough: () => boolean): void {
    for (const oldest of this.#unused) {
      if (isEnough()) return;
      this.#unused.delete(oldest);
      this.#unusedBytes -= oldest.length;
      this.#byText.delete(oldest);
      this.#count(-heldFor(oldest.length));
    }
  }

  #hasRoomFor(length: number): boolean {
    const bytes = heldFor(length);
    const { held, maxBytes, maxTargetBytes } = this.#memory;
    return this.#bytes + bytes <= maxTargetBytes && held + bytes <= maxBytes;
  }

  #count(bytes: number): void {
    this.#bytes += bytes;
    this.#memory.held += bytes;
  }
}

/** Its text is the key and in the message. */
function heldFor(length: number): number {
  return 2 * length + OVERHEAD_BYTES;
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
  add(name: string, body: Buffer): Statement | undefined {
    const statement = this.#registry.use(body);
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
