/**
 * When another server may be given what this one was sent: only when this one certainly ran none of it. A statement that commits
 * by itself (CALL, DO, CREATE INDEX CONCURRENTLY) says nothing before its end, so silence proves nothing. Two things do:
 *
 *   - The server said that it ends before it answered the first message, where that is one of the extended protocol, which are
 *     answered before the next is read. Answers and last words leave through one buffer, in order (send_message_to_frontend,
 *     elog.c), so an answer that was made is never behind them. Where the first message is a Query it has a Close before it;
 *     that answer counts once the Query was sent whole: no part of a message is run.
 *   - The kernel says that the connection was closed before all of one small write was read. A backend reads as much at once
 *     (PQ_RECV_BUFFER_SIZE, pqcomm.c), so it read nothing of it.
 */

/** SQLSTATEs with which a server ends a session whatever it was asked: shutdown or termination, idle timeout. */
export const ENDS_SESSION: ReadonlySet<string> = new Set(['57P01', '57P05']);
/** Servers that a transaction is sent to, one after the other. */
export const MAX_ATTEMPTS = 4;
/** What a backend reads at once, bytes. */
export const READ_AT_ONCE_BYTES = 8_192;
/** Of a write to a socket that the other side has closed, and of a socket closed with something unread. */
export const CLOSED_UNREAD: ReadonlySet<string> = new Set(['EPIPE', 'ECONNRESET']);
