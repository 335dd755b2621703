/**
 * What a server still owes its client, and so when it is free: pure, fed with the kinds of messages in both directions.
 *
 * Query, FunctionCall and Sync are answered by one ReadyForQuery each, in order. Exceptions, all of PostgresMain and CopyGetData
 * (src/backend/tcop/postgres.c, src/backend/commands/copyfromparse.c):
 *   - after an error in a message of the extended protocol everything is skipped up to the next Sync, Query as well;
 *   - COPY FROM STDIN eats a Sync that was sent before the end of the copy data.
 * Parse and Close are answered by one message each, unless skipped; that counts them, so that answers to messages of ours are
 * kept from the client, and what was skipped is taken back.
 *
 * What no client does in earnest and what cannot be told apart from outside, such as Sync among copy data, makes the connection
 * `isDoubtful`: it stays with this client and is closed after it.
 */

/** A Parse or Close that has consequences when it is answered, or when it is not. */
export interface Awaited {
  /** The answer is not for the client. */
  readonly isOurs: boolean;
  /** It was skipped or failed. */
  readonly undo?: () => void;
}

interface Entry extends Awaited {
  readonly ordinal: number;
}

const SYNC = 0;
const QUERY = 1;
/** A Query of ours: nothing of its answer is for the client. */
const QUIET = 2;
const KINDS = 4;

export class InFlight {
  /** Per ReadyForQuery that is to come: its kind, and how many Parse and Close were sent before it. */
  #ready: number[] = [];
  #sent = 0;
  #answered = 0;
  #entries: Entry[] = [];
  /** Nothing of the client's was sent. */
  #isUntouched = true;
  /** Messages of the extended protocol were sent after the last Sync. */
  #isOpen = false;
  /** The server skips up to a Sync that was not sent yet. */
  #isSkipping = false;
  #isCopyIn = false;
  #ateSync = false;
  #endedCopyEarly = false;
  #isInTransaction = false;
  #isDoubtful = false;

  /** Nothing is owed and no transaction is open. */
  get isIdle(): boolean {
    return (
      !this.#isInTransaction &&
      this.#ready.length === 0 &&
      !this.#isOpen &&
      !this.#isSkipping &&
      !this.#isCopyIn &&
      !this.#isDoubtful
    );
  }

  /** Answers up to ReadyForQuery that are to come. */
  get owes(): number {
    return this.#ready.length;
  }

  get isSkipping(): boolean {
    return this.#isSkipping;
  }

  get isDoubtful(): boolean {
    return this.#isDoubtful;
  }

  /** What the server sends now answers a Query of ours. */
  get isQuiet(): boolean {
    return this.#ready.length > 0 && this.#ready[0]! % KINDS === QUIET;
  }

  /** Parse and Close messages so far. */
  get sent(): number {
    return this.#sent;
  }

  get answered(): number {
    return this.#answered;
  }

  /**
   * Whether a Parse or Close that changes what is prepared belongs to an earlier Sync which is not answered: nobody knows yet
   * whether it was done or skipped.
   */
  get isUncertain(): boolean {
    return this.#entries.length > 0 && this.isBeforeSync(this.#entries[0]!.ordinal);
  }

  /** The same of one that was sent as the `ordinal`th. */
  isBeforeSync(ordinal: number): boolean {
    const last = this.#ready.at(-1);
    return last !== undefined && ordinal > this.#answered && ordinal <= Math.floor(last / KINDS);
  }

  // ── the client's messages, as they are sent on ──

  parseOrClose(awaited?: Awaited): void {
    this.extended();
    this.#sent += 1;
    if (awaited) this.#entries.push({ ...awaited, ordinal: this.#sent });
  }

  /** Bind, Describe, Execute. */
  extended(): void {
    if (this.#isCopyIn) this.#isDoubtful = true;
    this.#isOpen = true;
    this.#isUntouched = false;
  }

  flush(): void {
    if (!this.#isCopyIn && !this.#isSkipping) this.#isOpen = true;
  }

  sync(): void {
    if (this.#isCopyIn) this.#isDoubtful = true;
    this.#ready.push(this.#sent * KINDS + SYNC);
    this.#isOpen = false;
    this.#isSkipping = false;
  }

  /**
   * Query and FunctionCall. Whether it needs a Close of ours before it. The answer to that shows that an error is the query's own
   * and not one before it, because of which the server skips the query; or, of the first query that a server gets, that the server
   * began to read.
   */
  query(isQuiet = false): boolean {
    if (this.#isCopyIn) this.#isDoubtful = true;
    const needsMark = this.#isOpen || (this.#isUntouched && !isQuiet);
    if (needsMark) this.parseOrClose({ isOurs: true });
    this.#ready.push(this.#sent * KINDS + (isQuiet ? QUIET : QUERY));
    this.#isOpen = false;
    return needsMark;
  }

  copyEnd(): void {
    if (!this.#isCopyIn) this.#endedCopyEarly = true;
    this.#isCopyIn = false;
  }

  // ── the server's messages, as they arrive ──

  /** ParseComplete or CloseComplete; whether it is for the client. */
  answer(): boolean {
    this.#answered += 1;
    const entry = this.#entries[0];
    if (entry?.ordinal !== this.#answered) return true;
    this.#entries.shift();
    return !entry.isOurs;
  }

  error(): void {
    if (this.#isCopyIn && this.#ateSync) this.#isDoubtful = true;
    this.#isCopyIn = false;
    const head = this.#ready[0];
    const isOfQuery =
      head !== undefined && head % KINDS !== SYNC && this.#answered >= Math.floor(head / KINDS);
    if (isOfQuery) return;
    const sync = this.#ready.findIndex((r) => r % KINDS === SYNC);
    this.#ready.splice(0, sync < 0 ? this.#ready.length : sync);
    if (sync < 0) {
      this.#isSkipping = true;
      this.#isOpen = false;
    }
  }

  copyIn(): void {
    this.#isCopyIn = true;
    const isQuery = this.#ready.length > 0 && this.#ready[0]! % KINDS !== SYNC;
    const eaten = this.#ready.splice(isQuery ? 1 : 0);
    this.#ateSync = eaten.length > 0;
    if (this.#endedCopyEarly || eaten.some((r) => r % KINDS !== SYNC)) this.#isDoubtful = true;
    // The Execute that began the copy still awaits its Sync.
    if (!isQuery) this.#isOpen = true;
  }

  /** ReadyForQuery with its status byte. */
  ready(status: number): void {
    const head = this.#ready.shift();
    if (head === undefined) {
      this.#isDoubtful = true;
      return;
    }
    const mark = Math.floor(head / KINDS);
    this.#answered = mark;
    while (this.#entries.length > 0 && this.#entries[0]!.ordinal <= mark) this.#entries.shift()!.undo?.();
    this.#isInTransaction = status !== 0x49;
    if (this.#ready.length === 0) this.#endedCopyEarly = false;
  }

  doubt(): void {
    this.#isDoubtful = true;
  }

  /** Forgets everything, as if nothing had been sent since the server was idle. */
  takeBack(): void {
    for (const entry of this.#entries.reverse()) entry.undo?.();
    this.reset();
  }

  /** For another server. */
  reset(): void {
    this.#ready = [];
    this.#entries = [];
    this.#sent = 0;
    this.#answered = 0;
    this.#isUntouched = true;
    this.#isOpen = false;
    this.#isSkipping = false;
    this.#isCopyIn = false;
    this.#ateSync = false;
    this.#endedCopyEarly = false;
    this.#isInTransaction = false;
    this.#isDoubtful = false;
  }
}
