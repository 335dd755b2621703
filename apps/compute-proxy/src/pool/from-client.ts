/**
 * The client's messages on their way to a server: headers are read, bodies pass in the pieces in which they come. Held back until
 * they are complete are Parse, and the beginnings of Bind, Describe and Close, because names of statements are replaced.
 *
 * Without a server, what needs none is answered here: a Sync, and the Close of a statement, wake no compute.
 */
import { writeMessage } from '@coppice/postgres';
import { checkLength, HEADER_BYTES, name, STATEMENT, T } from './client-messages';
import type { Conversation } from './conversation';
import { HeldBytes } from './held-bytes';
import { MAX_STATEMENT_BYTES } from './prepared-statements';
import { NEEDS_ANSWER, NEEDS_MORE, StatementRewriter } from './statement-rewriter';

const READY_IDLE = writeMessage('Z', Buffer.from('I'));
const CLOSE_COMPLETE = writeMessage('3');

/** `needs-answer`: the next message means this or that, depending on what the server makes of those before it. */
export type Fed = 'all' | 'needs-server' | 'needs-answer' | 'terminated';

export class FromClient {
  readonly #c: Conversation;
  readonly #rewriter: StatementRewriter;
  /** What waits for more, or for a server. */
  readonly #held = new HeldBytes();
  #dropsRest = false;

  constructor(conversation: Conversation) {
    this.#c = conversation;
    this.#rewriter = new StatementRewriter(conversation);
  }

  /** No message was sent in part. */
  get isBetweenMessages(): boolean {
    return this.#c.restBytes === 0;
  }

  /** Gives bytes back that were taken in, as if no message of them had been sent. */
  restart(bytes: Buffer): void {
    this.#held.keep(bytes, 0);
    this.#c.restBytes = 0;
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
    if (c.restBytes > 0) {
      at = Math.min(c.restBytes, bytes.length);
      c.restBytes -= at;
      if (!this.#dropsRest) this.#rewriter.pass(bytes, 0, at);
    }
    /** Where the bytes begin that pass unchanged. */
    let from = at;
    let wanted = HEADER_BYTES;
    while (bytes.length - at >= HEADER_BYTES) {
      const type = bytes[at]!;
      const length = bytes.readUInt32BE(at + 1);
      checkLength(type, length);
      if (type === T.X) {
        this.#rewriter.pass(bytes, from, at);
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
        this.#rewriter.pass(bytes, from, at);
        from = end;
      } else {
        const next = this.#rewriter.send(c.server, type, bytes, from, at, end);
        if (next === NEEDS_MORE) {
          wanted = neededOf(type, length + 1);
          break;
        }
        if (next === NEEDS_ANSWER) {
          this.#rewriter.pass(bytes, from, at);
          this.#held.keep(bytes.subarray(at), 0);
          return 'needs-answer';
        }
        from = next;
      }
      if (end > bytes.length) {
        c.restBytes = end - bytes.length;
        c.restType = type;
        this.#dropsRest = !c.server || from === end;
        if (!this.#dropsRest) this.#rewriter.pass(bytes, from, bytes.length);
        return 'all';
      }
      if (!c.server) from = end;
      at = end;
    }
    this.#rewriter.pass(bytes, from, at);
    this.#held.keep(bytes.subarray(at), wanted);
    return 'all';
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
}

/** How much of a message must be there for what is looked at of it. Of a Bind that is known only when its names end. */
function neededOf(type: number, bytes: number): number {
  if (type === T.B) return 0;
  return bytes > MAX_STATEMENT_BYTES ? HEADER_BYTES + 1 : bytes;
}
