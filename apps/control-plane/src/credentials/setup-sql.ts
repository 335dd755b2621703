/**
 * A project may ask for another role or database than the template's. The template's are renamed at the first start of a
 * branch; each statement is a no-op once it has run.
 */
export const DEFAULT_DATABASE = 'neondb';
export const DEFAULT_ROLE = 'neondb_owner';

function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

/** A statement that runs `command` (a `format` pattern with the two names) while `from` exists in `catalog`. */
function renameOnce(catalog: string, column: string, command: string, from: string, to: string): string {
  const body = `begin if exists (select from ${catalog} where ${column} = ${literal(from)}) then execute format(${literal(command)}, ${literal(from)}, ${literal(to)}); end if; end`;
  // A dollar tag that no name can hold: names are at most 63 bytes.
  const tag = `$coppice_${'x'.repeat(60)}$`;
  return `do ${tag} ${body} ${tag}`;
}

/** Statements that turn the template's role and database into the ones asked for; none when they are the same. */
export function setupStatements(role: string, database: string): string[] {
  const statements: string[] = [];
  if (role !== DEFAULT_ROLE)
    statements.push(renameOnce('pg_roles', 'rolname', 'alter role %I rename to %I', DEFAULT_ROLE, role));
  if (database !== DEFAULT_DATABASE)
    statements.push(
      renameOnce('pg_database', 'datname', 'alter database %I rename to %I', DEFAULT_DATABASE, database),
    );
  return statements;
}
