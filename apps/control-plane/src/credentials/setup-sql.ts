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
  return block(
    `if exists (select from ${catalog} where ${column} = ${literal(from)}) then execute format(${literal(command)}, ${literal(from)}, ${literal(to)}); end if;`,
  );
}

function block(body: string): string {
  // A dollar tag that no name can hold: names are at most 63 bytes.
  const tag = `$coppice_${'x'.repeat(60)}$`;
  return `do ${tag} begin ${body} end ${tag}`;
}

/** A role as the template's: what a user of a branch may be. The proxy authenticates, so it has no password. */
const ROLE_COMMANDS = [
  'create role %I login createdb createrole nosuperuser noreplication inherit',
  'grant pg_read_all_data, pg_write_all_data, pg_monitor, pg_signal_backend, pg_create_subscription to %I with admin option',
];

/** A statement that creates a role unless there is one of that name. */
export function createRoleOnce(role: string): string {
  const commands = ROLE_COMMANDS.map((c) => `execute format(${literal(c)}, ${literal(role)});`).join(' ');
  return block(
    `if not exists (select from pg_roles where rolname = ${literal(role)}) then ${commands} end if;`,
  );
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
