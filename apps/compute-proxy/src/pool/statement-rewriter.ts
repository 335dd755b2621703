/**
 * The messages of a client that holds a server: names of statements are replaced, what the server lacks is prepared, and what it
 * will owe is counted. All else passes unchanged.
 */
import { badFormat, closeStatement, MAX_NAME_BYTES, name, STATEMENT, T } from './client-messages';
import { type Conversation, ProtocolViolation, type ServerState } from './conversation';
import { MAX_SERVER_STATEMENTS, MAX_STATEMENT_BYTES, type Statement } from './prepared-statements';
import { mayLeaveState } from './session-effects';

/** Is answered by CloseComplete and changes nothing. */
const CLOSE_NOTHING = closeStatement('coppice_none');
const CLOSE_UNNAMED = closeStatement('');

export const NEEDS_MORE = -1;
export const NEEDS_ANSWER = -2;

export class StatementRewriter {
  readonly #c: Conversation;

  constructor(conversation: Conversation) {
    this.#c = conversation;
  }

  /**
   * Sends the message between `at` and `end` on, of which some may still be to come; what lies between `from` and `at` goes before
   * it. Gives where what passes unchanged goes on from, or what it needs first. Throws `ProtocolViolation`.
   */
  send(server: ServerState, type: number, bytes: Buffer, from: number, at: number, end: number): number {
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
    this.pass(bytes, from, at);
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
    this.pass(bytes, from, at);
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
    if (!statement)
      throw new ProtocolViolation(
        'the prepared statements of this endpoint fill the memory for pooled clients: prepare fewer different ones, or connect directly',
        '53200',
      );
    const forget = (): void => {
      if (statements.get(own) === statement) statements.remove(own);
    };
    // Anew where another client's is: its plan is as old as that, and may not fit what tables are now.
    let isSkipped = false;
    if (server.statements.has(statement.name)) {
      toServer.push(closeStatement(statement.name));
      inFlight.parseOrClose({ isOurs: true, undo: () => void (isSkipped = true) });
    } else this.#makeRoom(server);
    server.statements.add(statement.name);
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
      this.pass(bytes, from, at);
      this.#ensureUnnamed(server);
      return at;
    }
    const statement = c.statements.get(own);
    // Of one that the client never made PostgreSQL says so, or knows it by SQL.
    if (!statement) return from;
    this.pass(bytes, from, at);
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
    this.pass(bytes, from, at);
    const body = statement.message.subarray(5 + statement.name.length + 1);
    statements.remove(own);
    toServer.push(CLOSE_NOTHING);
    inFlight.parseOrClose({
      isOurs: false,
      undo: () => void (statements.get(own) ?? statements.add(own, body, true)),
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
      statements.add(statement.name);
      return;
    }
    this.#makeRoom(server);
    statements.add(statement.name);
    this.#c.toServer.push(statement.message);
    const undo = (): void => void statements.delete(statement.name);
    this.#c.inFlight.parseOrClose({ isOurs: true, undo });
  }

  #makeRoom({ statements }: ServerState): void {
    if (statements.size < MAX_SERVER_STATEMENTS) return;
    for (const oldest of statements) {
      statements.delete(oldest);
      this.#c.toServer.push(closeStatement(oldest));
      const undo = (): void => void statements.add(oldest);
      this.#c.inFlight.parseOrClose({ isOurs: true, undo });
      return;
    }
  }

  /** What passes unchanged. */
  pass(bytes: Buffer, from: number, to: number): void {
    if (to > from)
      this.#c.toServer.push(from === 0 && to === bytes.length ? bytes : bytes.subarray(from, to));
  }
}
