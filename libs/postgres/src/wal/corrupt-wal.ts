import { formatLsn, type LsnNumber } from '@coppice/vocabulary';

/** WAL that PostgreSQL cannot have written, or that was damaged since: nothing after `lsn` may be trusted. */
export class CorruptWal extends Error {
  /** Where the damage shows: a record, a page, or the byte that cannot be. */
  readonly lsn: LsnNumber;
  readonly reason: string;

  constructor(lsn: LsnNumber, reason: string) {
    super(`corrupt WAL at ${formatLsn(lsn)}: ${reason}`);
    this.name = 'CorruptWal';
    this.lsn = lsn;
    this.reason = reason;
  }
}

/** Sound WAL that asks for something this build does not do; it is never skipped. */
export class UnsupportedWal extends Error {
  readonly lsn: LsnNumber;
  readonly reason: string;

  constructor(lsn: LsnNumber, reason: string) {
    super(`unsupported WAL at ${formatLsn(lsn)}: ${reason}`);
    this.name = 'UnsupportedWal';
    this.lsn = lsn;
    this.reason = reason;
  }
}
