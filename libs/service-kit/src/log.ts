import pino from 'pino';

/** Structured logger (pino: the fastest of the widely used ones, JSON lines). Lower-case present tense plus fields. */
export type Log = pino.Logger;

/** Writes JSON lines to standard error; `COPPICE_LOG_LEVEL` sets the level (default info). */
export function createLog(service: string, level = process.env['COPPICE_LOG_LEVEL'] ?? 'info'): Log {
  return pino(
    {
      level,
      base: { service },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    pino.destination({ dest: 2, sync: true }),
  );
}

/** A logger that drops everything, for unit tests. */
export function silentLog(): Log {
  return pino({ level: 'silent' });
}
