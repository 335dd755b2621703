/**
 * The client's messages on their way to a server: headers are read, bodies pass in the pieces in which they come. Held back until
 * they are complete are Parse, and the beginnings of Bind, Describe and Close, because names of statements are replaced.
 *
 * Without a server, what needs none is answered here: a Sync, and the Close of a statement, wake no compute.
 */
import { writeMessage } from '@coppice/postgres';
import { type Conversation, ProtocolViolation, type ServerState } from './conversation';
import { HeldBytes } from './held-bytes';
import { MAX_SERVER_STATEMENTS, MAX_STATEMENT_BYTES, type Statement } from './prepared-statements';
import { mayLeaveState } from './session-effects';

const READY_IDLE = writeMessage('Z', Buffer.from('I'));
const CLOSE_COMPLETE = writeMessage('3');
/** PostgreSQL's own limits (pqcomm.h, PQ_SMALL_MESSAGE_LIMIT and PQ_LARGE_MESSAGE_LIMIT). */
const SMALL = 10_000;
const LARGE = 0x3fffffff - 1;
const MAX_NAME_BYTES = 1_024;

/** Is answered by CloseComplete and changes nothing. */
const CLOSE_NOTHING = closeStatement('coppice_none');
const CLOSE_UNNAMED = closeStatement('');

export function closeStatement(name: string): Buffer {
  return writeMessage('C', Buffer.from(`S${name}\0`, 'latin1'));
}

const LIMITS: ReadonlyMap<number, number> = new Map(
  Object.entries({ Q: LARGE, F: LARGE, P: LARGE, B: LARGE, d: LARGE, f: LARGE })
    .concat(Object.entries({ D: SMALL, E: SMALL, C: SMALL, H: SMALL, S: SMALL, c: SMALL, X: SMALL }))
    .map(([type, limit]) => [type.charCodeAt(0), limit]),
);

const T = Object.fromEntries([...'QFPBDECHSdcfX'].map((type) => [type, type.charCodeAt(0)])) as Record<
  'Q' | 'F' | 'P' | 'B' | 'D' | 'E' | 'C' | 'H' | 'S' | 'd' | 'c' | 'f' | 'X',
  number
>;
const STATEMENT = T.S;
/** With the names and counts that they must have. */
const SHORTEST: Readonly<Record<number, number>> = { [T.P]: 8, [T.B]: 12, [T.D]: 6, [T.C]: 6 };

/** `needs-answer`: the next message means this or that, depending on what the server makes of those before it. */
export type Fed = 'all' | 'needs-server' | 'needs-answer' | 'terminated';

const HEADER_BYTES = 5;
const NEEDS_MORE = -1;
const NEEDS_ANSWER = -2;

export class FromClient {
  readonly #c: Conversation;
  /** What waits for more, or for a server. */
  readonly #held = new HeldBytes();
  /** Bytes of the current message that are still to come. */
  #rest = 0;
  #dropsRest = false;

  constructor(conversation: Conversation) {
    this.#c = conversation;
  }

  /** No message was sent in part. */
  get isBetweenMessages(): boolean {
    return this.#rest === 0;
  }

  /** Gives bytes back that were taken in, as if no message of them had been sent. */
  restart(bytes: Buffer): void {
    this.#held.keep(bytes, 0);
    this.#rest = 0;
  }

  /** Bytes that wait for more, or for a server. */
  get held(): Buffer {
    return this.#held.bytes;
  }

  /** Throws `ProtocolViolation`. After `needs-…` it goes on with an empty chunk. */
  feed(chunk: Buffer): Fed {
    const bytes = this.#held.take(chunk);
    if (!bytes) return 'all';
    const c = this.#c;
    let at = 0;
    if (this.#rest > 0) {
      at = Math.min(this.#rest, bytes.length);
      this.#rest -= at;
      if (!this.#dropsRest) this.#pass(bytes, 0, at);
    }
    /** Where the bytes begin that pass unchanged. */
    let from = at;
    let wanted = HEADER_BYTES;
    while (bytes.length - at >= HEADER_BYTES) {
      const type = bytes[at]!;
      const length = bytes.readUInt32BE(at + 1);
      const limit = LIMITS.get(type);
      if (limit === undefined) throw new ProtocolViolation(`invalid frontend message type ${type}`);
      if (length < (SHORTEST[type] ?? 4) || length > limit)
        throw new ProtocolViolation(`invalid message length ${length} of message type ${type}`);
      if (type === T.X) {
        this.#pass(bytes, from, at);
        return 'terminated';
      }
      const end = at + 1 + length;
      if (!c.server) {
        const done = this.#withoutServer(type, bytes, at, end);
        if (done === 'needs-server') {
          this.#held.keep(bytes.subarray(at), 0);
          return done;
        }
        if (done === 'needs-more') {
          wanted = length + 1;
          break;
        }
      } else if (c.inFlight.isSkipping && type !== T.S) {
        this.#pass(bytes, from, at);
        from = end;
      } else {
        const next = this.#withServer(c.server, type, bytes, from, at, end);
        if (next === NEEDS_MORE) {
          wanted = neededOf(type, length + 1);
          break;
        }
        if (next === NEEDS_ANSWER) {
          this.#pass(bytes, from, at);
          this.#held.keep(bytes.subarray(at), 0);
          return 'needs-answer';
        }
        from = next;
      }
      if (end > bytes.length) {
        this.#rest = end - bytes.length;
        this.#dropsRest = !c.server || from === end;
        if (!this.#dropsRest) this.#pass(bytes, from, bytes.length);
        return 'all';
      }
      if (!c.server) from = end;
      at = end;
    }
    this.#pass(bytes, from, at);
    this.#held.keep(bytes.subarray(at), wanted);
    return 'all';
  }

  #pass(bytes: Buffer, from: number, to: number): void {
    if (to > from)
      this.#c.toServer.push(from === 0 && to === bytes.length ? bytes : bytes.subarray(from, to));
  }

  #withoutServer(
    type: number,
    bytes: Buffer,
    at: number,
    end: number,
  ): 'done' | 'needs-server' | 'needs-more' {
    const c = this.#c;
    switch (type) {
      case T.S:
        if (bytes.length < end) return 'needs-more';
        c.toClient.push(READY_IDLE);
        return 'done';
      case T.C:
        if (bytes.length < end) return 'needs-more';
        if (bytes[at + 5] === STATEMENT) this.#forget(name(bytes, at + 6, end));
        c.toClient.push(CLOSE_COMPLETE);
        return 'done';
      case T.P:
        return bytes.length < end && end - at <= MAX_STATEMENT_BYTES ? 'needs-more' : 'needs-server';
      // The rest of a copy that failed, and what there is to flush.
      case T.H:
      case T.d:
      case T.c:
      case T.f:
        return 'done';
      default:
        return 'needs-server';
    }
  }

  #forget(statement: string): void {
    if (statement === '') this.#c.unnamed = undefined;
    else this.#c.statements.remove(statement);
  }

  /** Sends one message on; where what passes unchanged goes on from, or what it needs first. */
  #withServer(
    server: ServerState,
    type: number,
    bytes: Buffer,
    from: number,
    at: number,
    end: number,
  ): number {
    const { inFlight } = this.#c;
    switch (type) {
      case T.Q:
        server.unnamed = undefined;
        if (!server.isDirty) server.isDirty = bytes.length < end || mayLeaveState(bytes, at + 5, end);
        return this.#query(bytes, from, at);
      case T.F:
        server.isDirty = true;
        return this.#query(bytes, from, at);
      case T.S:
        inFlight.sync();
        return from;
      case T.E:
        inFlight.extended();
        return from;
      case T.H:
        inFlight.flush();
        return from;
      case T.c:
      case T.f:
        inFlight.copyEnd();
        return from;
      case T.P:
        return this.#parse(server, bytes, from, at, end);
      case T.B:
        return this.#bind(server, bytes, from, at, end);
      case T.D:
        if (bytes.length < end) return NEEDS_MORE;
        if (bytes[at + 5] === STATEMENT) return this.#named(server, bytes, from, at, at + 6, end);
        inFlight.extended();
        return from;
      case T.C:
        if (bytes.length < end) return NEEDS_MORE;
        return this.#close(bytes, from, at, end);
      default:
        return from;
    }
  }

  #query(bytes: Buffer, from: number, at: number): number {
    if (!this.#c.inFlight.query()) return from;
    this.#pass(bytes, from, at);
    this.#c.toServer.push(CLOSE_NOTHING);
    return at;
  }

  #parse(server: ServerState, bytes: Buffer, from: number, at: number, end: number): number {
    const c = this.#c;
    if (bytes.length < at + 6) return NEEDS_MORE;
    const isUnnamed = bytes[at + 5] === 0;
    if (end - at > MAX_STATEMENT_BYTES) {
      if (!isUnnamed)
        throw new ProtocolViolation(
          `a prepared statement with a name has at most ${MAX_STATEMENT_BYTES} bytes on a pooled connection`,
          '54000',
        );
      c.unnamed = { message: undefined, leavesState: true };
      server.isDirty = true;
    } else if (bytes.length < end) return NEEDS_MORE;
    else if (isUnnamed)
      c.unnamed = { message: bytes.subarray(at, end), leavesState: mayLeaveState(bytes, at + 6, end) };
    else return this.#parseNamed(server, bytes, from, at, end);
    c.inFlight.parseOrClose();
    c.unnamedOrdinal = c.inFlight.sent;
    server.unnamed = c.unnamed;
    return from;
  }

  #parseNamed(server: ServerState, bytes: Buffer, from: number, at: number, end: number): number {
    const { statements, inFlight, toServer } = this.#c;
    if (inFlight.isUncertain) return NEEDS_ANSWER;
    this.#pass(bytes, from, at);
    const own = name(bytes, at + 5, end);
    const existing = statements.get(own);
    if (existing) {
      // PostgreSQL itself says that it exists.
      this.#ensure(server, existing);
      inFlight.parseOrClose();
      toServer.push(existing.message);
      return end;
    }
    const statement = statements.add(own, bytes.subarray(at + 5 + own.length + 1, end));
    const forget = (): void => {
      if (statements.get(own) === statement) statements.remove(own);
    };
    // Anew where another client's is: its plan is as old as that, and may not fit what tables are now.
    let isSkipped = false;
    if (server.statements.has(statement.name)) {
      toServer.push(closeStatement(statement.name));
      inFlight.parseOrClose({ isOurs: true, undo: () => void (isSkipped = true) });
    } else this.#makeRoom(server);
    server.statements.set(statement.name, statement);
    toServer.push(statement.message);
    const undo = (): void => {
      if (!isSkipped) server.statements.delete(statement.name);
      forget();
    };
    inFlight.parseOrClose({ isOurs: false, undo });
    return end;
  }

  #bind(server: ServerState, bytes: Buffer, from: number, at: number, end: number): number {
    const have = Math.min(end, bytes.length);
    const portalEnd = bytes.indexOf(0, at + 5);
    const nameEnd = portalEnd < 0 || portalEnd >= have ? -1 : bytes.indexOf(0, portalEnd + 1);
    if (nameEnd < 0 || nameEnd >= have) {
      if (have === end || have - at > 2 * MAX_NAME_BYTES) throw badFormat();
      return NEEDS_MORE;
    }
    return this.#named(server, bytes, from, at, portalEnd + 1, end);
  }

  /** A Bind or Describe with the name of a statement in it. */
  #named(server: ServerState, bytes: Buffer, from: number, at: number, nameAt: number, end: number): number {
    const c = this.#c;
    const own = name(bytes, nameAt, end);
    if (own === '' ? c.inFlight.isBeforeSync(c.unnamedOrdinal) : c.inFlight.isUncertain) return NEEDS_ANSWER;
    c.inFlight.extended();
    if (own === '') {
      if (c.unnamed && server.unnamed === c.unnamed) {
        if (c.unnamed.leavesState) server.isDirty = true;
        return from;
      }
      this.#pass(bytes, from, at);
      this.#ensureUnnamed(server);
      return at;
    }
    const statement = c.statements.get(own);
    // Of one that the client never made PostgreSQL says so, or knows it by SQL.
    if (!statement) return from;
    this.#pass(bytes, from, at);
    this.#ensure(server, statement);
    if (statement.leavesState) server.isDirty = true;
    const nameEnd = nameAt + own.length;
    const start = nameAt - at;
    const head = Buffer.allocUnsafe(start + statement.name.length);
    bytes.copy(head, 0, at, nameAt);
    head.writeUInt32BE(end - at - 1 + statement.name.length - own.length, 1);
    head.write(statement.name, start, 'latin1');
    c.toServer.push(head);
    return nameEnd;
  }

  #close(bytes: Buffer, from: number, at: number, end: number): number {
    const { statements, inFlight, toServer } = this.#c;
    const c = this.#c;
    if (bytes[at + 5] !== STATEMENT) {
      inFlight.parseOrClose();
      return from;
    }
    const own = name(bytes, at + 6, end);
    if (own !== '' && inFlight.isUncertain) return NEEDS_ANSWER;
    if (own === '') {
      c.unnamed = undefined;
      c.server!.unnamed = undefined;
      inFlight.parseOrClose();
      return from;
    }
    const statement = statements.get(own);
    if (!statement) {
      inFlight.parseOrClose();
      return from;
    }
    this.#pass(bytes, from, at);
    const body = statement.message.subarray(5 + statement.name.length + 1);
    statements.remove(own);
    toServer.push(CLOSE_NOTHING);
    inFlight.parseOrClose({
      isOurs: false,
      undo: () => void (statements.get(own) ?? statements.add(own, body)),
    });
    return end;
  }

  #ensureUnnamed(server: ServerState): void {
    const { unnamed, toServer, inFlight } = this.#c;
    toServer.push(unnamed?.message ?? CLOSE_UNNAMED);
    inFlight.parseOrClose({ isOurs: true });
    server.unnamed = unnamed?.message ? unnamed : undefined;
    if (unnamed?.leavesState) server.isDirty = true;
  }

  #ensure(server: ServerState, statement: Statement): void {
    const { statements } = server;
    if (statements.has(statement.name)) {
      if (statements.size <= MAX_SERVER_STATEMENTS / 2) return;
      statements.delete(statement.name);
      statements.set(statement.name, statement);
      return;
    }
    this.#makeRoom(server);
    statements.set(statement.name, statement);
    this.#c.toServer.push(statement.message);
    const undo = (): void => void statements.delete(statement.name);
    this.#c.inFlight.parseOrClose({ isOurs: true, undo });
  }

  #makeRoom({ statements }: ServerState): void {
    if (statements.size < MAX_SERVER_STATEMENTS) return;
    for (const [oldest, statement] of statements) {
      statements.delete(oldest);
      this.#c.toServer.push(closeStatement(oldest));
      const undo = (): void => void statements.set(oldest, statement);
      this.#c.inFlight.parseOrClose({ isOurs: true, undo });
      return;
    }
  }
}

/** How much of a message must be there for what is looked at of it. Of a Bind that is known only when its names end. */
function neededOf(type: number, bytes: number): number {
  if (type === T.B) return 0;
  return bytes > MAX_STATEMENT_BYTES ? HEADER_BYTES + 1 : bytes;
}

function badFormat(): ProtocolViolation {
  return new ProtocolViolation('invalid message format');
}

/** A C string; the message must have it whole. */
function name(bytes: Buffer, from: number, end: number): string {
  const nul = bytes.indexOf(0, from);
  if (nul < 0 || nul >= end || nul - from > MAX_NAME_BYTES) throw badFormat();
  return bytes.toString('latin1', from, nul);
}
