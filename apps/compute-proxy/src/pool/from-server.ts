/** A server's messages on their way to its client: headers are read, rows pass in the pieces in which they come. */
import { readErrorFields } from '@coppice/postgres';
import type { Conversation, ServerState } from './conversation';
import { HeldBytes } from './held-bytes';
import { readSetting, withSetting } from './reported-settings';
import { tagEffect } from './session-effects';

/** Of messages that are looked at as a whole. */
const MAX_LOOKED_AT = 1024 * 1024;
const T = Object.fromEntries([...'13CEGSWZ'].map((type) => [type, type.charCodeAt(0)])) as Record<
  '1' | '3' | 'C' | 'E' | 'G' | 'S' | 'W' | 'Z',
  number
>;
const LOOKED_AT = new Set([T.C, T.E, T.S, T.Z]);
/** An error that says that prepared statements are not what we think: one does not exist, or its result changed. */
const STATEMENT_CODES = new Set(['26000', '0A000']);

/** The server ends the session. */
export interface FatalError {
  readonly sqlstate: string;
  /** The ErrorResponse; it was not passed on. */
  readonly message: Buffer;
  /** It came before any answer to the client: nothing of the transaction was done. */
  readonly isFirst: boolean;
  /** The server had answered everything, and no transaction was open. */
  readonly isBetweenTransactions: boolean;
}

export class FromServer {
  readonly #c: Conversation;
  readonly #held = new HeldBytes();
  #rest = 0;
  #dropsRest = false;
  fatal: FatalError | undefined;
  #hasAnswered = false;
  /** The Close before the first query was answered, and the query was not sent whole yet. */
  #hasReadMark = false;
  /** A query of ours failed. */
  hasFailedQuietly = false;

  constructor(conversation: Conversation) {
    this.#c = conversation;
  }

  /** The server may have begun what the client sent: it answered, or read all of a query. */
  get hasTakenUp(): boolean {
    return this.#hasAnswered || (this.#hasReadMark && !this.#c.owesOneQueryInPart);
  }

  get isBetweenMessages(): boolean {
    return this.#rest === 0 && this.#held.isEmpty;
  }

  /** For the messages of another server. */
  restart(): void {
    this.#held.keep(Buffer.alloc(0), 0);
    this.#rest = 0;
    this.fatal = undefined;
    this.#hasAnswered = false;
    this.#hasReadMark = false;
  }

  feed(chunk: Buffer, server: ServerState): void {
    const bytes = this.#held.take(chunk);
    if (!bytes) return;
    let at = 0;
    if (this.#rest > 0) {
      at = Math.min(this.#rest, bytes.length);
      this.#rest -= at;
      if (!this.#dropsRest) this.#pass(bytes, 0, at);
    }
    let from = at;
    let wanted = 5;
    while (bytes.length - at >= 5) {
      const type = bytes[at]!;
      const length = bytes.readUInt32BE(at + 1);
      const end = at + 1 + length;
      if (bytes.length < end && LOOKED_AT.has(type) && length <= MAX_LOOKED_AT) {
        wanted = length + 1;
        break;
      }
      if (!this.#isForClient(type, bytes, at, end, server)) {
        this.#pass(bytes, from, at);
        from = end;
      }
      if (end > bytes.length) {
        this.#rest = end - bytes.length;
        this.#dropsRest = from === end;
        if (!this.#dropsRest) this.#pass(bytes, from, bytes.length);
        return;
      }
      at = end;
    }
    this.#pass(bytes, from, at);
    this.#held.keep(bytes.subarray(at), wanted);
  }

  #pass(bytes: Buffer, from: number, to: number): void {
    if (to <= from) return;
    this.#c.toClient.push(from === 0 && to === bytes.length ? bytes : bytes.subarray(from, to));
  }

  #isForClient(type: number, bytes: Buffer, at: number, end: number, server: ServerState): boolean {
    const c = this.#c;
    const { inFlight } = c;
    const isMark = type === T['3'] && c.owesOneQueryInPart;
    if (type !== T.E && !isMark && !inFlight.isQuiet) this.#hasAnswered = true;
    switch (type) {
      case T['1']:
      case T['3']: {
        const isForClient = inFlight.answer();
        if (isMark) {
          if (isForClient) this.#hasAnswered = true;
          else this.#hasReadMark = true;
        }
        return isForClient;
      }
      case T.Z: {
        const isOurs = inFlight.isQuiet;
        inFlight.ready(bytes[at + 5]!);
        return !isOurs;
      }
      case T.C:
        this.#complete(bytes, at + 5, end, server);
        return !inFlight.isQuiet;
      case T.S:
        this.#setting(bytes.subarray(at + 5, end), server);
        return !inFlight.isQuiet;
      case T.E:
        return this.#error(bytes.subarray(at, Math.min(end, bytes.length)), server);
      case T.G:
        inFlight.copyIn();
        return true;
      case T.W:
        inFlight.doubt();
        return true;
      default:
        return !inFlight.isQuiet;
    }
  }

  #complete(bytes: Buffer, from: number, to: number, server: ServerState): void {
    const effect = tagEffect(bytes, from, to);
    if (effect === 'none' || this.#c.inFlight.isQuiet) return;
    server.isDirty = true;
    if (effect === 'leaves-state') return;
    server.forgetsStatements = true;
    if (effect === 'changes-statements') return;
    server.statements.clear();
    this.#c.statements.clear();
  }

  #setting(body: Buffer, server: ServerState): void {
    const c = this.#c;
    const [name, value] = readSetting(body);
    const isShared = server.reported === c.told;
    server.reported = withSetting(server.reported, name, value);
    if (c.inFlight.isQuiet) return;
    c.told = isShared ? server.reported : withSetting(c.told, name, value);
    c.wanted ??= new Map();
    c.wanted.set(name, value);
  }

  #error(message: Buffer, server: ServerState): boolean {
    const c = this.#c;
    const fields = readErrorFields(message.subarray(5));
    const sqlstate = fields.get('C') ?? '';
    const severity = fields.get('V') ?? fields.get('S');
    if (severity !== 'ERROR') {
      const isFirst = !this.hasTakenUp;
      this.fatal ??= { sqlstate, message, isFirst, isBetweenTransactions: c.inFlight.isIdle };
      c.inFlight.doubt();
      return false;
    }
    if (c.inFlight.isQuiet) {
      this.hasFailedQuietly = true;
      return false;
    }
    this.#hasAnswered = true;
    if (STATEMENT_CODES.has(sqlstate)) {
      server.isDirty = true;
      server.forgetsStatements = true;
    }
    server.unnamed = undefined;
    if (c.inFlight.answered < c.unnamedOrdinal) c.unnamed = undefined;
    c.inFlight.error();
    return true;
  }
}
