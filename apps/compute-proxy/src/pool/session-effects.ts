/**
 * Whether a statement leaves something behind in its session, as far as it shows from outside: in the command tag, or in the
 * text. When it does the session is reset at once; what does not show is cleared before another client gets the connection.
 */

/** First four letters of the tags of commands that leave nothing; all others count as leaving something. */
const LEAVE_NOTHING: ReadonlySet<number> = new Set(
  [
    ...['SELE', 'INSE', 'UPDA', 'DELE', 'MERG', 'COPY', 'FETC', 'MOVE', 'SHOW', 'EXPL'],
    ...['BEGI', 'STAR', 'COMM', 'ROLL', 'SAVE', 'RELE', 'LOCK', 'NOTI', 'TRUN', 'ANAL', 'VACU'],
  ].map((tag) => Buffer.from(tag).readUInt32BE(0)),
);

export type TagEffect =
  | 'none'
  /** Settings, temporary tables, cursors, channels. */
  | 'leaves-state'
  /** Prepared statements were made or removed by SQL. */
  | 'changes-statements'
  /** All prepared statements are gone. */
  | 'removes-statements';

const DEALLOCATE_ALL = Buffer.from('DEALLOCATE ALL\0');
const DISCARD_ALL = Buffer.from('DISCARD ALL\0');
const PREP = Buffer.from('PREP').readUInt32BE(0);
const DEAL = Buffer.from('DEAL').readUInt32BE(0);
const DISC = Buffer.from('DISC').readUInt32BE(0);

/** Of the CommandComplete whose tag, with its NUL, is at `from`. */
export function tagEffect(bytes: Buffer, from: number, to: number): TagEffect {
  if (to - from < 5) return 'leaves-state';
  const start = bytes.readUInt32BE(from);
  if (LEAVE_NOTHING.has(start)) return 'none';
  if (start === PREP) return 'changes-statements';
  if (start === DEAL)
    return bytes.compare(DEALLOCATE_ALL, 0, undefined, from, to) === 0
      ? 'removes-statements'
      : 'changes-statements';
  if (start === DISC && bytes.compare(DISCARD_ALL, 0, undefined, from, to) === 0) return 'removes-statements';
  return 'leaves-state';
}

/** SELECT may set, lock and make temporary tables. */
const SUSPICIOUS = /set_config|advisory|\btemp|setseed|listen/i;
const MAX_LOOK_BYTES = 4096;

/** Of the SQL text in `bytes`; long texts are not looked at. */
export function mayLeaveState(bytes: Buffer, from: number, to: number): boolean {
  return to - from > MAX_LOOK_BYTES || SUSPICIOUS.test(bytes.toString('latin1', from, to));
}
